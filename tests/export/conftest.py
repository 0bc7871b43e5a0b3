"""Each model is exported once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from exported_models import SMALL_ARCHITECTURES, Exported, write_model

from cxrlens.models.onnx_file import OnnxModel, read_onnx
from cxrlens.models.registry import ARCHITECTURES
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.resizing import DEFAULT_RESIZE, PUBLISHED_RESIZE, MapResize

CASES = {
    "last": ("resnet10", "letterbox", True, ("normgrad_conv1x1",), "last", DEFAULT_RESIZE),
    "several": ("resnet10", "stretch", False, ("normgrad_conv1x1", "layer_cam"), "combined", PUBLISHED_RESIZE),
    "efficientnet": (
        "small_efficientnet",
        "letterbox",
        True,
        ("normgrad_conv1x1",),
        "combined",
        MapResize("centres", "bspline"),
    ),
    "one_logit": ("resnet10", "letterbox", False, ("normgrad_conv3x3",), "layer3.0", MapResize("centres", "bilinear")),
}


@pytest.fixture(autouse=True)
def _one_thread_of_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _small_architectures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for architecture in SMALL_ARCHITECTURES:
            patch.setitem(ARCHITECTURES, architecture.name, architecture)
        yield


def _export(case: str, factory: pytest.TempPathFactory) -> Exported:
    pytest.importorskip("onnxscript")
    from cxrlens.export.onnx import export_onnx

    architecture, resize, calibrated, methods, layers, map_resize = CASES[case]
    folder = factory.mktemp(case)
    source, file = folder / "model.safetensors", folder / "model.onnx"
    classes = 1 if case == "one_logit" else 2
    model = write_model(source, architecture, resize, calibrated=calibrated, classes=classes)
    export_onnx(model, methods, layers, map_resize, source, file)
    return Exported(model, source, file, methods, layers, Fusion(resize=map_resize))


@pytest.fixture(scope="session", params=CASES)
def each_exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    own = {"last": "exported", "several": "several"}.get(request.param)
    return _export(request.param, tmp_path_factory) if own is None else request.getfixturevalue(own)


@pytest.fixture(scope="session")
def each_read(each_exported: Exported) -> OnnxModel:
    """It as onnxruntime runs it, for reading only."""
    return read_onnx(each_exported.file)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return _export("last", tmp_path_factory)


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Two maps of combined layers in one file."""
    return _export("several", tmp_path_factory)
