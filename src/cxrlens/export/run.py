"""The job behind ``cxrlens export``: a model in another program's format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrlens.errors import UsageError
from cxrlens.export.int8_quality import Int8Quality
from cxrlens.export.onnx import export_onnx
from cxrlens.export.parity import Parity
from cxrlens.export.training_images import TrainingImages
from cxrlens.files import replacing
from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD, load
from cxrlens.models.location import model_path
from cxrlens.models.named import kept_as
from cxrlens.models.onnx_file import OnnxInfo, is_export
from cxrlens.outputs import require_own
from cxrlens.saliency.resizing import DEFAULT_RESIZE, MapResize


@dataclass(frozen=True)
class ExportResult:
    """The file that was written, how it was made, how it agrees with torch, and what its 8-bit integers change."""

    file: Path
    info: OnnxInfo
    parity: Parity
    int8: Int8Quality | None = None


def export_model(
    model: Path,
    *,
    methods: Sequence[str] = (DEFAULT_METHOD,),
    layers: str = DEFAULT_LAYERS,
    resize: MapResize = DEFAULT_RESIZE,
    out: Path | None = None,
    int8: Path | None = None,
    workers: int = 0,
    force: bool = False,
) -> ExportResult:
    """Write a model as ONNX, see docs/export.md.

    Args:
        model: model file or run folder.
        methods: of the maps; the first is the one that `screen` shows.
        layers: of the maps, as `cxrlens.explain` takes them.
        resize: of the maps, from the layers' cells to the input's pixels.
        out: the file; by default beside the model file, with the ending .onnx, and in the working directory under its
            name for a model that is kept under one.
        int8: data set, or folder of training images, that a branch of 8-bit integers is calibrated and checked with;
            by default there is none.
        workers: processes that read these images.
        force: replace a file that is there.

    Raises:
        UsageError: when the model, a method, the layers, ``int8`` or ``out`` cannot be used, or a package is missing.
        CxrlensError: when the graph does not give what torch gives, or 8-bit integers do not decide as float32 does.
    """
    source = model_path(model)
    name = kept_as(source)
    usual = source.with_suffix(".onnx") if name is None else Path(f"{name}.onnx")
    file = usual if out is None else out
    if file.suffix.lower() != ".onnx":
        raise UsageError(f"{file}: should end in .onnx, by which 'cxrlens screen' knows it; give another name")
    if file.is_dir() or (file.exists() and not force):
        raise UsageError(f"{file}: already exists; give another name or `force`")
    require_own(file, is_export)
    images = None if int8 is None else TrainingImages.of(int8, workers=workers)
    loaded = load(source, device="cpu")
    quality = None
    with replacing(file) as partial:
        info, parity = export_onnx(loaded, methods, layers, resize, source.resolve(), partial)
        if images is not None:
            from cxrlens.export.int8 import add_int8  # of packages that are found to be there by now

            info, quality = add_int8(partial, images)
    return ExportResult(file, info, parity, quality)
