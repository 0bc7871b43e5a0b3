"""A server of an exported model offers the map of its graph, and answers as torch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from serving_files import asking, check, encoded, pixels, running

from cxrlens.errors import UsageError
from cxrlens.inspection.onnx_inspector import load_onnx
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.resizing import MapResize
from cxrlens.serving import run
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings

for package in ("onnx", "onnxruntime", "onnxscript", "openvino"):
    pytest.importorskip(package)

RESIZE = MapResize("centres", "bilinear")


@pytest.fixture(scope="module")
def exported(served_model: QualityModel, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cxrlens.export.onnx import export_onnx

    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(served_model, ["normgrad_conv1x1", "layer_cam"], "last", RESIZE, model_file, path)
    return path


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_answers_are_those_of_torch(
    served_model: QualityModel, exported: Path, runtime: Literal["onnx", "openvino"]
) -> None:
    content = encoded(pixels(7))
    inspector = load_onnx(exported, runtime=runtime)
    with running(create_app(ServerSettings(), inspector)) as url, asking(url) as client:
        answer = check(client, content).json()
        facts, offered = client.get("/api/model").json(), client.get("/api/methods").json()
        second = check(client, content, method="layer_cam").json()
        other = check(client, content, method="grad_cam")
        combined = check(client, content, layers="combined")
        smoothed = check(client, content, smooth=2)
    methods = ["normgrad_conv1x1", "layer_cam"]
    found = served_model.check(content, methods=methods, layers="last", grid="centres", interpolation="bilinear")
    assert answer["probability"] == pytest.approx(found.probability, abs=1e-4)
    assert (answer["method"], answer["layers"], answer["smooth"]) == ("normgrad_conv1x1", "last", None)
    assert (answer["grid"], answer["interpolation"], answer["flip"]) == ("centres", "bilinear", False)
    for method, given in zip(methods, (answer, second), strict=True):
        map_ = found.maps[method]
        assert given["method"] == method
        assert map_[tuple(given["peak"])] >= map_.max() - 0.02
    assert (facts["runtime"], facts["precision"], facts["device"]) == (runtime, "f32", "cpu")
    assert (facts["name"], facts["label"]) == ("model.onnx", exported.parent.name)
    assert [(each["id"], each["layers"]) for each in offered["methods"]] == [(each, ["last"]) for each in methods]
    assert (offered["default_method"], offered["default_layers"]) == ("normgrad_conv1x1", "last")
    assert (offered["grid"], offered["interpolation"], offered["flip"]) == ("centres", "bilinear", False)
    for refused in (other, combined, smoothed):
        assert refused.status_code == 422
        assert (
            "gives maps of normgrad_conv1x1 and layer_cam at the layers 'last' alone, not smoothed"
            in refused.json()["detail"]
        )


def test_the_command_serves_a_file_by_what_it_is_for(
    exported: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(run, "_run", lambda loaded, *_: served.append(loaded))
    given: dict[str, Any] = {"port": 0, "ready": lambda _: None}
    run.serve(exported, None, ServerSettings(), **given)
    run.serve(exported, None, ServerSettings(), runtime="openvino", named_resize=("centres", "bilinear"), **given)
    run.serve(model_file, None, ServerSettings(), device="cpu", **given)
    assert [getattr(each, "name", "torch") for each in served] == ["onnx", "openvino", "torch"]
    flipped = ServerSettings(fusion=Fusion(flip=True))
    for path, settings, more, said in (
        (exported, ServerSettings(), {"named_resize": ("areas", "bilinear")}, "resized by centres bilinear alone"),
        (exported, flipped, {}, "gives no maps of mirrored images"),
        (exported, ServerSettings(), {"device": "cuda"}, "was not built for the device 'cuda'"),
        (exported, ServerSettings(), {"precision": "bf16"}, "in f32 or int8, not in bf16"),
        (exported, ServerSettings(), {"runtime": "torch"}, "is an ONNX model"),
        (model_file, ServerSettings(), {"runtime": "onnx"}, "is a model file, which torch runs"),
    ):
        with pytest.raises(UsageError, match=said):
            run.serve(path, None, settings, **given, **more)
    assert len(served) == 3


def test_an_upload_s_numbers_do_not_hang_on_who_comes_with_it(exported: Path) -> None:
    """onnxruntime's, whose images are taken one by one."""
    inspector = load_onnx(exported)
    size = inspector.card.preprocessing.height, inspector.card.preprocessing.width
    grey = np.random.default_rng(0).random((4, 1, *size), dtype=np.float32)
    together = inspector.inspect(grey, [size] * 4)
    for place, found in enumerate(together):
        (alone,) = inspector.inspect(grey[place : place + 1], [size])
        assert alone.probability == found.probability
