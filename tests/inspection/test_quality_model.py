"""`cxrlens.load` and `QualityModel.check`: one radiograph in every form, maps and peak in its own pixels."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from torch import nn

import cxrlens
from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import from_array
from cxrlens.inspection.quality_model import QualityModel, affected_probability
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.saliency.explain import Row, resolve_layers
from cxrlens.saliency.methods import DEFAULT_METHODS

HEIGHT, WIDTH = 64, 48  # the network's input


@pytest.fixture(scope="module")
def path(build_lively, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    preprocessing = Preprocessing(height=HEIGHT, width=WIDTH)
    save_model(path, build_lively("resnet18", seed=2), ModelCard(architecture="resnet18", preprocessing=preprocessing))
    return path


@pytest.fixture(scope="module")
def model(path: Path) -> QualityModel:
    return cxrlens.load(path, device="cpu")


def radiograph(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Blobs on a gradient, uint8, from 0 to 255."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    image = rows / height + columns / width
    for _ in range(4):
        row, column, size = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(4, 15)
        image += rng.uniform(0.5, 2) * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * size**2))
    image = (image - image.min()) / np.ptp(image)
    return np.rint(255 * image).astype(np.uint8)


def dicom(pixels: np.ndarray, *, photometric: str = "MONOCHROME2") -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3.4"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    return dataset


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "dicom":
        dcmwrite(stream, dicom(pixels), enforce_file_format=True)
    else:
        Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def test_every_form_of_a_radiograph_gives_the_same_answer(model: QualityModel, tmp_path: Path):
    pixels = radiograph(90, 130)
    (tmp_path / "a.png").write_bytes(encoded(pixels, "png"))
    (tmp_path / "a.dcm").write_bytes(encoded(pixels, "dicom"))
    colour = np.repeat(pixels[:, :, None], 3, axis=2)
    forms: dict[str, Any] = {
        "float64": pixels / 255,
        "float32": (pixels / 255).astype(np.float32),
        "uint16": pixels.astype(np.uint16) * 257,
        "RGB": colour,
        "RGB float": colour / 255,
        "path": tmp_path / "a.png",
        "path as text": str(tmp_path / "a.png"),
        "PNG bytes": encoded(pixels, "png"),
        "colour PNG bytes": encoded(colour, "png"),
        "DICOM": dicom(pixels),
        "DICOM of 16 bits": dicom(pixels.astype(np.uint16) * 16),
        "DICOM MONOCHROME1": dicom(255 - pixels, photometric="MONOCHROME1"),
        "DICOM path": tmp_path / "a.dcm",
        "DICOM bytes": encoded(pixels, "dicom"),
        "transposed view": np.asfortranarray(pixels),
    }
    expected = model.check(pixels)
    other = model.check(255 - pixels)
    assert abs(other.probability - expected.probability) > 1e-3  # the network does look at the picture
    for form, image in forms.items():
        found = model.check(image)
        assert found.probability == pytest.approx(expected.probability, abs=1e-5), form
        assert found.decision == expected.decision
        np.testing.assert_allclose(found.maps["normgrad_conv1x1"], expected.maps["normgrad_conv1x1"], atol=1e-3)


def test_the_probability_is_the_networks_softmax(path: Path, model: QualityModel):
    pixels = radiograph(90, 130)
    resized = Image.fromarray((pixels / 255).astype(np.float32)).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    batch = (np.asarray(resized)[None] - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        normal, affected = model.network(torch.from_numpy(batch[None]).float())[0].tolist()
    expected = np.exp(affected) / (np.exp(normal) + np.exp(affected))
    assert model.check(pixels).probability == pytest.approx(expected, abs=1e-4)
    assert cxrlens.load(path.parent, device="cpu").check(pixels).probability == model.check(pixels).probability


def test_probabilities_of_a_batch_equal_those_of_checks(model: QualityModel):
    images = [radiograph(HEIGHT, WIDTH, seed=seed) for seed in range(3)]
    grey = torch.stack([torch.from_numpy(image / 255).float()[None] for image in images])
    found = model.probabilities(grey)
    assert found.tolist() == pytest.approx([model.check(image).probability for image in images], abs=1e-5)
    assert found.std() > 1e-4


def test_probability_of_one_and_two_logits():
    two = torch.tensor([[1.0, 3.0], [200.0, -200.0]])
    assert affected_probability(two).tolist() == pytest.approx([1 / (1 + np.exp(-2)), 0])
    assert affected_probability(torch.tensor([[2.0], [0.0]])).tolist() == pytest.approx([1 / (1 + np.exp(-2)), 0.5])


@pytest.mark.parametrize("size", [(90, 130), (131, 57), (40, 30), (HEIGHT, WIDTH)])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("layers", ["last", "combined"])
def test_maps_and_peak_are_in_the_radiographs_own_pixels(model, size: tuple[int, int], seed: int, layers: str):
    pixels = radiograph(*size, seed=seed)
    found = model.check(pixels, methods=list(DEFAULT_METHODS), layers=layers, assess_any=True)
    assert list(found.maps) == list(DEFAULT_METHODS)
    for map_ in found.maps.values():
        assert map_.shape == size
        assert map_.dtype == np.float32
        assert 0 <= map_.min() <= map_.max() <= 1
    grey = torch.from_numpy(model.preprocessing.resized((pixels / 255).astype(np.float32)))[None]
    at_input_size = model.explain_rows(grey, [Row(id_, layers) for id_ in DEFAULT_METHODS])
    peaks = 0
    for row, map_ in at_input_size.maps.items():
        check = model.check(pixels, methods=row.method, layers=layers, assess_any=True)
        if check.flat:
            continue
        assert check.peak is not None
        assert all(isinstance(place, int) and 0 <= place < side for place, side in zip(check.peak, size, strict=True))
        # A layer's edge cell is upsampled to a plateau, so several pixels can be the highest.
        highest = np.argwhere(map_[0].numpy() == float(map_.max()))
        mapped = (highest + 0.5) * np.array(size) / (HEIGHT, WIDTH) - 0.5
        assert np.abs(mapped - check.peak).max(axis=1).min() <= 0.5 + 1e-9  # the nearest pixel
        own = check.maps[row.method]
        assert own[check.peak] >= own.max() - 0.05
        peaks += 1
    assert peaks >= 3


def test_the_peak_follows_a_planted_spot_to_the_right_place(model: QualityModel):
    """The network's map is replaced by the picture itself, so that the place is known."""
    spot_row, spot_column = 20, 100
    rows, columns = np.mgrid[:90, :130]
    pixels = np.exp(-((rows - spot_row) ** 2 + (columns - spot_column) ** 2) / 200).astype(np.float32)

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 1, 1, bias=False)
            nn.init.ones_(self.layer.weight)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            evidence = self.layer(images - images.amin()).mean((1, 2, 3))
            return torch.stack([-evidence, evidence], 1)

    looking = QualityModel(Looks(), model.card, torch.device("cpu"))
    for id_ in DEFAULT_METHODS:
        check = looking.check(pixels, methods=id_, layers="layer")
        assert check.peak is not None
        assert abs(check.peak[0] - spot_row) <= 90 / HEIGHT
        assert abs(check.peak[1] - spot_column) <= 130 / WIDTH


