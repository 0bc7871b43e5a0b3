"""The ONNX file: what it says of itself, and files that are refused."""

from __future__ import annotations

import hashlib
import json
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from exported_models import CALIBRATION, SIZE, Exported, changed
from torch import nn

from cxrlens.errors import CxrlensError, NotAssessedError, UsageError
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.onnx_inspector import OnnxInspector, load_onnx
from cxrlens.models.card import CARD_KEY, ModelCard
from cxrlens.models.model_file import load_model
from cxrlens.models.onnx_file import INFO_KEY, OnnxInfo, OnnxModel, read_onnx
from cxrlens.saliency.explain import resolve_layers
from cxrlens.saliency.resizing import DEFAULT_RESIZE

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CARD = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=6, width=8))
INFO = OnnxInfo(
    methods=("grad_cam",), layers="last", modules=("layer4.1",), source="a.safetensors", source_sha256="0" * 64
)


def write_graph(path: Path, metadata: dict[str, str], *, width: int = 8, output: str = "map") -> Path:
    """A graph that hands its input on."""
    shape = ["N", 1, 6, width]
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("grey", output)]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["grey"], [output])], "g", values[:1], values[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path


def test_the_card_and_the_source_travel_with_the_graph(each_exported: Exported, each_read: OnnxModel):
    _, card = load_model(each_exported.source)
    assert each_read.card == card == each_exported.model.card
    assert each_read.card.calibration in (None, CALIBRATION)
    assert each_read.info.methods == each_exported.methods
    assert each_read.info.layers == each_exported.layers
    assert each_read.info.modules == tuple(resolve_layers(each_exported.model.network, each_exported.layers))
    assert each_read.info.source == "model.safetensors"
    assert each_read.info.source_sha256 == hashlib.sha256(each_exported.source.read_bytes()).hexdigest()
    assert OnnxInspector(each_read).card == card


def test_the_file_is_a_valid_graph_of_any_batch_without_traces_of_its_making(each_exported: Exported):
    content = each_exported.file.read_bytes()
    proto = onnx.load_from_string(content)
    onnx.checker.check_model(proto, full_check=True)
    dimensions = proto.graph.input[0].type.tensor_type.shape.dim
    assert dimensions[0].dim_param
    assert [dimension.dim_value for dimension in dimensions[1:]] == [1, *SIZE]
    assert {prop.key for prop in proto.metadata_props} == {CARD_KEY, INFO_KEY}
    described = deepcopy(proto)
    del described.graph.initializer[:]  # among so many random bytes are these, too
    assert b".py" not in described.SerializeToString()
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    assert [each.version for each in proto.opset_import if each.domain == ""] == [18]
    assert {node.domain for node in proto.graph.node} == {""}
    assert len(content) < 1.2 * each_exported.source.stat().st_size
    names = [value.name for value in proto.graph.output]
    assert names == [
        "logits",
        "probability",
        "map",
        "flat",
        *(f"{what}_{method}" for method in each_exported.methods[1:] for what in ("map", "flat")),
    ]


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x07\x12\x00", b"\x89PNG\r\n\x1a\n" * 40])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.onnx: is damaged or no ONNX model \(.+\); write one with"):
        read_onnx(tmp_path / "a.onnx")


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.9999])
def test_a_file_that_was_cut_short_is_refused(exported: Exported, tmp_path: Path, kept: float):
    content = exported.file.read_bytes()
    (tmp_path / "a.onnx").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(UsageError, match=r"a\.onnx: is"):
        read_onnx(tmp_path / "a.onnx")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"a\.onnx: cannot be read \(No such file.*'cxrlens export' writes"):
        read_onnx(tmp_path / "a.onnx")


def test_graphs_of_others_are_refused(tmp_path: Path):
    card, info = CARD.to_metadata(), INFO.model_dump_json()
    newer = json.dumps({**json.loads(card), "smell": 1})
    later = json.dumps({**json.loads(info), "format": 99})
    for metadata, reason in (
        ({}, "without a cxrlens model card; make one with 'cxrlens export'"),
        ({CARD_KEY: card}, "without a cxrlens model card"),
        ({CARD_KEY: newer, INFO_KEY: info}, r"its model card cannot be read \(smell is not known.*update cxrlens"),
        (
            {CARD_KEY: card, INFO_KEY: later},
            r"says of its export cannot be read \(format should be 1, 2 or 3, not 99.*update cxrlens",
        ),
        ({CARD_KEY: card, INFO_KEY: info}, "its inputs and outputs are not those of an exported model of 8 x 6 px"),
    ):
        with pytest.raises(UsageError, match=rf"a\.onnx: .*{reason}"):
            read_onnx(write_graph(tmp_path / "a.onnx", metadata))


def test_a_missing_onnxruntime_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install 'cxrlens\[onnx\]'"):
        read_onnx(write_graph(tmp_path / "a.onnx", {}))


def test_the_model_file_is_what_torch_wants(exported: Exported):
    with pytest.raises(UsageError, match=r"model\.onnx: is an ONNX model.*give the model file"):
        load_model(exported.file)


