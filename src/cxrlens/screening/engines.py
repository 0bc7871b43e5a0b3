"""The engine that settings name, and the model that it works with."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from cxrlens.errors import UsageError
from cxrlens.inspection.inspector import Inspector
from cxrlens.models.location import model_path
from cxrlens.models.onnx_sessions import GraphRuntime, runtime_of
from cxrlens.screening.engine import Engine
from cxrlens.screening.local_engine import LocalEngine
from cxrlens.screening.settings import ScreeningSettings


def open_engine(settings: ScreeningSettings, folders: Collection[Path], out: Path) -> AbstractContextManager[Engine]:
    """The engine that the settings name, with the model at work.

    Args:
        folders: of the images.
        out: of the results.

    Raises:
        UsageError: when the model or the engine cannot be used.
    """
    if settings.engine == "local":
        if settings.address is not None or settings.ray_workers is not None:
            raise UsageError("`address` and `ray_workers` are of a Ray cluster; give `engine=ray` with them")
        return nullcontext(local_engine(settings))
    if settings.precision == "auto":
        raise UsageError(
            "`precision=auto` may be another one on another computer of the cluster; give `precision=f32` or "
            "`precision=bf16` with `engine=ray`"
        )
    from cxrlens.cluster.ray_cluster import ClusterSettings
    from cxrlens.screening.ray_engine import RayEngine

    return RayEngine(
        ClusterSettings(settings.address, settings.ray_workers, settings.device),
        _ModelOpener(settings),
        model_path(settings.model),
        out,
        sorted(folders),
        readers=settings.workers,
        maps=settings.maps,
        keep_tags=settings.keep_tags,
        assess_any=settings.assess_any,
        batch_size=settings.batch_size,
    )


def local_engine(settings: ScreeningSettings) -> LocalEngine:
    """The engine of this computer.

    Raises:
        UsageError: when the model cannot be used.
    """
    return LocalEngine(
        open_inspector(settings),
        maps=settings.maps,
        keep_tags=settings.keep_tags,
        assess_any=settings.assess_any,
        batch_size=settings.batch_size,
        workers=settings.processes(),
    )


@dataclass(frozen=True)
class _ModelOpener:
    """Opens a model file as the settings have it; picklable."""

    settings: ScreeningSettings

    def __call__(self, file: Path, device: str) -> Inspector:
        return open_inspector(replace(self.settings, model=file, device=device))


def open_inspector(settings: ScreeningSettings) -> Inspector:
    """The model, ready to inspect images.

    Raises:
        UsageError: when the model cannot be used, or the method or layers are unknown.
    """
    runtime = runtime_of(settings.model, settings.runtime)
    if runtime != "torch":
        return _onnx_inspector(settings, runtime)
    from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD, load
    from cxrlens.inspection.torch_inspector import TorchInspector
    from cxrlens.saliency.explain import make_row
    from cxrlens.saliency.fusion import Fusion
    from cxrlens.saliency.resizing import DEFAULT_RESIZE, MapResize

    model = load(settings.model, device=settings.device, precision=settings.precision)
    row = None
    if settings.maps != "none":
        row = make_row(settings.method or DEFAULT_METHOD, settings.layers or DEFAULT_LAYERS)
    resize = MapResize(settings.grid or DEFAULT_RESIZE.grid, settings.interpolation or DEFAULT_RESIZE.interpolation)
    fusion = Fusion(resize=resize, flip=settings.flip)
    model.check_rows([row] if row else [], fusion)
    return TorchInspector(model, row, fusion, seed=settings.seed)


def _onnx_inspector(settings: ScreeningSettings, runtime: GraphRuntime) -> Inspector:
    from cxrlens.inspection.onnx_inspector import load_onnx

    inspector = load_onnx(
        model_path(settings.model),
        method=settings.method,
        with_maps=settings.maps != "none",
        runtime=runtime,
        precision=settings.precision,
        device=settings.device,
    )
    info = inspector.model.info
    if settings.layers not in (None, info.layers):
        raise UsageError(
            f"{settings.model}: gives maps at the layers '{info.layers}' alone; leave --layers out, or export the "
            f"model with --layers {settings.layers}"
        )
    if settings.grid not in (None, info.grid) or settings.interpolation not in (None, info.interpolation):
        raise UsageError(
            f"{settings.model}: gives maps resized by {info.grid} {info.interpolation} alone; leave --grid, "
            "--interpolation and --published-grid out, or export the model with them"
        )
    if settings.flip:
        raise UsageError(
            f"{settings.model}: gives no maps of mirrored images; leave --flip out, or give the model file for torch"
        )
    return inspector
