"""DICOM headers that do not fit their pixels: the right picture, a remark or a refusal, never another in silence.

Each kind has its case, made here, with the pixels computed by hand from the steps of PS3.3, C.11; at the end random
headers are drawn around one picture.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from cxrlens.dicom_out.source import NotReferableError, open_source
from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import Radiograph, doubts, read
from cxrlens.inputs.readers.quiet import without_warnings
from image_files import dicom, dicom_bytes, encoded

SHAPE = 40, 36


@pytest.fixture(autouse=True, scope="module")
def _of_any_size() -> Iterator[None]:
    """The pictures here are smaller than one that can be judged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxrlens.inputs.readers.display.remarks_on_size", lambda height, width: [])
        yield


def picture(top: int = 4095) -> npt.NDArray[np.int64]:
    """A smooth picture that reaches 0 and ``top``, its middle bright, with a white disc of metal in it."""
    y, x = np.indices(SHAPE)
    grey = 0.15 + 0.6 * np.exp(-(((x - 18) / 9) ** 2)) + 0.2 * np.sin(y / 5) ** 2
    grey[(y - 12) ** 2 + (x - 26) ** 2 < 10] = 1
    grey[0, :3] = 0
    return np.rint(np.clip(grey, 0, 1) * top).astype(np.int64)


P12, P8 = picture().astype(np.uint16), picture(255).astype(np.uint8)


def item(**elements: object) -> Dataset:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def lut(entries: npt.ArrayLike, first: int, bits: int, count: int | None = None) -> Sequence:
    """A sequence of one table, its entries in words of 16 bits."""
    words = np.asarray(entries).astype("<u2")
    table = item(LUTDescriptor=[len(words) if count is None else count, first, bits], LUTData=words.tobytes())
    table["LUTData"].VR = "OW"
    return Sequence([table])


def empty_table() -> Dataset:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", None)
    table.add_new("LUTData", "OW", None)
    return table


def with_text(dataset: Dataset, keyword: str, text: str) -> bytes:
    """The data set as a file with an element whose text is no value of its type."""
    holder = "9" * len(text)
    setattr(dataset, keyword, holder)
    content = dicom_bytes(dataset)
    tag = Tag(keyword)
    begin = content.index(
        tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + dataset[keyword].VR.encode()
    )
    at = content.index(holder.encode(), begin)
    return content[:at] + text.encode() + content[at + len(text) :]


NOTED = (  # parts of remarks that speak against nothing
    "they lie in the lower ones",
    "entries of 16 bits",
    "has 4096; the last one stands for the rest",
    "where no pixel lies",
    "palette is said to have 16 bits",
    "not two lengths",
)


def shows(source: bytes | Dataset, expected: npt.ArrayLike, *remarks: str, tolerance: float = 1e-6) -> Radiograph:
    """The source is read as expected, with one remark for each of these parts of them."""
    image = read(source)
    np.testing.assert_allclose(image.pixels, expected, rtol=0, atol=tolerance)
    for part, remark in zip(remarks, image.remarks, strict=True):
        assert part in remark
        assert (doubts([remark]) == ()) == any(noted in remark for noted in NOTED)
    return image


# -- text and several values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0,143\\0,143", "N/A\\N/A", "0.143", "0\\0.14", "1\\2\\3"])
@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagerPixelSpacing"])
def test_a_spacing_that_is_none_leaves_the_picture_as_it_is(keyword: str, text: str) -> None:
    content = with_text(dicom(P12, WindowCenter=2048, WindowWidth=4096), keyword, text)
    assert shows(content, P12 / 4095, f"Its {keyword} is '{text}', not two lengths; it was left out").spacing is None


def test_several_values_where_one_is_due() -> None:
    dataset = dicom(P12, WindowCenter=2048, WindowWidth=4096)
    dataset.Modality = ["CR", "DX"]
    assert shows(dataset, P12 / 4095).origin == "DICOM CR"
    dataset.PatientOrientation = "L"
    assert shows(dataset, P12 / 4095).orientation == "L"
    dataset.Rows = [40, 40]
    shows(dataset, P12 / 4095)
    dataset.Rows = [40, 41]
    with pytest.raises(UnreadableImageError, match=r"Rows is '40\\41', which is no whole number"):
        read(dataset)
    dataset.Rows = 40
    dataset.PhotometricInterpretation = ["MONOCHROME1", "MONOCHROME2"]
    with pytest.raises(UnreadableImageError, match="which is unknown; correct the file"):
        read(dataset)
    dataset.PhotometricInterpretation = "MONOCHROME3"
    with pytest.raises(UnreadableImageError, match="'MONOCHROME3', which is unknown"):
        read(dataset)
    with without_warnings():
        dataset.PhotometricInterpretation = "monochrome1"
    shows(dataset, 1 - P12 / 4095)


