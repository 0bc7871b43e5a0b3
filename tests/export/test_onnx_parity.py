"""The exported graph gives what torch gives: probability, decision, map and peak."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exported_models import SIZE, Exported, pictures, write_model

from cxrlens.export.graph import ExportedGraph
from cxrlens.export.onnx import METHOD_IDS
from cxrlens.inspection.onnx_inspector import OnnxInspector
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.result import ImageMap, InputMap
from cxrlens.inspection.torch_inspector import TorchInspector
from cxrlens.models import onnx_sessions
from cxrlens.models.onnx_file import OnnxModel, read_onnx
from cxrlens.saliency.explain import Row
from cxrlens.saliency.joint_graph.map_graph import MapGraph
from cxrlens.study.image_groups import cut_to_image

PICTURES = pictures(5)
SHAPES = [picture.shape for picture in PICTURES]


def prepared(model: OnnxModel) -> np.ndarray:
    return np.stack([model.card.preprocessing.resized(picture) for picture in PICTURES])


def test_probability_and_maps_are_those_of_torch(each_exported: Exported, each_read: OnnxModel):
    grey = prepared(each_read)
    rows = [Row(method, each_exported.layers) for method in each_exported.methods]
    expected = each_exported.model.explain_rows(torch.from_numpy(grey), rows, fusion=each_exported.fusion)
    for row in rows:
        found = each_read.run(grey, method=row.method)
        assert found.maps is not None
        assert found.flat is not None
        assert found.maps.shape == (5, *SIZE)
        assert (found.probability.dtype, found.maps.dtype, found.flat.dtype) == (np.float64, np.float32, np.bool_)
        np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
        np.testing.assert_allclose(found.probability, each_exported.model.probability_of(expected.logits), atol=1e-4)
        each_exported.assert_near(found.maps, expected.maps[row].numpy())
        assert found.flat.tolist() == expected.flat[row].tolist() == [False] * 5
    assert len({round(value, 4) for value in found.probability.tolist()}) == 5


def test_a_batch_gives_what_its_images_give_alone(each_read: OnnxModel):
    grey = prepared(each_read)
    together = each_read.run(grey)
    assert together.maps is not None
    for index in range(5):
        alone, without_map = each_read.run(grey[index : index + 1]), each_read.run(grey[index : index + 1], maps=False)
        assert alone.maps is not None
        assert without_map.maps is None
        assert alone.probability[0] == together.probability[index]
        # Of the graph without maps, which may be joined into other operations.
        assert without_map.probability[0] == pytest.approx(alone.probability[0], rel=1e-4)
        assert without_map.probability[0] == each_read.run(grey, maps=False).probability[index]
        assert np.array_equal(alone.maps[0], together.maps[index])
    assert each_read.makes_maps_apart


def test_without_the_package_that_cuts_graphs_all_is_computed(exported: Exported, monkeypatch: pytest.MonkeyPatch):
    cut = onnx_sessions.open_session(exported.file)
    monkeypatch.setattr(onnx_sessions, "can_cut", lambda: False)
    whole = read_onnx(exported.file)
    assert not whole.makes_maps_apart
    grey = prepared(whole)
    for names in (("logits",), ("probability", "logits")):
        for one, other in zip(whole._session.run(names, {"grey": grey}), cut.run(names, {"grey": grey}), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_inspectors_find_the_same(each_exported: Exported, each_read: OnnxModel):
    onnx = OnnxInspector(each_read)
    row = Row(each_exported.methods[0], each_exported.layers)
    torch_ = TorchInspector(each_exported.model, row, each_exported.fusion)
    assert (onnx.method, onnx.layers) == (torch_.method, torch_.layers)
    assert onnx.card == torch_.card
    grey = prepared(onnx.model)
    found, expected = [], []
    for one, other, shape in zip(onnx.inspect(grey, SHAPES), torch_.inspect(grey, SHAPES), SHAPES, strict=True):
        assert one.map is not None
        assert other.map is not None
        assert one.probability == pytest.approx(other.probability, abs=1e-4)
        assert one.geometry == other.geometry == onnx.card.preprocessing.geometry(*shape).without_padding()
        assert one.map.values.shape == other.map.values.shape == one.geometry.window[2:]
        found.append(one.map.values)
        expected.append(other.map.values)
        assert (one.map.values.min(), one.map.values.max()) == (0, 1)
        assert each_exported.needs_backward or one.peak == other.peak
        assert one.flat == ()
    each_exported.assert_near(found, expected)


def test_maps_are_made_for_those_that_are_asked_for(exported: Exported):
    model = read_onnx(exported.file)
    grey = prepared(model)
    probabilities = sorted(model.run(grey).probability.tolist())
    model.card.threshold = probabilities[3]
    assert model.card.calibration is not None
    model.card.calibration = model.card.calibration.model_copy(update={"review_threshold": probabilities[2]})
    inspector = OnnxInspector(model)
    everything = inspector.inspect(grey, SHAPES)
    flagged = inspector.inspect(grey, SHAPES, maps="flagged")
    assert [each.map is not None for each in flagged] == [each.probability >= probabilities[2] for each in flagged]
    assert sum(each.map is not None for each in flagged) == 3
    for seen in (
        inspector.inspect(grey, SHAPES, maps="none"),
        OnnxInspector(model, with_maps=False).inspect(grey, SHAPES),
    ):
        assert [each.probability for each in seen] == [each.probability for each in everything]
        assert all(each.map is None and each.peak is None for each in seen)
    assert (OnnxInspector(model, with_maps=False).method, OnnxInspector(model, with_maps=False).layers) == ("", "")


def test_a_map_of_nothing_is_flat(exported: Exported):
    inspector = OnnxInspector(read_onnx(exported.file))
    grey = prepared(inspector.model)
    grey[1] = np.nan
    found = inspector.model.run(grey)
    assert found.maps is not None
    assert found.flat is not None
    assert found.flat.tolist() == [False, True, False, False, False]
    assert not found.maps[1].any()
    assert np.isfinite(found.maps).all()


@pytest.mark.parametrize("shape", [(90, 160), (160, 70), SIZE, (200, 300)])
@pytest.mark.parametrize("constant", [False, True])
def test_maps_are_cut_and_scaled_as_tensors_are(exported: Exported, shape: tuple[int, int], constant: bool):
    geometry = exported.model.preprocessing.geometry(*shape)
    map_ = np.random.default_rng(0).random(SIZE, dtype=np.float32)
    if constant:
        geometry.cut(map_)[:] = np.float32(0.3)
    expected, flat = cut_to_image(torch.from_numpy(map_)[None], torch.tensor([False]), geometry)
    found = ImageMap.cut(InputMap("grad_cam", "last", map_, False), geometry)
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, expected[0])
    assert found.flat == bool(flat[0]) == (constant and geometry.is_padded)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> QualityModel:
    return write_model(tmp_path_factory.mktemp("m") / "m.safetensors", "resnet10", "stretch", calibrated=False)


@pytest.fixture(scope="module")
def every_method(small: QualityModel) -> ExportedGraph:
    images = small.preprocessing.normalized(torch.rand(1, 1, *SIZE))
    return ExportedGraph(MapGraph(small.network, images, [Row(id_, "last") for id_ in METHOD_IDS]), small.card)


def test_the_graph_gives_what_torch_gives_by_every_method(small: QualityModel, every_method: ExportedGraph):
    grey = torch.from_numpy(np.stack([small.preprocessing.resized(picture) for picture in PICTURES]))
    rows = [Row(id_, "last") for id_ in METHOD_IDS]
    expected = small.explain_rows(grey, rows)
    with torch.no_grad():
        logits, probability, *found = every_method(grey)
    torch.testing.assert_close(logits, expected.logits)
    torch.testing.assert_close(probability.float(), small.probability_of(expected.logits), atol=1e-6, rtol=0)
    for row, maps, flat in zip(rows, found[::2], found[1::2], strict=True):
        torch.testing.assert_close(maps, expected.maps[row], atol=1e-5, rtol=0)
        assert flat.tolist() == [row.method == "normgrad_bias"] * 5
