"""DICOM: every step from stored values to grey against another way to compute it, and what is refused."""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom import dcmread, examples
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.encoders.base import get_encoder
from pydicom.pixels.processing import apply_modality_lut, apply_windowing, convert_color_space
from pydicom.sequence import Sequence
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    AllTransferSyntaxes,
    ComprehensiveSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import codecs, dicom_grey, image_size, read
from cxrlens.inputs.readers import dicom as dicom_reader
from image_files import dicom, dicom_bytes, encoded, levels

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def shipped(name: str) -> bytes:
    """A file that comes with pydicom itself."""
    return Path(pydicom.__file__).with_name("data").joinpath("test_files", name).read_bytes()


def close(dataset: Dataset, expected: npt.ArrayLike, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(read(dataset).pixels, expected, rtol=0, atol=tolerance)


def item(**elements: object) -> Dataset:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def sequence(*items: Dataset) -> Sequence:
    return Sequence(items)


# -- polarity and the record ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [False, True], ids=["full range", "window"])
def test_both_polarities_of_a_picture_are_the_same_array(tmp_path: Path, window: bool) -> None:
    stored = levels()
    centre, width = 2000.0, 2600.0
    bright: dict[str, Any] = {}
    dark: dict[str, Any] = {}
    expected = stored / 4095
    if window:  # linear window of DICOM PS3.3 C.11.2.1.2.1
        expected = np.clip((stored - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
        bright = {"WindowCenter": [centre, 9.0], "WindowWidth": [width, 9.0]}  # the first one counts
        dark = {"WindowCenter": 4095 - centre + 1, "WindowWidth": width}  # the mirrored window
    second = dicom(stored, **bright)
    first = dicom(4095 - stored, photometric="MONOCHROME1", **dark)
    close(second, expected)
    np.testing.assert_allclose(read(first).pixels, read(second).pixels, atol=1e-6)
    for name, dataset in (("first.dcm", first), ("second.dcm", second)):
        path = tmp_path / name
        path.write_bytes(dicom_bytes(dataset))
        np.testing.assert_array_equal(read(path).pixels, read(dataset).pixels)
        assert image_size(path) == (11, 7)
    close(dicom(4095 - stored, PresentationLUTShape="INVERSE", **dark), expected)
    both = dicom(4095 - stored, photometric="MONOCHROME1", PresentationLUTShape="INVERSE", **dark)
    close(both, expected)  # they say one and the same thing


def test_the_record_says_where_the_picture_comes_from() -> None:
    stored = levels()
    dataset = dicom(
        stored,
        photometric="MONOCHROME1",
        Modality="DX",
        PatientOrientation=["L", "F"],
        ImagerPixelSpacing=[0.2, 0.1],
        ViewPosition="PA",
    )
    image = read(dataset)
    assert (image.origin, image.bit_depth, image.polarity) == ("DICOM DX", 12, "MONOCHROME1")
    assert (image.orientation, image.spacing, image.source) == ("L\\F", (0.2, 0.1), "1.2.3")
    dataset.PixelSpacing = [0.16, 0.08]
    assert read(dataset).spacing == (0.16, 0.08)
    bare = read(dicom(stored))
    assert (bare.origin, bare.orientation, bare.spacing) == ("DICOM", None, None)


def test_a_data_set_in_memory_is_left_as_it_was() -> None:
    dataset = dicom(levels() << 4, bits=12, HighBit=15, PixelPaddingValue=0, WindowCenter=5, WindowWidth=9)
    before = copy.deepcopy(dataset)
    close(dataset, read(before).pixels)
    assert dataset == before
    assert dataset.file_meta == before.file_meta


# -- stored values ----------------------------------------------------------------------------------------------------


def test_signed_pixels_and_rescale() -> None:
    signed = np.arange(-6, 6, dtype=np.int16).reshape(3, 4)
    close(dicom(signed, bits=16, RescaleSlope=2.0, RescaleIntercept=-7.0), (signed + 6) / 11)
    close(dicom(signed, bits=16, RescaleSlope=-1, RescaleIntercept=0), (5 - signed) / 11)


def test_unused_bits_do_not_count() -> None:
    stored = levels()
    littered = stored | np.uint16(0xA000)  # such as an overlay of old
    close(dicom(littered, bits=12), stored / 4095)
    close(dicom(stored << 4, bits=12, HighBit=15), stored / 4095)
    signed = stored.astype(np.int16) - 2048
    close(dicom(signed << 4, bits=12, HighBit=15), stored / 4095)
    close(dicom((signed & 0x0FFF).astype(np.int16), bits=12), stored / 4095)


def test_without_a_window_8_bits_are_a_picture_and_more_are_measurements() -> None:
    dull = np.array([[50, 100], [150, 200]])
    close(dicom(dull.astype(np.uint8), bits=8), dull / 255)
    close(dicom(dull.astype(np.uint16), bits=8), dull / 255)
    close(dicom(dull.astype(np.uint8), bits=8, RescaleSlope=2, RescaleIntercept=9), dull / 255)
    close(dicom(dull.astype(np.uint8), bits=8, photometric="MONOCHROME1"), 1 - dull / 255)
    close(dicom((dull - 128).astype(np.int8), bits=8), dull / 255)
    close(dicom(dull.astype(np.uint16), bits=12), (dull - 50) / 150)
    assert not read(dicom(np.full((4, 5), 77, np.uint16))).pixels.any()


def test_a_wide_range_of_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = np.array([[0, 2**31, 2**32 - 1]], dtype=np.uint32)
    close(dicom(wide, bits=32), wide / (2**32 - 1))
    stored = levels()
    windowed = dicom(stored, WindowCenter=1000, WindowWidth=900, PixelPaddingValue=17)
    expected = read(windowed).pixels
    monkeypatch.setattr(dicom_grey, "_MOST_LEVELS", 0)  # pixels themselves go through the steps, not their levels
    np.testing.assert_array_equal(read(windowed).pixels, expected)


@pytest.mark.parametrize("kind", ["value", "range", "range turned round", "signed", "MONOCHROME1"])
def test_padding_is_black_and_does_not_count(kind: str) -> None:
    stored = levels(top=3000) + np.uint16(500)
    frame = np.zeros(stored.shape, bool)
    frame[:, :2] = frame[-2:] = True
    elements: dict[str, Any] = {"PixelPaddingValue": 0}
    padded = np.where(frame, 0, stored).astype(np.uint16)
    photometric = "MONOCHROME1" if kind == "MONOCHROME1" else "MONOCHROME2"
    if kind.startswith("range"):
        padded = np.where(frame, stored % 40 + 4000, stored).astype(np.uint16)
        ends = (4000, 4039) if kind == "range" else (4039, 4000)
        elements = dict(zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), ends, strict=True))
    if kind == "signed":
        padded = np.where(frame, -2000, stored).astype(np.int16)
        elements = {"PixelPaddingValue": -2000}
    inner = stored[~frame].astype(float)
    expected = (stored - inner.min()) / (inner.max() - inner.min())
    expected = np.where(frame, 0, 1 - expected if kind == "MONOCHROME1" else expected)
    bits = 16 if kind == "signed" else 12
    close(dicom(padded, photometric=photometric, bits=bits, **elements), expected)
    assert not read(dicom(np.zeros((3, 4), np.uint16), photometric="MONOCHROME1", PixelPaddingValue=0)).pixels.any()


# -- windows and tables -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("slope", "intercept"), [(None, None), (1.0, -1024.0), (-0.5, 100.0)])
@pytest.mark.parametrize("signed", [False, True])
def test_windows_are_those_of_pydicom(
    function: str | None, slope: float | None, intercept: float | None, signed: bool
) -> None:
    stored = levels((17, 23)).astype(np.int16) - (2048 if signed else 0)
    stored = stored if signed else stored.astype(np.uint16)
    dataset = dicom(stored, WindowCenter="312.5", WindowWidth="900.25")
    if function:
        dataset.VOILUTFunction = function
    if slope is not None:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    shown = apply_windowing(apply_modality_lut(stored, dataset), dataset)
    ends = np.array([-2048, 2047] if signed else [0, 4095]) * (slope or 1) + (intercept or 0)
    close(dataset, (shown - ends[0]) / (ends[1] - ends[0]))


def test_a_window_keeps_its_own_range() -> None:
    """A dull picture stays dull: it is not stretched to its own darkest and brightest pixel."""
    stored = levels(top=1000) + np.uint16(500)
    close(dicom(stored, WindowCenter=2048, WindowWidth=4096), stored / 4095)
    narrow = read(dicom(stored, WindowCenter=1000.5, WindowWidth=1)).pixels
    np.testing.assert_array_equal(narrow, stored > 1000)


def test_empty_windows_are_none() -> None:
    stored = levels()
    close(dicom(stored, WindowCenter=None, WindowWidth=None), stored / 4095)
    close(dicom(stored, WindowCenter="100"), stored / 4095)
    close(dicom(stored, RescaleSlope=None, RescaleIntercept=""), stored / 4095)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("form", ["numbers", "words"])
def test_voi_tables_come_before_windows(bits: int, form: str) -> None:
    count, first = 3000, 700
    table = np.random.default_rng(bits).integers(0, 2**bits, count)
    data: Any = [int(value) for value in table]
    if form == "words":
        data = table.astype("<u1" if bits == 8 else "<u2").tobytes()
    lut = item(LUTDescriptor=[count, first, bits], LUTData=data)
    lut["LUTData"].VR = "OW" if form == "words" else "US"
    dataset = dicom(levels(), VOILUTSequence=sequence(lut), WindowCenter=1, WindowWidth=2)
    expected = [[table[min(max(int(v) - first, 0), count - 1)] / (2**bits - 1) for v in row] for row in levels()]
    close(dataset, expected)
    flipped = dicom(levels(), photometric="MONOCHROME1", VOILUTSequence=sequence(lut))
    close(flipped, 1 - np.array(expected))
    np.testing.assert_array_equal(read(dicom_bytes(dataset)).pixels, read(dataset).pixels)


def test_modality_tables() -> None:
    table = (np.arange(4096) // 2) ** 2 // 1024  # 12 bits
    lut = item(LUTDescriptor=[4096, 0, 12], LUTData=table.tolist(), ModalityLUTType="US")
    mapped = table[levels()]
    close(dicom(levels(), ModalityLUTSequence=sequence(lut)), mapped / mapped.max())
    close(
        dicom(levels(), ModalityLUTSequence=sequence(lut), WindowCenter=1000, WindowWidth=801),
        np.clip((mapped - 999.5) / 800 + 0.5, 0, 1),
    )


def test_what_is_unusual_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    several = dicom(
        levels(), WindowCenter=[9, 8], WindowWidth=[7, 6], WindowCenterWidthExplanation=["SOFT TISSUE", "BONE"]
    )
    one = dicom(levels(), WindowCenter=9, WindowWidth=7)
    raw = dicom(levels(), PresentationIntentType="FOR PROCESSING")
    dicom_grey._say_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="cxrlens"):
        for dataset in (one, several, several, raw, one, raw):
            read(dataset)
    assert [record.message for record in caplog.records] == [
        "DICOM files with several windows (SOFT TISSUE, BONE): the first one is taken",
        "DICOM files 'for processing', whose contrast is the detector's: use those 'for presentation'",
    ]


# -- colours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RGB", "planes", "16 bit", "YBR_FULL"])
def test_colours_become_luma(kind: str) -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    expected = rgb @ np.array(LUMA) / 255
    if kind == "planes":
        dataset = dicom(rgb, photometric="RGB", bits=8, PlanarConfiguration=1)
        dataset.PixelData = rgb.transpose(2, 0, 1).tobytes()
    elif kind == "16 bit":
        dataset = dicom(rgb.astype(np.uint16) * 257, photometric="RGB", bits=16)
    elif kind == "YBR_FULL":
        dataset = dicom(convert_color_space(rgb, "RGB", "YBR_FULL"), photometric="YBR_FULL", bits=8)
    else:
        dataset = dicom(rgb, photometric="RGB", bits=8)
    close(dataset, expected, tolerance=0.006 if kind == "YBR_FULL" else 1e-6)
    assert read(dataset).polarity == "bright = dense"


def test_palette_colours() -> None:
    reds, greens, blues = (np.random.default_rng(i).integers(0, 65536, 256, dtype=np.uint16) for i in range(3))
    stored = np.random.default_rng(4).integers(0, 256, (6, 5), dtype=np.uint8)
    dataset = dicom(stored, photometric="PALETTE COLOR", bits=8)
    for name, table in (("Red", reds), ("Green", greens), ("Blue", blues)):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", table.tobytes())
    close(dataset, sum(w * t[stored] for w, t in zip(LUMA, (reds, greens, blues), strict=True)) / 65535)


# -- what is refused --------------------------------------------------------------------------------------------------


def view_code(value: str, meaning: str) -> Sequence:
    return sequence(item(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning=meaning))


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"PixelData": None, "SOPClassUID": ComprehensiveSRStorage}, r"holds no image \(Comprehensive SR Storage\)"),
        ({"Modality": "SEG"}, r"holds no image \(a segmentation\)"),
        ({"Modality": "RTDOSE"}, r"holds no image \(a dose distribution\)"),
        ({"NumberOfFrames": 30}, r"multi-frame DICOM file \(30 frames\)"),
        ({"ViewPosition": "LL"}, "the view is 'LL'; the networks know frontal views only"),
        ({"ViewPosition": "RL"}, "the view is 'RL'"),
        ({"ViewPosition": "LATERAL"}, "the view is 'LATERAL'"),
        ({"ViewPosition": "XTABLE LATERAL"}, "the view is 'XTABLE LATERAL'"),
        ({"ViewCodeSequence": view_code("399173006", "links anliegend")}, "the view is 'links anliegend'"),
        ({"ViewCodeSequence": view_code("R-10232", "")}, "the view is 'R-10232'"),
        ({"ViewCodeSequence": view_code("X", "left lateral")}, "the view is 'left lateral'"),
        ({"Rows": None}, "Rows is missing"),
        ({"BitsStored": None}, "BitsStored is missing"),
        ({"PhotometricInterpretation": ""}, "PhotometricInterpretation is missing"),
        ({"Rows": 0}, "0 pixels, so there is nothing to see"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels, more than 100 million; save it at a smaller size"),
        ({"PixelData": b""}, "its pixel data are empty"),
        ({"PixelData": b"12"}, "less than expected"),
        ({"RescaleSlope": float("nan"), "RescaleIntercept": 0}, "not finite"),
        ({"WindowCenter": float("inf"), "WindowWidth": 9}, "not finite"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "the width 0, which shows nothing; correct the file"),
        ({"WindowCenter": 5, "WindowWidth": 0.5}, "the width 0.5"),
        ({"WindowCenter": 5, "WindowWidth": -1, "VOILUTFunction": "SIGMOID"}, "the width -1"),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "window function 'CUBIC' is unknown"),
        ({"VOILUTSequence": sequence(item(LUTDescriptor=[9, 0, 8]))}, "lookup table of the file is empty"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "its red palette is missing"),
    ],
)
def test_what_is_no_single_frontal_picture_is_refused_with_the_reason(
    elements: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    dataset = dicom(levels())
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    with pytest.raises(UnreadableImageError, match=f"^1.2.3: .*{reason}"):
        read(dataset)
    header_shows_it = "frame" in reason or "view" in reason or "no image" in reason or "Rows" in reason
    if header_shows_it or "100 million" in reason:
        path = tmp_path / "a.dcm"
        path.write_bytes(dicom_bytes(dataset))
        with pytest.raises(UnreadableImageError, match=reason):
            image_size(path)


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": "PA"},
        {"ViewPosition": "AP"},
        {"ViewPosition": "LLD"},
        {"ViewPosition": "L LATERAL DECUB"},
        {"ViewPosition": None},
        {"ViewCodeSequence": view_code("272479007", "postero-anterior")},
        {"NumberOfFrames": 1},
        {"Modality": "MR"},
    ],
)
def test_frontal_views_are_read(elements: dict[str, Any]) -> None:
    assert read(dicom(levels(), **elements)).pixels.shape == (11, 7)