def test_results_refer_to_such_files_too() -> None:
    dataset = dicom(P12, StudyInstanceUID="1.2", SeriesInstanceUID="1.3", Modality=["CR", "DX"])
    source = open_source(with_text(dataset, "PixelSpacing", "0,143\\N/A"), "a.dcm")
    assert source.pair("PixelSpacing") is None
    assert source.reference.Modality == "CR"
    with pytest.raises(NotReferableError, match=r"^a\.dcm: "):
        open_source(dicom_bytes(dataset)[:200] + b"\x08\x00\x05\x00SQ\x00\x00\xff\xff\xff\xffjunk", "a.dcm")


def test_a_rescale_that_is_text_is_refused_and_a_window_left_out() -> None:
    content = with_text(dicom(P12, RescaleIntercept=0), "RescaleSlope", "1,5")
    with pytest.raises(UnreadableImageError, match="its RescaleSlope is '1,5', which is no number; correct the file"):
        read(content)
    content = with_text(dicom(P12, WindowWidth=4096), "WindowCenter", "N/A ")
    shows(content, P12 / 4095, "Its window is 'N/A' / '4096.0', not two numbers; it was left out.")


# -- padding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind"), [(4095, "US"), (-1, "SS"), (63536, "US"), ("N/A", "LO"), ("255,0", "LO"), ([4000, 4095], "US")]
)
def test_padding_that_no_pixel_can_have_is_none(value: Any, kind: str) -> None:
    dataset = dicom(P8, bits=8)
    dataset.add_new("PixelPaddingValue", kind, value)
    assert P8.max() == 255
    shows(dataset, P8 / 255)
    shows(dicom_bytes(dataset), P8 / 255)


def test_padding_written_without_its_sign() -> None:
    signed = np.where(np.indices(SHAPE)[1] < 4, -2000, picture(1000)).astype(np.int16)
    dataset = dicom(signed, bits=16)
    dataset.add_new("PixelPaddingValue", "US", 63536)
    inner = signed[:, 4:].astype(float)
    expected = (inner - inner.min()) / (inner.max() - inner.min())
    shows(dataset, np.pad(expected, ((0, 0), (4, 0))))


def test_a_sign_that_unsigned_pixels_cannot_have_blackens_none() -> None:
    stored = np.where(P12 == 4095, 63536, P12).astype(np.uint16)
    dataset = dicom(stored, bits=16, WindowCenter=2048, WindowWidth=4096)
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    shows(dataset, P12 / 4095, "pixels of 63536 were shown as they are")


def test_metal_as_bright_as_the_padding_stays_bright() -> None:
    """The disc has the value of the frame's padding, which is the brightest one."""
    framed = P12.copy()
    framed[-4:] = 4095
    expected = framed / 4095
    expected[-4:] = 0
    inner = int((P12 == 4095).sum())
    dataset = dicom(framed, WindowCenter=2048, WindowWidth=4096, PixelPaddingValue=4095)
    shows(dataset, expected, f"{inner} pixels within the picture have its padding value 4095")


# -- rescale, bits and codestreams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2048, "WindowWidth": 4096}])
def test_a_rescale_slope_of_0_is_left_out(window: dict[str, int]) -> None:
    shows(dicom(P12, RescaleSlope=0, RescaleIntercept=0, **window), P12 / 4095, "Its rescale slope is 0")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("signed", [False, True])
def test_values_in_the_upper_bits_of_any_encoding(syntax: UID, signed: bool) -> None:
    stored = (P12.astype(np.int16) - 2048 if signed else P12) << 4
    dataset = dicom(stored, bits=16)
    if syntax != ExplicitVRLittleEndian:
        if not get_encoder(syntax).is_available:
            pytest.skip("no encoder is installed")
        dataset.compress(syntax)
    dataset.BitsStored, dataset.HighBit = 12, 15
    shows(dataset, P12 / 4095)


def test_values_that_are_said_to_lie_in_the_upper_bits_and_do_not() -> None:
    dataset = dicom(P12, WindowCenter=2048, WindowWidth=4096)
    dataset.HighBit = 15
    shows(dataset, P12 / 4095, "they lie in the lower ones")


