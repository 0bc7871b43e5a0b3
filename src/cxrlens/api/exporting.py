"""``cxrlens export`` as a function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrlens.api.arguments import FileName, as_list, check_numbers, checked, path_of, processes, resize_of
from cxrlens.export.run import ExportResult, export_model
from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD


@checked
def export(
    model: FileName,
    out: FileName | None = None,
    *,
    methods: str | Sequence[str] = DEFAULT_METHOD,
    layers: str = DEFAULT_LAYERS,
    grid: str | None = None,
    interpolation: str | None = None,
    int8: FileName | None = None,
    workers: int | None = None,
    force: bool = False,
) -> ExportResult:
    """Write a model as one ONNX graph that gives probability and map; it needs neither torch nor cxrlens to run.

    Args:
        model: a model file, or a run folder (its best model).
        out: the file; by default beside the model file, ending in .onnx.
        methods: ids of the maps in the graph; the first is the one that is shown by default.
        layers: of the maps: "combined", "last", or a module name.
        grid: where a layer's cells lie, see `cxrlens.explain`; likewise ``interpolation``.
        int8: data set (its training split is taken), or folder of training images: also a probability in 8-bit
            integers, calibrated with up to 200 of these images and checked with as many others.
        workers: processes that read these images; by default half the processors, at most 8.
        force: replace a file that is there.

    Raises:
        UsageError: when the model, a method, the layers, ``int8`` or ``out`` cannot be used, or a package is missing.
        CxrlensError: when the graph does not give what torch gives, or 8-bit integers do not decide as float32 does.
    """
    check_numbers(workers=workers)
    return export_model(
        Path(model),
        methods=as_list(methods),
        layers=layers,
        resize=resize_of(grid, interpolation),
        out=path_of(out),
        int8=path_of(int8),
        workers=processes(workers),
        force=force,
    )