def test_a_small_file_that_unfolds_to_a_huge_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = levels((300, 200))
    content = dicom_bytes(dicom(whole), DeflatedExplicitVRLittleEndian)
    close(dcmread(io.BytesIO(content)), read(content).pixels)
    np.testing.assert_allclose(read(content).pixels, whole / 4095, atol=1e-6)
    monkeypatch.setattr(dicom_reader, "MAX_INFLATED", 100_000)
    length = int.from_bytes(content[140:144], "little")
    for said in (length, 0, 7, 2**30):  # of the file meta group, which pydicom does not rely upon
        whole_file = content[:140] + said.to_bytes(4, "little") + content[144:]
        for file in (whole_file, whole_file[132:]):
            with pytest.raises(UnreadableImageError, match="unfolds to more than"):
                read(file)
    monkeypatch.setattr(dicom_reader, "MAX_INFLATED", 2 * whole.nbytes)  # less than a MiB, and less than all of them
    large = dicom_bytes(dicom(np.zeros((1800, 1200), np.uint16)), DeflatedExplicitVRLittleEndian)
    with pytest.raises(UnreadableImageError, match="unfolds to more than"):
        read(large)


# -- encodings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("bare", ["whole", "no preamble", "no header"])
def test_files_without_preamble_or_header_are_recognised(tmp_path: Path, syntax: UID, bare: str) -> None:
    stored = levels()
    dataset = dicom(stored, WindowCenter=2048, WindowWidth=4096)
    if syntax == ExplicitVRBigEndian:
        dataset["PixelData"].value = stored.astype(">u2").tobytes() + b"\0"
    content = dicom_bytes(dataset, syntax)
    if bare != "whole":
        content = content[132:]
    if bare == "no header":
        content = content[12 + int.from_bytes(content[8:12], "little") :]
    path = tmp_path / "IM000001"
    path.write_bytes(content)
    np.testing.assert_allclose(read(path).pixels, stored / 4095, atol=1e-6)
    assert image_size(path) == (11, 7)


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_expb.dcm",
        "MR_small_padded.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
    ],
)
def test_lossless_encodings_give_one_picture(name: str) -> None:
    needs = {"MR_small_jpeg_ls_lossless.dcm": "gdcm"}  # Pillow decodes JPEG 2000
    pytest.importorskip(needs.get(name, "pydicom"))
    np.testing.assert_array_equal(read(shipped(name)).pixels, read(shipped("MR_small.dcm")).pixels)


