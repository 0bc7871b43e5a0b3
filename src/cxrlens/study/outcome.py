"""The result of a finished study for one model: its cascading randomisation check."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from cxrlens.errors import UsageError
from cxrlens.models.registry import file_name_of
from cxrlens.saliency.recorded_resize import RecordedResize
from cxrlens.study.plan import trained_id


@dataclass(frozen=True)
class Verdict:
    """A row of the randomisation check.

    Attributes:
        similarity: to the trained network's maps with all weights drawn anew (SSIM).
        unrelated: similarity of maps of different images.
        passes: similarity is below unrelated: the row depends on the weights.
        resize: of the maps.
    """

    method: str
    layers: str
    similarity: float
    unrelated: float
    passes: bool
    resize: RecordedResize


def randomisation_verdicts(folder: Path, model_sha256: str, architecture: str) -> list[Verdict]:
    """The verdicts of a study on the trainings of an architecture, of which the model is one.

    Args:
        folder: the study's.
        model_sha256: digest of the model's file.

    Returns:
        One per row; empty where the study's plan left the check out.

    Raises:
        UsageError: when the folder holds no finished study, or one of other models.
    """
    tables = folder / "tables"
    if not (folder / "study.yaml").is_file() or not tables.is_dir():
        raise UsageError(f"{folder}: holds no finished study; give the folder that 'cxrlens study --out' wrote")
    if not any(folder.glob(f"records/*/*/{trained_id(model_sha256)}")):
        raise UsageError(
            f"{folder}: this study did not look at the model; run 'cxrlens study' with --model, or another"
        )
    path = tables / f"randomisation-{file_name_of(architecture)}.csv"
    if not path.is_file():
        return []
    resize = _resize(folder / "environment.json")
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return [_verdict(row, resize) for row in csv.DictReader(stream)]
    except (KeyError, ValueError) as error:
        raise UsageError(f"{path}: is no table of a study ({error}); run the study again") from error


def _resize(environment: Path) -> RecordedResize:
    """The resize of a study's maps; studies from before it was named resized by areas."""
    try:
        maps = json.loads(environment.read_text("utf-8")).get("maps", {"grid": "areas", "interpolation": "bilinear"})
        return RecordedResize(maps["grid"], maps["interpolation"], bool(maps.get("flip", False)))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(f"{environment}: is not what a study wrote ({error}); run the study again") from error


def _verdict(row: dict[str, str], resize: RecordedResize) -> Verdict:
    # Of a stage there are to_STAGE, to_STAGE_low and so on; the last stage is the one with all weights drawn anew.
    stages = [name.removesuffix("_marked") for name in row if name.startswith("to_") and name.endswith("_marked")]
    if not stages:
        raise ValueError("no stages")
    return Verdict(
        row["method"],
        row["layers"],
        float(row[stages[-1]]),
        float(row["unrelated"]),
        row["verdict"] == "passes",
        resize,
    )