def test_a_graph_that_differs_from_torch_is_not_put_in_place(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from cxrlens.export import onnx as export

    (tmp_path / "a.onnx").write_text("the old one")
    monkeypatch.setattr(export, "to_bytes", lambda *_: exported.file.read_bytes())  # of another method
    with pytest.raises(CxrlensError, match=r"differs from torch \(probability by .*nothing was written"):
        export.export_onnx(exported.model, ["grad_cam"], "last", DEFAULT_RESIZE, exported.source, tmp_path / "a.onnx")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.onnx", "the old one")]


def test_a_wrong_head_is_seen_where_noise_is_surely_normal(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The probability of 1e-9 or of 1e-7 is the same to four digits; logits and log-odds are not."""
    from cxrlens.export import onnx as export

    model = deepcopy(exported.model)
    head = model.network.fc
    before = head.bias.numpy(force=True).copy()
    with torch.no_grad():
        head.bias += torch.tensor([20.0, 0.0])

    def with_bias(normal: float) -> bytes:
        """The graph that was made before, with so much more to be normal."""
        proto = onnx.load(exported.file)
        (bias,) = (
            each
            for each in proto.graph.initializer
            if list(each.dims) == [2] and np.array_equal(onnx.numpy_helper.to_array(each), before)
        )
        bias.CopyFrom(onnx.numpy_helper.from_array(before + np.array([normal, 0], np.float32), bias.name))
        return bytes(proto.SerializeToString())

    how = (["normgrad_conv1x1"], "last", DEFAULT_RESIZE, exported.source)
    monkeypatch.setattr(export, "to_bytes", lambda *_: with_bias(20))
    export.export_onnx(model, *how, tmp_path / "right.onnx")
    monkeypatch.setattr(export, "to_bytes", lambda *_: with_bias(18))
    with pytest.raises(CxrlensError, match="differs from torch"):
        export.export_onnx(model, *how, tmp_path / "wrong.onnx")
    assert not (tmp_path / "wrong.onnx").exists()


def test_a_head_of_several_layers_and_its_single_layer_are_exported(exported: Exported, tmp_path: Path):
    from cxrlens.export.onnx import export_onnx

    deep = deepcopy(exported.model)
    deep.network.fc = nn.Sequential(nn.Linear(512, 16), nn.Tanh(), nn.Linear(16, 2)).eval()
    file = tmp_path / "a.onnx"
    info, parity = export_onnx(deep, ["grad_cam"], "last", DEFAULT_RESIZE, exported.source, file)
    assert info.modules == ("layer4.0",)
    assert parity.map <= 1e-4
    assert read_onnx(file).info == info


class Jumping(nn.Module):
    """Resamples what it is given, whose gradient no rule knows."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        grid = nn.functional.affine_grid(torch.eye(2, 3).expand(features.shape[0], 2, 3), features.shape, False)
        return nn.functional.grid_sample(features, grid, align_corners=False)


def test_a_network_that_no_rule_covers_is_refused_by_name(exported: Exported, tmp_path: Path):
    from cxrlens.export.onnx import export_onnx

    model = deepcopy(exported.model)
    model.network.layer4.append(Jumping().eval())
    with pytest.raises(UsageError, match="no rule writes grid_sampler_2d_backward as forward operations"):
        export_onnx(model, ["grad_cam"], "layer3.0", DEFAULT_RESIZE, exported.source, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_files_of_the_former_formats_are_read(exported: Exported, tmp_path: Path):
    proto = onnx.load(exported.file)
    for former, resize in ((1, {}), (2, {"grid": "centres", "interpolation": "bspline"})):
        for prop in proto.metadata_props:
            if prop.key == INFO_KEY:
                old = {"format": former, "method": "grad_cam", "layers": "last", "layer": "layer4.0", **resize}
                prop.value = json.dumps({**old, "source": "a.safetensors", "source_sha256": "0" * 64})
        (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
        info = read_onnx(tmp_path / "a.onnx").info
        assert (info.methods, info.layers, info.modules) == (("grad_cam",), "last", ("layer4.0",))
        assert (info.grid, info.interpolation) == tuple(resize.values() or ("areas", "bilinear"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(exported: Exported, tmp_path: Path, value: float):
    with pytest.raises(UsageError, match=r"a\.onnx: its graph gives no number for any image"):
        read_onnx(changed(exported, tmp_path / "a.onnx", every_weight=value))


@pytest.mark.parametrize("threshold", [float("nan"), -0.1, 2.0])
def test_a_card_out_of_range_is_refused(exported: Exported, tmp_path: Path, threshold: float):
    with pytest.raises(UsageError, match=r"a\.onnx: its model card cannot be read \(threshold"):
        read_onnx(changed(exported, tmp_path / "a.onnx", threshold=threshold))


def test_a_card_that_does_not_belong_to_the_graph_is_refused(each_exported: Exported, tmp_path: Path):
    if each_exported.model.card.calibration is None:
        pytest.skip("the probability of a model that is not calibrated rests on its logits alone")
    with pytest.raises(UsageError, match="other probabilities than its model card leads to"):
        read_onnx(changed(each_exported, tmp_path / "a.onnx", prevalence=0.9))


def test_an_image_for_which_the_graph_gives_no_number_is_not_assessed(exported: Exported):
    inspector = load_onnx(exported.file)
    grey = np.full((2, 1, *SIZE), 0.5, np.float32)
    grey[1] = np.nan
    sound, broken = inspector.inspect(grey, [SIZE, SIZE], maps="flagged")
    assert not sound.not_assessed
    assert "no number" in broken.not_assessed
    assert broken.is_flagged
    with pytest.raises(NotAssessedError):
        _ = broken.decision