@pytest.mark.parametrize(
    ("name", "needs", "tolerance"),
    [
        ("SC_rgb_jpeg_gdcm.dcm", "gdcm", 1e-6),  # lossless JPEG
        ("SC_rgb_rle_16bit.dcm", "pydicom", 1e-6),
        ("SC_rgb_jls_lossy_line.dcm", "gdcm", 0.01),
        ("SC_rgb_dcmtk_+eb+cr.dcm", "pydicom", 0.01),
        ("SC_rgb_jpeg_lossy_gdcm.dcm", "pydicom", 0.04),
        ("SC_ybr_full_422_uncompressed.dcm", "pydicom", 0.01),
    ],
)
def test_encodings_of_colours_give_one_picture(name: str, needs: str, tolerance: float) -> None:
    pytest.importorskip(needs)
    expected = read(shipped("SC_rgb_rle.dcm")).pixels
    np.testing.assert_allclose(read(shipped(name)).pixels, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("signed", [False, True])
def test_compressed_here(syntax: UID, signed: bool) -> None:
    if not get_encoder(syntax).is_available:
        pytest.skip("no encoder is installed")
    stored = levels((90, 70)).astype(np.int16) - 2048 if signed else levels((90, 70))
    plain = dicom(stored, photometric="MONOCHROME1", WindowCenter=500, WindowWidth=1900, PixelPaddingValue=100)
    expected = read(plain).pixels
    plain.compress(syntax)
    assert plain.file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read(plain).pixels, expected)
    np.testing.assert_array_equal(read(dicom_bytes(plain)).pixels, expected)