def test_more_bits_than_are_said() -> None:
    """Neither a sign nor an overlay: what the others are is not known."""
    dataset = dicom(picture(16383).astype(np.uint16))
    assert any("use more; the others were left out" in remark for remark in read(dataset).remarks)
    dataset.add_new(0x60000102, "US", 12)  # an overlay in the upper bits
    assert not any("use more" in remark for remark in read(dataset).remarks)


@pytest.mark.parametrize(
    ("said", "remarks"),
    [
        ({}, []),
        ({"BitsStored": 12, "HighBit": 11}, ["said to have 12 bits, and its compressed pixels have 8"]),
        (
            {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096},
            ["said to have 12 bits", "is for more bits than its pixels have, which can be 0 to 255"],
        ),
    ],
)
def test_an_8_bit_jpeg_in_16_bits(said: dict[str, int], remarks: list[str]) -> None:
    dataset = dicom(P8, bits=8, **said)
    dataset.BitsAllocated = 16
    dataset.PixelData = encapsulate([encoded(Image.fromarray(P8), "JPEG", quality=98)])
    shows(dicom_bytes(dataset, JPEGBaseline8Bit), P8 / 255, *remarks, tolerance=0.03)


# -- tables -----------------------------------------------------------------------------------------------------------

RAMP = np.arange(4096)


@pytest.mark.parametrize(
    ("table", "remark"),
    [
        (lut(RAMP, 0, 12), None),
        (lut(RAMP, 0, 16), "entries of 16 bits, and they reach 4095; the range of 12 bits"),
        (lut(RAMP, 0, 8), "entries of 8 bits, and they reach 4095"),
        (lut(RAMP, 0, 12, 0), "said to have 65536 entries and has 4096; the last one stands for the rest"),
        (lut(RAMP, 0, 12, 5000), "said to have 5000 entries and has 4096"),
    ],
)
def test_voi_tables_count_by_what_they_hold(table: Sequence, remark: str | None) -> None:
    shows(dicom(P12, VOILUTSequence=table), P12 / 4095, *filter(None, [remark]))
    shows(dicom_bytes(dicom(P12, VOILUTSequence=table)), P12 / 4095, *filter(None, [remark]))


def test_a_table_that_ends_early_goes_on_with_its_last_entry() -> None:
    dataset = dicom(P12, VOILUTSequence=lut(RAMP[:4000], 0, 12, 4096))
    shows(dataset, np.minimum(P12, 3999) / 4095, "said to have 4096 entries and has 4000")


