"""Each model is exported once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from exported_models import RESNET10, Exported, write_model

from cxrlens.models.registry import ARCHITECTURES
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.resizing import DEFAULT_RESIZE, PUBLISHED_RESIZE, MapResize

CASES = {
    "resnet10": ("resnet10", "letterbox", True, ("normgrad_conv1x1",), "last", DEFAULT_RESIZE),
    "resnet18": ("resnet18", "stretch", False, ("normgrad_conv1x1", "layer_cam"), "combined", PUBLISHED_RESIZE),
    "efficientnet_b0": (
        "efficientnet_b0",
        "letterbox",
        True,
        ("normgrad_conv1x1", "grad_cam"),
        "combined",
        MapResize("centres", "bspline"),
    ),
    "one_logit": ("resnet10", "letterbox", False, ("normgrad_conv3x3",), "layer3.0", MapResize("centres", "bilinear")),
}


@pytest.fixture(autouse=True)
def _one_thread_of_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _small_architecture() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "resnet10", RESNET10)
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
    own = {"resnet10": "exported", "resnet18": "several"}.get(request.param)
    return _export(request.param, tmp_path_factory) if own is None else request.getfixturevalue(own)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return _export("resnet10", tmp_path_factory)


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Two maps of combined layers in one file."""
    return _export("resnet18", tmp_path_factory)