_HTJ2K_LOSSLESS = (
    "/0//UQApQAAAAAAKAAAADQAAAAAAAAAAAAAACgAAAA0AAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQ"
    "kJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAANwAAf+TwAAm/fMFB3QAAMAAEsAAE0AAEYCGAod0AHrwA4d0AABj"
    "AMAAEsAAFTAABMBxAMt0AAowLQCnAUa0AA3+AMt0AMAAFVAABWQAAVA4Twf/egSIA7UA4NF42u4AZLzrfzcAbM5ZyTgDlADAAC6aAAFuQAAt"
    "kILinAPRfHHUymQWCqlfJNApEaGic4Uh+AwXlq/+Mr/xSIH0sF4AkBfsLOdzCsxNDgsJ4QhxiAWdQ8ompdji9IS8ABCiMc7xohmkAYwwRhgA"
    "AKAR6fUAfkh0XAD/2Q=="
)
_HTJ2K_LOSSY = (
    "/0//UQApQAAAAAAKAAAADQAAAAAAAAAAAAAACgAAAA0AAAAAAAAAAAABDwEB/1AACAACAAAAI/9SAAwAAgABAAUEBEAA/1wAIyJ/dH9Ff0V/"
    "F3dcd1x3PW+qb6pvwlg1WDVYeFAaUBpfv/9kABcAAU9wZW5KUEggVmVyIDAuMjYuMy7/kAAKAAAAAAA/AAH/k8AAmPX+BAd0AADAASwAEoDO"
    "AId0AMgBB3QAoAEwpvkAA1QAwAjgBKAL4wD4JqjkAAD/2Q=="
)