def test_the_decision_follows_the_cards_threshold(model: QualityModel):
    pixels = radiograph(90, 130)
    probability = model.check(pixels).probability
    assert 0.01 < probability < 0.99
    for threshold, decision in (
        (0.0, "affected"),
        (probability, "affected"),
        (float(np.nextafter(probability, 1)), "normal"),
        (1.0, "normal"),
    ):
        card = model.card.model_copy(update={"threshold": threshold})
        assert QualityModel(model.network, card, model.device).check(pixels).decision == decision


def test_a_flat_map_has_no_peak_and_is_named(path: Path):
    model = cxrlens.load(path, device="cpu")
    nn.init.zeros_(model.network.get_submodule("fc").weight)
    check = model.check(radiograph(90, 130), methods=list(DEFAULT_METHODS), layers="last")
    assert check.peak is None
    assert check.flat == tuple(DEFAULT_METHODS)
    assert not any(map_.any() for map_ in check.maps.values())


def test_a_check_without_maps(model: QualityModel):
    check = model.check(radiograph(90, 130), methods=[])
    assert (check.maps, check.peak, check.flat) == ({}, None, ())
    assert check.probability == pytest.approx(model.check(radiograph(90, 130)).probability, abs=1e-6)


def test_target_and_smoothing_reach_the_maps(model: QualityModel):
    pixels, options = radiograph(90, 130), {"methods": "normgrad_scaling", "layers": "last"}
    affected, normal, predicted, smoothed = (
        model.check(pixels, **options, **more).maps["normgrad_scaling"]
        for more in ({}, {"target": 0}, {"target": "predicted"}, {"smooth": 3})
    )
    assert not np.allclose(affected, normal, atol=0.01)
    assert not np.allclose(affected, smoothed, atol=0.01)
    chosen = affected if model.check(pixels).probability > 0.5 else normal
    np.testing.assert_array_equal(predicted, chosen)