@pytest.mark.parametrize("words", [False, True], ids=["bytes", "words"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_entries_of_8_bits_in_bytes_or_words(words: bool, syntax: UID) -> None:
    entries = np.arange(256)[::-1]
    big = syntax == ExplicitVRBigEndian
    data = entries.astype(">u2" if big else "<u2").tobytes() if words else entries.astype("u1").tobytes()
    if big and not words:
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()  # the first of two entries in the lower byte
    table = item(LUTDescriptor=[256, 0, 8], LUTData=data)
    table["LUTData"].VR = "OW"
    shows(dicom_bytes(dicom(P8, bits=8, VOILUTSequence=Sequence([table])), syntax), 1 - P8 / 255)


def test_a_first_input_value_without_its_sign() -> None:
    signed = P12.astype(np.int16) - 2048
    table = lut(RAMP, 63488, 12)  # -2048
    shows(dicom(signed, VOILUTSequence=table), P12 / 4095, "begin at the value 63488, where no pixel lies; -2048")
    rescaled = dicom(P12, RescaleSlope=1, RescaleIntercept=-2048, VOILUTSequence=table)
    shows(rescaled, P12 / 4095, "-2048 was taken")


def test_a_table_for_other_values_is_left_out() -> None:
    dataset = dicom(P12, VOILUTSequence=lut(np.arange(100), 20000, 8), WindowCenter=2048, WindowWidth=4096)
    shows(dataset, P12 / 4095, "Its VOI LUT is for the values 20000 to 20099, its pixels have 0 to 4095")


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
def test_an_empty_table_beside_a_window_and_a_rescale_is_none(keyword: str) -> None:
    empty = empty_table()
    dataset = dicom(P12, WindowCenter=2048, WindowWidth=4096, RescaleSlope=1, RescaleIntercept=0)
    setattr(dataset, keyword, Sequence([empty]))
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        shows(dicom_bytes(dataset, syntax), P12 / 4095)
    setattr(dataset, keyword, Sequence([empty, lut(RAMP[::-1], 0, 12)[0]]))
    shows(dicom_bytes(dataset), 1 - P12 / 4095)


def test_the_first_window_that_has_both_numbers() -> None:
    content = dicom_bytes(dicom(P12, WindowCenter=["", "2048"], WindowWidth=["", "4096"]))
    shows(content, P12 / 4095)


def test_a_palette_of_8_bits_in_words() -> None:
    dataset = dicom(P8, photometric="PALETTE COLOR", bits=8)
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", np.arange(256).astype("<u2").tobytes())
    shows(dicom_bytes(dataset), P8 / 255)
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
    shows(dicom_bytes(dataset), P8 / 255, "Its palette is said to have 16 bits and uses 8")


# -- what is displayed ------------------------------------------------------------------------------------------------


def test_a_window_of_another_number_of_bits() -> None:
    shows(dicom(P8, bits=8, WindowCenter=2048, WindowWidth=4096), P8 / 255, "is for more bits than its pixels have")
    shows(dicom(P12, WindowCenter=9000, WindowWidth=100), P12 / 4095, "would show none of its pixels")
    shows(dicom(P12, WindowCenter=2048, WindowWidth=4096), P12 / 4095)


def test_what_looks_wrong_is_said() -> None:
    def said(pixels: npt.NDArray[Any], **elements: object) -> str:
        return " ".join(read(dicom(pixels, **elements)).remarks)

    full = {"WindowCenter": 32768, "WindowWidth": 65536}
    assert said(P12, bits=12, WindowCenter=2048, WindowWidth=4096) == ""
    assert "nearly black: its bright pixels reach 6 %" in said(P12, bits=16, **full)
    assert "nearly white: its dark pixels have 9" in said(61440 + P12, bits=16, **full)
    assert "little contrast: its pixels use 5 %" in said(30000 + P12, bits=16, **full)
    assert "of its pixels are white" in said(P12, bits=12, WindowCenter=1500, WindowWidth=100)
    assert "of its pixels are black" in said(P12, bits=12, WindowCenter=2800, WindowWidth=100)
    assert "All its pixels have the same value" in said(np.full((9, 9), 7, np.uint16))
    cut = P12.copy()
    cut[20:] = 0
    assert "The lowest 50 % of its rows have one value" in said(cut, bits=12, WindowCenter=2048, WindowWidth=4096)


@pytest.mark.parametrize("kind", ["DICOM", "PNG"])
def test_an_inverted_picture_is_told_by_its_spine(kind: str) -> None:
    y, x = np.indices((128, 120))
    lungs = np.exp(-(((x - 36) / 14) ** 2) - ((y - 50) / 30) ** 2) + np.exp(
        -(((x - 84) / 14) ** 2) - ((y - 50) / 30) ** 2
    )
    grey = np.rint(230 - 200 * lungs).clip(0, 255).astype(np.uint8)

    def remarks(pixels: npt.NDArray[np.uint8], photometric: str) -> tuple[str, ...]:
        if kind == "DICOM":
            return read(dicom(pixels, bits=8, photometric=photometric)).remarks
        return read(encoded(Image.fromarray(pixels if photometric == "MONOCHROME2" else 255 - pixels), "PNG")).remarks

    assert remarks(grey, "MONOCHROME2") == remarks(255 - grey, "MONOCHROME1") == ()
    for wrong in (remarks(grey, "MONOCHROME1"), remarks(255 - grey, "MONOCHROME2")):
        assert len(wrong) == 1
        assert "It looks inverted" in wrong[0]


# -- random headers ---------------------------------------------------------------------------------------------------


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, npt.NDArray[np.float64], bool]:
    """A file around `picture`, the picture that it is meant to show, and whether its header is right in every part.

    The picture is displayed as the steps make it of the stored values: rescale, table or window, polarity.
    """
    faults = draw(st.sets(st.sampled_from(
        ["slope", "padding", "voi bits", "voi count", "voi sign", "empty voi", "empty modality", "empty window",
         "leftover window", "spacing", "modality", "high bit"]), max_size=2))  # fmt: skip
    allocated = draw(st.sampled_from([8, 16, 16]))
    stored_bits = draw(st.integers(6, 8) if allocated == 8 else st.integers(8, 16))
    signed, inverse = draw(st.booleans()), draw(st.booleans())
    top = 2**stored_bits - 1
    lowest = -(2 ** (stored_bits - 1)) if signed else 0
    values = picture(top) + lowest
    high = draw(st.sampled_from([stored_bits - 1, allocated - 1]))
    words = (values & top) << (high + 1 - stored_bits)
    if draw(st.booleans()) and signed and high == stored_bits - 1:
        words = values  # the sign goes on into the unused bits
    kind = np.dtype(f"{'i' if signed else 'u'}{allocated // 8}")
    dataset = dicom(
        (words & (2**allocated - 1)).astype(f"u{allocated // 8}").view(kind),
        photometric="MONOCHROME1" if inverse else "MONOCHROME2", bits=stored_bits,
    )  # fmt: skip
    dataset.HighBit = high
    if "high bit" in faults and high == stored_bits - 1 < allocated - 1 and not signed:
        dataset.HighBit = allocated - 1
    slope, intercept = draw(st.sampled_from([(1.0, 0.0), (2.0, -100.0), (0.5, 7.0), (-1.0, 0.0)]))
    if (slope, intercept) != (1.0, 0.0) or draw(st.booleans()):
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    if "slope" in faults:
        slope, intercept, dataset.RescaleSlope, dataset.RescaleIntercept = 1.0, 0.0, 0, 0
    out = values * slope + intercept
    low, span = float(out.min()), float(out.max() - out.min())
    contrast = draw(st.sampled_from(["none", "window", "voi"]))
    grey = (out - low) / span if stored_bits > 8 else (out - low) / (top * abs(slope))
    if contrast == "window":
        share = draw(st.sampled_from([1.0, 0.5]))
        centre, width = round(low + span / 2, 1), round(max(span * share, 2.0), 1)
        dataset.WindowCenter, dataset.WindowWidth = [centre], [width]
        grey = np.clip((out - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
        if "empty window" in faults:
            dataset.WindowCenter, dataset.WindowWidth = ["", str(centre)], ["", str(width)]
    elif "leftover window" in faults:
        dataset.WindowCenter, dataset.WindowWidth = 8 * span, 16 * span
    if contrast == "voi" and slope == 1.0 and stored_bits <= 15:
        said = 16 if "voi bits" in faults else max(stored_bits, 8)
        entries = np.arange(top + 1)[::-1] if stored_bits >= 8 else np.arange(top + 1)[::-1] * 255 // top
        first = int(low) % 65536 if "voi sign" in faults else int(low)
        count = 0 if "voi count" in faults else None
        table = lut(entries, 0, said, count)
        table[0]["LUTDescriptor"].VR = "SS" if first < 0 else "US"
        table[0].LUTDescriptor = [len(entries) if count is None else count, first, said]
        dataset.VOILUTSequence = table
        grey = entries[np.rint(out - low).astype(int)] / (2 ** max(stored_bits, 8) - 1)
    elif "empty voi" in faults and contrast == "window":
        dataset.VOILUTSequence = Sequence([empty_table()])
    if "empty modality" in faults and "RescaleSlope" in dataset:
        dataset.ModalityLUTSequence = Sequence([empty_table()])
    if inverse:
        grey = 1 - grey
    if "padding" in faults:
        outside = [("US", 65535), ("SS", -32768), ("LO", "none")]
        if stored_bits < 16:
            dataset.add_new("PixelPaddingValue", *draw(st.sampled_from(outside)))
    if "modality" in faults:
        dataset.Modality = ["DX", "CR"]
    if "spacing" in faults:
        dataset.ImagerPixelSpacing = "0.1"
    syntax = draw(st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian,
                                   RLELossless, JPEG2000Lossless]))  # fmt: skip
    if syntax in (RLELossless, JPEG2000Lossless):
        wide = dataset.BitsStored, dataset.HighBit
        dataset.BitsStored, dataset.HighBit = allocated, allocated - 1
        dataset.compress(syntax)
        dataset.BitsStored, dataset.HighBit = wide
        content = dicom_bytes(dataset)
    else:
        content = dicom_bytes(dataset, syntax)
    return content, grey, not faults


@given(headers())
@settings(max_examples=600)
def test_random_headers_never_give_another_picture_in_silence(
    drawn: tuple[bytes, npt.NDArray[np.float64], bool],
) -> None:
    content, expected, right = drawn
    image = read(content)  # none of these faults leaves open what the picture is
    assert image.pixels.shape == SHAPE == image_size_of(content)
    np.testing.assert_allclose(image.pixels, expected, rtol=0, atol=2e-5)
    assert not (right and image.remarks)


def image_size_of(content: bytes) -> tuple[int, int]:
    dataset = dcmread(io.BytesIO(content))
    return int(dataset.Rows), int(dataset.Columns)


NUMBER = st.sampled_from([-70000.0, -2048.0, -1.0, 0.0, 0.5, 1.0, 2.0, 100.0, 255.0, 1000.0, 2048.0, 4095.0, 65536.0])


@given(
    bits=st.integers(1, 16),
    signed=st.booleans(),
    inverse=st.booleans(),
    rescale=st.one_of(st.none(), st.tuples(NUMBER, NUMBER)),
    modality=st.booleans(),
    windows=st.lists(st.tuples(NUMBER, NUMBER), max_size=2),
    function=st.sampled_from(["", "LINEAR", "LINEAR_EXACT", "SIGMOID", "CUBIC"]),
    table=st.one_of(st.none(), st.tuples(st.integers(1, 5000), st.integers(-5000, 5000), st.integers(6, 16))),
    padding=st.one_of(st.none(), st.integers(-40000, 70000)),
)
@settings(max_examples=600)
def test_whatever_stands_in_a_header_it_is_the_standard_s_picture_or_not_silent(
    bits: int, signed: bool, inverse: bool, rescale: tuple[float, float] | None, modality: bool,
    windows: list[tuple[float, float]], function: str, table: tuple[int, int, int] | None, padding: int | None,
) -> None:  # fmt: skip
    """Attributes drawn without regard to the pixels."""
    lowest = -(2 ** (bits - 1)) if signed else 0
    stored = picture(2**bits - 1) + lowest
    dataset = dicom(
        stored.astype(np.int16 if signed else np.uint16),
        photometric="MONOCHROME1" if inverse else "MONOCHROME2", bits=bits, VOILUTFunction=function,
    )  # fmt: skip
    out, full = stored.astype(float), np.array([lowest, lowest + 2**bits - 1], dtype=float)
    if rescale is not None:
        dataset.RescaleSlope, dataset.RescaleIntercept = rescale
    if modality:
        squares = np.arange(256) ** 2
        dataset.ModalityLUTSequence = lut(squares, 0, 16)
        out, full = (squares[np.clip(values, 0, 255).astype(int)].astype(float) for values in (out, full))
    elif rescale is not None:
        out, full = (values * rescale[0] + rescale[1] for values in (out, full))
    if windows:
        dataset.WindowCenter, dataset.WindowWidth = map(list, zip(*windows, strict=True))
    blank = np.zeros(SHAPE, bool)
    if padding is not None:
        dataset.add_new("PixelPaddingValue", "US" if padding >= 0 else "SS", max(min(padding, 65535), -32768))
        blank = stored == (padding - 65536 if signed and 32768 <= padding <= 65535 else padding)  # a sign is a bit too
    if table is not None:
        count, first, said = table
        entries = np.arange(count) * (2**said - 1) // max(count - 1, 1)
        dataset.VOILUTSequence = lut(entries, 0, said)
        dataset.VOILUTSequence[0]["LUTDescriptor"].VR = "SS" if first < 0 else "US"
        dataset.VOILUTSequence[0].LUTDescriptor = [count, first, said]
        grey = entries[np.clip(np.rint(out) - first, 0, count - 1).astype(int)] / (2**said - 1)
    elif windows:
        centre, width = windows[0]
        if function == "SIGMOID":
            grey = 1 / (1 + np.exp(np.clip(-4 * (out - centre) / (width or 1), -500, 500)))
        elif function == "LINEAR_EXACT":
            grey = np.clip((out - centre) / (width or 1) + 0.5, 0, 1)
        else:  # PS3.3 C.11.2.1.2.1, branch by branch
            low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
            inner = (out - (centre - 0.5)) / ((width - 1) or 1) + 0.5
            grey = np.where(out <= low, 0.0, np.where(out > high, 1.0, inner))
    else:
        inner = out[~blank]
        low, high = (full.min(), full.max()) if bits <= 8 else (inner.min(), inner.max())
        grey = np.clip((out - low) / ((high - low) or 1), 0, 1)
    expected = np.where(blank, 0, 1 - grey if inverse else grey)
    try:
        image = read(dataset)
    except UnreadableImageError:
        return
    if not image.remarks:
        np.testing.assert_allclose(image.pixels, expected, rtol=0, atol=2e-5)