@pytest.mark.parametrize(
    ("syntax", "stream", "tolerance"),
    [
        (HTJ2KLossless, _HTJ2K_LOSSLESS, 0.0),
        (HTJ2KLosslessRPCL, _HTJ2K_LOSSLESS, 0.0),  # its progression is RPCL
        (HTJ2K, _HTJ2K_LOSSY, 0.03),
    ],
)
def test_high_throughput_jpeg_2000(syntax: UID, stream: str, tolerance: float) -> None:
    """Encoded by OpenJPH 0.26, as no codec among the requirements encodes it."""
    pytest.importorskip("openjpeg")
    y, x = np.indices((13, 10))
    plain = dicom((4095 * (x + 2 * y) // 35 + 7 * (x * y % 5)).astype(np.uint16), bits=16)
    plain.WindowCenter, plain.WindowWidth = 2048, 4096
    expected = read(plain).pixels
    plain.PixelData = encapsulate([base64.b64decode(stream)])
    np.testing.assert_allclose(read(dicom_bytes(plain, syntax)).pixels, expected, rtol=0, atol=tolerance)
    plain.Rows = 12
    with pytest.raises(UnreadableImageError, match="the compressed picture is 10 x 13 pixels, the file says 10 x 12"):
        read(dicom_bytes(plain, syntax))


def test_lossy_jpeg_2000() -> None:
    if not get_encoder(JPEG2000).is_available:
        pytest.skip("no encoder is installed")
    y, x = np.indices((90, 70))
    plain = dicom((2000 + 900 * np.sin(y / 9) + 900 * np.cos(x / 7)).astype(np.uint16), WindowCenter=2000,
                  WindowWidth=4000)  # fmt: skip
    expected = read(plain).pixels
    plain.compress(JPEG2000, j2k_psnr=[60])
    np.testing.assert_allclose(read(dicom_bytes(plain)).pixels, expected, rtol=0, atol=0.02)
    assert (read(plain).pixels != expected).any()


def test_lossless_jpeg_of_any_predictor() -> None:
    pytest.importorskip("gdcm")
    first_order = dcmread(io.BytesIO(shipped("SC_rgb_jpeg_gdcm.dcm")))  # which is one of the predictors
    expected = read(first_order).pixels
    np.testing.assert_array_equal(read(dicom_bytes(first_order, JPEGLossless)).pixels, expected)


def test_every_syntax_that_can_be_decoded_is_tried_here() -> None:
    """Where a new version of pydicom knows another one, a test of it is due."""
    tested = {
        *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
        *(RLELossless, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1),
        *(JPEGLSLossless, JPEGLSNearLossless, JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K),
    }
    known = set()
    for syntax in AllTransferSyntaxes:
        with contextlib.suppress(NotImplementedError):
            get_decoder(syntax)
            known.add(syntax)
    assert known <= tested


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])  # the latter may hold 8 bits too
def test_jpeg_of_8_bits(syntax: UID) -> None:
    smooth = np.linspace(0, 255, 32 * 24).reshape(32, 24).astype(np.uint8)
    dataset = dicom(np.zeros((32, 24), np.uint8), bits=8)
    dataset.PixelData = encapsulate([encoded(Image.fromarray(smooth), "JPEG", quality=95)])
    content = dicom_bytes(dataset, syntax)
    np.testing.assert_allclose(read(content).pixels, smooth / 255, atol=0.03)


