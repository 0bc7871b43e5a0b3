"""Radiographs at full depth: their values by hand, and a display that is the reader's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom import Dataset

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import decode
from cxrlens.inputs.readers.full_depth import FullDepth, read_full_depth
from image_files import dicom, dicom_bytes, encoded

ROWS, COLUMNS = 70, 100


def gradient(kind: type[np.generic] = np.uint16, first: int = 0) -> npt.NDArray[Any]:
    """40 a column and 1 a row: no two rows and no two columns are alike."""
    return (first + 40 * np.arange(COLUMNS)[None] + np.arange(ROWS)[:, None]).astype(kind)


def of(dataset: Dataset) -> FullDepth:
    return read_full_depth(dicom_bytes(dataset), "x")


def values(picture: FullDepth) -> npt.NDArray[np.float64]:
    return picture.slope * picture.levels + picture.intercept


def displayed(picture: FullDepth) -> npt.NDArray[np.float64]:
    """As a page shows it: through its own window or table."""
    if picture.window is None:
        assert picture.table is not None
        grey = np.array(picture.table)[np.minimum(picture.levels, len(picture.table) - 1)] / 255
    else:
        grey = picture.window(values(picture))
        grey = 1 - grey if picture.inverse else grey
    return np.where(picture.levels == picture.padding, 0, grey) if picture.padding is not None else grey


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_twelve_bits_are_the_stored_values(photometric: str) -> None:
    picture = of(dicom(gradient(first=17), photometric=photometric))
    assert picture.levels.dtype == np.uint16
    assert picture.levels.shape == (ROWS, COLUMNS)
    found = values(picture)
    assert (found[0, 0], found[3, 20], found[69, 99]) == (17, 17 + 3 + 800, 17 + 69 + 3960)
    assert picture.exact
    assert picture.bits == 12
    assert picture.inverse == (photometric == "MONOCHROME1")
    assert picture.window is not None
    assert (picture.window.centre, picture.window.width) == ((17 + 4046) / 2, 4029)


def test_the_windows_of_the_file_in_its_order() -> None:
    picture = of(
        dicom(
            gradient(),
            WindowCenter=[2000, 1000, 50],
            WindowWidth=[1001, 4000, 0],
            WindowCenterWidthExplanation=["NORMAL", "SOFT"],
        )
    )
    found = [(window.centre, window.width, window.function, window.explanation) for window in picture.windows]
    assert found == [(2000, 1001, "LINEAR", "NORMAL"), (1000, 4000, "LINEAR", "SOFT")]  # one of width 0 shows nothing
    assert picture.window == picture.windows[0]
    shown = displayed(picture)  # PS3.3: (2000 - 1999.5) / 1000 + 0.5
    assert shown[0, 50] == pytest.approx(0.5005)
    assert (shown[0, 37], shown[0, 63]) == (0, 1)


@pytest.mark.parametrize(
    ("stored", "elements"),
    [
        (gradient(), {}),
        (gradient(), {"photometric": "MONOCHROME1", "WindowCenter": 2000, "WindowWidth": 1500}),
        (gradient(), {"RescaleSlope": 0.5, "RescaleIntercept": -300, "WindowCenter": 700, "WindowWidth": 900}),
        (gradient(np.int16, -2000), {"RescaleSlope": -2, "RescaleIntercept": 7}),
        (gradient(), {"WindowCenter": 2000, "WindowWidth": 800, "VOILUTFunction": "SIGMOID"}),
        (gradient(), {"WindowCenter": 2000, "WindowWidth": 800, "VOILUTFunction": "LINEAR_EXACT"}),
        (np.where(gradient() < 900, 0, gradient()), {"PixelPaddingValue": 0}),
        (np.where(gradient() > 3500, 4095, gradient()), {"PixelPaddingValue": 4095, "photometric": "MONOCHROME1"}),
        (gradient(np.uint16, 60000), {"bits": 16}),
        (gradient() // 16, {"bits": 8}),
    ],
)
def test_the_display_is_the_reader_s(stored: npt.NDArray[Any], elements: dict[str, Any]) -> None:
    content = dicom_bytes(dicom(stored.astype(stored.dtype), **elements))
    picture = read_full_depth(content, "x")
    assert picture.exact
    assert displayed(picture) == pytest.approx(decode(content, "x").pixels, abs=1e-6)
    filling = (
        stored == elements["PixelPaddingValue"] if "PixelPaddingValue" in elements else np.zeros_like(stored, bool)
    )
    assert ((picture.levels == picture.padding) == filling).all() if filling.any() else picture.padding is None
    expected = elements.get("RescaleSlope", 1) * stored.astype(float) + elements.get("RescaleIntercept", 0)
    assert values(picture)[~filling] == pytest.approx(expected[~filling])


def test_a_voi_lut_is_given_as_shades_of_the_levels() -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.LUTData = (4095 * (np.arange(4096) / 4095) ** 2).astype("<u2").tobytes()
    dataset = dicom(gradient(), photometric="MONOCHROME1", VOILUTSequence=[table])
    picture = of(dataset)
    assert picture.window is None
    assert picture.table is not None
    assert len(picture.table) == 4030
    assert (picture.table[0], picture.table[2000]) == (255, 255 - 61)  # 255 * (2000 / 4095) ** 2 = 60.8
    assert displayed(picture) == pytest.approx(decode(dicom_bytes(dataset), "x").pixels, abs=0.51 / 255)


def test_a_table_of_the_modality_gives_the_values() -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (10 * np.arange(4096) + 5).astype("<u2").tobytes()
    table.ModalityLUTType = "OD"
    picture = of(dicom(gradient(), ModalityLUTSequence=[table]))
    assert (values(picture) == 10.0 * gradient() + 5).all()


def test_values_of_more_bits_than_levels_are_rounded_and_said_to_be() -> None:
    stored = gradient(np.uint32) * 1000
    picture = of(dicom(stored, bits=32, WindowCenter=2_000_000, WindowWidth=3_000_000))
    assert not picture.exact
    assert values(picture) == pytest.approx(stored, abs=0.51 * picture.slope)


@pytest.mark.parametrize(
    ("elements", "source", "words"),
    [
        (
            {"ImagerPixelSpacing": [0.2, 0.1]},
            "ImagerPixelSpacing",
            "at the detector: what lies in the patient is shown",
        ),
        ({"PixelSpacing": [0.2, 0.1]}, "PixelSpacing", "at the detector"),
        (
            {"ImagerPixelSpacing": [0.2, 0.1], "EstimatedRadiographicMagnificationFactor": "1.05"},
            "ImagerPixelSpacing",
            "measured (about 1.05 times, says the file)",
        ),
        (
            {"ImagerPixelSpacing": [1, 1], "PixelSpacing": [0.2, 0.1], "PixelSpacingCalibrationType": "FIDUCIAL"},
            "PixelSpacing",
            "calibrated by an object of known size",
        ),
    ],
)
def test_the_spacing_and_what_it_means(elements: dict[str, Any], source: str, words: str) -> None:
    spacing = of(dicom(gradient(), **elements)).spacing
    assert spacing is not None
    assert (spacing.rows, spacing.columns, spacing.source) == (0.2, 0.1, source)
    assert words in spacing.meaning


def test_pictures_without_dicom() -> None:
    deep = read_full_depth(encoded(Image.fromarray(gradient(first=5) * 16), "PNG"), "x")
    assert (values(deep) == 16.0 * gradient(first=5)).all()
    assert (deep.exact, deep.bits, deep.spacing, deep.windows) == (True, 16, None, ())
    plain = (gradient() // 16).astype(np.uint8)
    turned = read_full_depth(encoded(Image.fromarray(plain), "PNG"), "x")
    assert (values(turned) == plain).all()
    assert turned.window is not None
    assert (turned.window.centre, turned.window.width) == (127.5, 255)


def test_what_cannot_be_read_is_refused_in_the_reader_s_words() -> None:
    for content in (b"", b"nothing", dicom_bytes(dicom(gradient()))[:900]):
        with pytest.raises(UnreadableImageError) as ours:
            read_full_depth(content, "x")
        with pytest.raises(UnreadableImageError) as theirs:
            decode(content, "x")
        assert str(ours.value) == str(theirs.value)