def test_the_resize_reaches_the_maps(model: QualityModel):
    pixels, options = radiograph(90, 130), {"methods": "grad_cam", "layers": "last"}
    grey = torch.from_numpy(model.preprocessing.resized(from_array(pixels).pixels, pixels.shape))[None]
    images = model.preprocessing.normalized(grey)
    inner = model.preprocessing.geometry(*pixels.shape)
    for resize in ({}, {"grid": "areas", "interpolation": "bilinear"}, {"flip": True}):
        found = model.check(pixels, **options, **resize)
        (whole,) = cxrlens.explain(model.network, images, **options, **resize)["grad_cam"].numpy()
        np.testing.assert_allclose(found.maps["grad_cam"], inner.backward_map(whole), atol=1e-5)
    assert str(found.resize) == "centres bicubic, mirrored"


def test_a_list_of_layers_is_combined(model: QualityModel):
    image = radiograph(90, 130)
    names = resolve_layers(model.network, "combined")
    maps = (model.check(image, methods="normgrad_scaling", layers=choice).maps for choice in (names, "combined"))
    by_name, combined = (each["normgrad_scaling"] for each in maps)
    np.testing.assert_array_equal(by_name, combined)
    with pytest.raises(UsageError, match="no layer 'layre2'"):
        model.check(image, layers=["layre2", "last"])


@pytest.mark.parametrize(
    "wrong", [{name: "nothing"} for name in ("methods", "layers", "target", "grid", "interpolation")]
)
def test_wrong_choices_are_refused(model: QualityModel, wrong: dict[str, Any]):
    with pytest.raises(UsageError, match="nothing"):
        model.check(radiograph(90, 130), **wrong)
    if not wrong.keys().isdisjoint({"methods", "layers"}):
        with pytest.raises(UsageError, match="nothing"):
            model.check_rows([Row(wrong.get("methods", "grad_cam"), wrong.get("layers", "last"))])


@pytest.mark.parametrize(
    "image",
    [
        "no-such-file.png",
        b"",
        b"no image",
        np.zeros((3, 4, 5)),
        np.full((9, 9), 2.0),
        np.full((9, 9), np.nan),
        np.zeros((9, 9), dtype=np.int64),
        np.zeros((0, 9)),
        Dataset(),
    ],
    ids=["missing", "empty", "text", "shape", "range", "NaN", "int64", "no rows", "no pixels"],
)
def test_what_is_no_radiograph_is_refused(model: QualityModel, image: Any):
    with pytest.raises(UnreadableImageError):
        model.check(image)


def test_checking_changes_nothing(model: QualityModel):
    pixels = radiograph(90, 130)
    before, copy = {k: v.clone() for k, v in model.network.state_dict().items()}, pixels.copy()
    first = model.check(pixels)
    second = model.check(pixels)
    assert (first.probability, first.peak) == (second.probability, second.peak)
    assert all(torch.equal(value, before[key]) for key, value in model.network.state_dict().items())
    assert all(parameter.grad is None for parameter in model.network.parameters())
    assert np.array_equal(pixels, copy)


def test_a_device_that_is_not_there_is_refused(path: Path):
    with pytest.raises(UsageError, match="`device=auto`"):
        cxrlens.load(path, device="warp")


def test_the_public_names_exist_and_are_imported_on_first_use():
    for name in cxrlens.__all__:
        assert getattr(cxrlens, name) is not None
    assert set(cxrlens.__all__) <= set(dir(cxrlens))
    with pytest.raises(AttributeError, match="nothing"):
        _ = cxrlens.nothing
    code = "import sys, cxrlens; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