def test_a_compressed_picture_of_another_size_is_refused_before_it_is_decoded() -> None:
    content = bytearray(shipped("MR_small_jp2klossless.dcm"))
    at = content.index(b"\xff\x4f\xff\x51") + 8
    content[at : at + 4] = (2**30).to_bytes(4, "big")
    with pytest.raises(
        UnreadableImageError, match="the compressed picture is 1073741824 x 64 pixels, the file says 64"
    ):
        read(bytes(content))


@pytest.mark.parametrize(
    ("name", "absent", "package"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", ["gdcm", "jpeg_ls", "libjpeg"], "pip install python-gdcm"),
        ("SC_rgb_jpeg_gdcm.dcm", ["gdcm", "libjpeg"], "pip install python-gdcm"),
    ],
)
def test_a_missing_codec_is_named(name: str, absent: list[str], package: str) -> None:
    """In a process in which the packages cannot be imported."""
    path = Path(pydicom.__file__).with_name("data") / "test_files" / name
    script = (
        f"import sys\nsys.modules.update(dict.fromkeys({absent!r}))\n"
        "from cxrlens.inputs.readers import read\nfrom cxrlens.errors import UnreadableImageError\n"
        f"try: read({str(path)!r})\nexcept UnreadableImageError as error: print(error)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith(f"{path}: its pixels are compressed as JPEG")
    assert f"no codec is installed: {package} (part of cxrlens[dicom])" in ended.stdout


def test_syntaxes_that_nothing_decodes() -> None:
    dataset = dicom(levels())
    for syntax in ("1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.110", "1.2.3.4"):  # MPEG-4, JPEG XL, unknown
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        with pytest.raises(UnreadableImageError, match="which cannot be read; export it uncompressed"):
            read(dataset)


def deep_jpeg(means: npt.NDArray[np.int64]) -> bytes:
    """A JPEG of 12 bits (SOF1) whose blocks of 8 x 8 pixels have one value each, so that it is exact.

    The mean of a block is its only coefficient: quantised by 8 it is that value less 2048 (T.81, A.3.3).
    """

    def segment(marker: int, content: bytes) -> bytes:
        return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content

    height, width = (8 * side for side in means.shape)
    codes, last = "", 0
    for value in (means - 2048).ravel().tolist():
        step, last = value - last, value
        size = abs(step).bit_length()
        bits = step if step >= 0 else step + 2**size - 1
        codes += f"{size:05b}" + (f"{bits:0{size}b}" if size else "") + "0"  # and no further coefficients
    codes += "1" * (-len(codes) % 8)
    packed = int(codes, 2).to_bytes(len(codes) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = bytes([12]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\x01\x01\x11\x00"
    means_of_5_bits = bytes([0, *(16 if length == 5 else 0 for length in range(1, 17)), *range(16)])
    end_of_block_alone = bytes([0x10, 1, *[0] * 15, 0])
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, bytes([0] + [8] * 64)),
            segment(0xC1, frame),
            segment(0xC4, means_of_5_bits),
            segment(0xC4, end_of_block_alone),
            segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
            packed,
            b"\xff\xd9",
        ]
    )


