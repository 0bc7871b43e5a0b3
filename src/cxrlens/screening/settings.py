"""The settings of a screening."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cxrlens.inputs.processes import default_workers
from cxrlens.models.onnx_sessions import Runtime


@dataclass(frozen=True)
class ScreeningSettings:
    """The settings of a screening.

    Attributes:
        model: model file or run folder.
        maps: for which images maps are made.
        method: id of the maps; by default NormGrad conv1x1, or what an ONNX model gives.
        layers: of the maps; by default combined, which lie on objects far more often than those of the last layer
            (docs/results.md), or what an ONNX model gives.
        grid: of the maps' resize, see `MapResize`; by default its own, or what an ONNX model gives; likewise
            ``interpolation``.
        flip: average with the map of the mirrored image.
        keep_tags: the tags of the files' headers that the records keep, see `TAGS`.
        assess_any: judge images that surely are no frontal chest radiographs, too.
        runtime: what runs the network; by default what the model's file is for.
        precision: in which it multiplies, see `load` and `open_session`.
        batch_size: images per pass; a run that goes on with that of its beginning gives the very same digits.
        workers: processes that read, draw outlines and write pictures; on a cluster those of each worker, by default as
            many as it has processors.
        device: see `cxrlens.devices.resolve_device`.
        seed: of methods that draw random numbers.
        engine: "local" for this computer, or "ray" for the workers of a Ray cluster.
        address: of the cluster, see `ClusterSettings`; likewise ``ray_workers``.
    """

    model: Path
    maps: Literal["all", "flagged", "none"] = "flagged"
    method: str | None = None
    layers: str | None = None
    grid: str | None = None
    interpolation: str | None = None
    flip: bool = False
    keep_tags: tuple[str, ...] = ()
    assess_any: bool = False
    runtime: Runtime | None = None
    precision: str = "f32"
    batch_size: int = 8
    workers: int | None = 0
    device: str = "auto"
    seed: int = 0
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    ray_workers: int | None = None

    def processes(self) -> int:
        """Processes on this computer."""
        return default_workers() if self.workers is None else self.workers
