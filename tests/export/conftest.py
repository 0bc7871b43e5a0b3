"""Each model is exported once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from exported_models import RESNET10, Exported, write_model

from cxrlens.models.registry import ARCHITECTURES

CASES = {
    "resnet10": ("resnet10", "letterbox", True, "normgrad_conv1x1"),
    "resnet18": ("resnet18", "stretch", False, "normgrad_conv1x1"),
    "efficientnet_b0": ("efficientnet_b0", "letterbox", True, "normgrad_conv1x1"),
    "normgrad_conv3x3": ("resnet10", "letterbox", False, "normgrad_conv3x3"),
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

    architecture, resize, calibrated, method = CASES[case]
    folder = factory.mktemp(case)
    source, file = folder / "model.safetensors", folder / "model.onnx"
    classes = 1 if case == "normgrad_conv3x3" else 2
    model = write_model(source, architecture, resize, calibrated=calibrated, classes=classes)
    export_onnx(model, method, source, file)
    return Exported(model, source, file, method)


@pytest.fixture(scope="session", params=CASES)
def each_exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return (
        request.getfixturevalue("exported") if request.param == "resnet10" else _export(request.param, tmp_path_factory)
    )


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return _export("resnet10", tmp_path_factory)