def test_jpeg_of_12_bits() -> None:
    pytest.importorskip("gdcm")
    means = levels((9, 7)).astype(np.int64)
    dataset = dicom(np.zeros((72, 56), np.uint16), WindowCenter=2048, WindowWidth=4096)
    dataset.PixelData = encapsulate([deep_jpeg(means)])
    expected = np.repeat(np.repeat(means, 8, axis=0), 8, axis=1) / 4095
    np.testing.assert_allclose(read(dicom_bytes(dataset, JPEGExtended12Bit)).pixels, expected, rtol=0, atol=1e-6)
    assert read(shipped("JPGExtended.dcm")).pixels.any()


def test_what_a_compressed_picture_says_of_itself_counts_before_it_is_decoded() -> None:
    """A few hundred bytes that would take gigabytes: as a codestream, in boxes, as JPEG-LS."""
    siz = b"".join([b"\xff\x4f\xff\x51\x00\x29\x00\x00", *(side.to_bytes(4, "big") for side in
                    (60_000, 60_000, 0, 0, 60_000, 60_000, 0, 0)), b"\x00\x01\x0f\x01\x01"])  # fmt: skip
    box = (len(siz) + 8).to_bytes(4, "big") + b"jp2c" + siz
    boxes = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\x00\x00\x00\x14ftypjp2 \x00\x00\x00\x00jp2 " + box
    jpeg_ls = b"\xff\xd8\xff\xf7\x00\x0b\x10\xea\x60\xea\x60\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00"
    for stream, syntax in ((siz, JPEG2000Lossless), (boxes, JPEG2000), (jpeg_ls + bytes(6000), JPEGLSLossless)):
        dataset = dicom(np.zeros((8, 8), np.uint16), bits=16)
        dataset.PixelData = encapsulate([stream])
        with pytest.raises(
            UnreadableImageError, match="the compressed picture is 60000 x 60000 pixels, the file says 8"
        ):
            read(dicom_bytes(dataset, syntax))


@pytest.mark.parametrize("damage", ["half and an end", "zeros", "half written"])
@pytest.mark.parametrize("kind", ["JPEG", "colour JPEG", "JPEG 2000", "JPEG-LS", "lossless JPEG"])
@pytest.mark.parametrize("this_process", [False, True])
def test_compressed_pixels_of_which_a_part_is_missing(
    damage: str, kind: str, this_process: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind in ("JPEG-LS", "lossless JPEG"):
        pytest.importorskip("gdcm")
    monkeypatch.setattr(codecs, "_this_process_may_end", this_process)
    if kind == "JPEG 2000":
        if not get_encoder(JPEG2000Lossless).is_available:
            pytest.skip("no encoder is installed")
        dataset = dicom(levels((200, 160)))
        dataset.compress(JPEG2000Lossless)
        stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    elif kind in ("JPEG", "colour JPEG"):
        noise = np.random.default_rng(0).integers(0, 256, (200, 160) if kind == "JPEG" else (200, 160, 3), np.uint8)
        dataset = dicom(noise, bits=8, photometric="MONOCHROME2" if kind == "JPEG" else "YBR_FULL_422")
        stream = encoded(Image.fromarray(noise), "JPEG", quality=95)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    else:
        name = {"JPEG-LS": "MR_small_jpeg_ls_lossless.dcm", "lossless JPEG": "SC_rgb_jpeg_gdcm.dcm"}[kind]
        dataset = dcmread(io.BytesIO(shipped(name)))
        stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([stream])
    assert read(dataset).pixels.any()
    size = len(stream)
    dataset.PixelData = encapsulate([{
        "half and an end": stream[: size // 2] + b"\xff\xd9",
        "zeros": stream[: size * 4 // 10] + bytes(size * 3 // 10) + stream[size * 7 // 10 :],
        "half written": stream[: size // 2] + bytes(size - size // 2),
    }[damage]])  # fmt: skip
    with pytest.raises(UnreadableImageError, match=r"damaged|cannot be decoded"):
        read(dataset)


def test_no_file_of_the_working_folder_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the process that decodes for this one, also where this one has the folder on its path."""
    pytest.importorskip("gdcm")
    for name in ("pickle", "selectors", "numpy", "pydicom", "gdcm", "cxrlens", "sitecustomize", "struct", "zipfile"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})")
    (tmp_path / "matplotlibrc").write_text("backend: nonsense\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for path in ("", str(tmp_path)):
        monkeypatch.setattr(sys, "path", [path, *sys.path])
    assert read(shipped("SC_rgb_jpeg_gdcm.dcm")).pixels.any()
    assert not (tmp_path / "executed").exists()


def test_a_codec_that_ends_its_process_on_damage_does_not_end_this_one() -> None:
    pytest.importorskip("gdcm")
    content = bytearray(shipped("SC_rgb_jpeg_gdcm.dcm"))
    content[content.index(b"\xff\xd8") + 2] = 0
    with pytest.raises(UnreadableImageError, match="the codec ended abruptly on them"):
        read(bytes(content))


def test_all_files_that_come_with_pydicom() -> None:
    """197 files of every modality and many kinds of damage: each a picture or a reason."""
    folder = Path(pydicom.__file__).with_name("data")
    reasons: list[str] = []
    pictures = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix in (".py", ".pyc", ".json"):
            continue
        try:
            image = read(path)
        except UnreadableImageError as error:
            reasons.append(str(error))
            continue
        pictures += 1
        assert image.pixels.shape == (image.height, image.width)
        assert 0 <= image.pixels.min() <= image.pixels.max() <= 1
    assert pictures >= 75  # some need a codec that may not be installed
    assert len(reasons) > 50
    assert all(reason.startswith(f"{folder}") and reason.isprintable() for reason in reasons)


def test_a_picture_in_colour_that_comes_with_pydicom() -> None:
    colour = examples.rgb_color.pixel_array
    close(examples.rgb_color, colour @ np.array(LUMA) / 255)
