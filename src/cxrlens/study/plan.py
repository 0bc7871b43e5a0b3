"""The plan of a study: which networks, methods and scores; presets ``paper`` and ``quick``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, ValidationInfo, field_validator

from cxrlens.errors import UsageError
from cxrlens.files import read_yaml
from cxrlens.inputs.preprocessing import Preprocessing, Resize, Side
from cxrlens.models.precision import Precision
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.recorded_resize import Grid, Interpolation
from cxrlens.saliency.resizing import MapResize
from cxrlens.study.fusions import parse_fusion
from cxrlens.validation import first_fault

PRESETS = ("paper", "quick")
EACH = "each"  # in a row: every combined layer by itself


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Training(_Part):
    """Trainings that belong to the study, one per architecture and seed."""

    recipe: str = Field(default="paper", description="preset or YAML file of `cxrlens train`")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict, description="recipe values of all architectures")
    settings_of: dict[str, dict[str, Any]] = Field(default_factory=dict, description="those of one architecture")


class RandomWeights(_Part):
    """Networks that were never trained on this task."""

    seeds: tuple[int, ...] = ()
    image_size: Side = Field(default=600, description="where no trained model of the architecture says it")
    resize: Resize = Field(default="stretch", description="stretch or letterbox, likewise")

    def preprocessing(self) -> Preprocessing:
        """Of these networks' images."""
        return Preprocessing(height=self.image_size, width=self.image_size, resize=self.resize)


class RandomHead(RandomWeights):
    """Weights of another task under a random head."""

    weights: str = Field(default="imagenet", description="imagenet, or a weights file")


class Sampled(_Part):
    """A part that is made on some of the annotated images, evenly spread over them; none where ``images`` is 0."""

    images: int = Field(default=0, ge=0)


class Faithfulness(Sampled):
    """Insertion, deletion, average drop and increase."""

    steps: int = Field(default=20, gt=0, description="of insertion and of deletion, a forward pass each")


class Kinds(_Part):
    """A table (CSV) of the kinds of objects that each image shows."""

    table: Path
    column: str = Field(description="that names the kinds")
    separator: str = Field(default="+", min_length=1, description="between several kinds of an image")


class StudyPlan(_Part):
    """Everything a study depends on beside its data. Unknown names are refused.

    Rows are written "METHOD LAYERS" with LAYERS one of last, combined, each (every combined layer by itself), a
    module name, or input for the methods that read no layer.
    """

    name: str = "study"
    split: str | None = Field(default=None, description="test where there is one, else dev")
    architectures: tuple[str, ...] = Field(default=("resnet34", "efficientnet_b0"), min_length=1)
    models: dict[str, tuple[Path, ...]] = Field(default_factory=dict, description="trained models by architecture")
    training: Training | None = None
    random: RandomWeights = RandomWeights()
    random_head: RandomHead = RandomHead()
    rows: tuple[str, ...] = Field(min_length=1)
    combination: Literal["product", "geometric", "mean", "max"] = "product"
    grid: Grid = Field(default="centres", description="of a layer's cells in the input")
    interpolation: Interpolation = Field(default="bicubic", description="between the cells")
    flip: bool = Field(default=False, description="average maps with those of the mirrored images")
    fusions: tuple[str, ...] = Field(
        default=(), description="compared with the first, 'GRID INTERPOLATION [COMBINATION] [smooth=SIGMA] [flip]'"
    )
    target: Literal["affected", "predicted", "true"] = "affected"
    smoothing: PositiveFloat | None = Field(default=1.0, description="sigma of the smoothed maps; null for none")
    tolerance: PositiveFloat = Field(default=0.025, description="share of the longer side; 15 px at 600 px")
    tolerances: tuple[PositiveFloat, ...] = (0.0125, 0.025, 25 / 600, 0.0625)
    kinds: Kinds | None = Field(default=None, description="of the objects; scores are also told by kind")
    precision: Precision = Field(default="f32", description="in which the networks multiply")
    normal_images: bool = Field(default=True, description="also explain images without an object, for the FROC")
    faithfulness: Faithfulness = Faithfulness()
    randomisation: Sampled = Sampled()
    consistency: Sampled = Sampled()
    perturbation: Sampled = Sampled()
    repeats: int = Field(default=2000, gt=0, description="of each bootstrap")
    batch_size: int = Field(default=8, gt=0)
    seed: int = Field(default=0, ge=0)

    @field_validator("rows")
    @classmethod
    def _are_rows(cls, rows: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [row for row in rows if len(row.split()) != 2]
        if wrong:
            raise ValueError(f"a row is 'METHOD LAYERS', not '{wrong[0]}'")
        return tuple(dict.fromkeys(" ".join(row.split()) for row in rows))

    @field_validator("fusions")
    @classmethod
    def _are_fusions(cls, fusions: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        names = [parse_fusion(each, info.data.get("combination", "product"))[0] for each in fusions]
        twice = [each for each, name in zip(fusions, names, strict=True) if names.count(name) > 1]
        if twice:
            raise ValueError(f"'{twice[-1]}' is named twice")
        if len(fusions) == 1:
            raise ValueError(f"'{fusions[0]}' stands alone; name another to compare with it")
        return fusions

    @property
    def fusion(self) -> Fusion:
        """From the maps of layers to one of the input's size."""
        return Fusion(self.combination, resize=MapResize(self.grid, self.interpolation), flip=self.flip)

    @property
    def compared_fusions(self) -> dict[str, Fusion]:
        """Those of ``fusions`` by name, such as "areas bilinear" or "centres bicubic geometric flip"."""
        return dict(parse_fusion(each, self.combination) for each in self.fusions)

    @property
    def tolerance_names(self) -> list[str]:
        """All tolerances as shares of the side: 0 (on the object), those of the list, and the main one."""
        return [f"{share:.6g}" for share in sorted({0.0, self.tolerance, *self.tolerances})]


def map_settings(plan: StudyPlan) -> dict[str, str | bool]:
    """The way in which the plan's maps become full-size, for the records of its results."""
    return {
        "combination": plan.combination,
        "grid": plan.grid,
        "interpolation": plan.interpolation,
        "flip": plan.flip,
        "precision": plan.precision,
    }


def load_plan(source: str, changes: Mapping[str, Any]) -> StudyPlan:
    """A preset or a YAML file, with some values replaced.

    Raises:
        UsageError: when it is neither, or a value does not fit.
    """
    if source in PRESETS:
        path = Path(__file__).parent / "presets" / f"{source}.yaml"
    else:
        path = Path(source)
        if path.suffix not in (".yaml", ".yml"):
            raise UsageError(f"unknown plan '{source}': use {', '.join(PRESETS)}, or a .yaml file")
    values = read_yaml(path, "plan", "docs/study.md shows one")
    try:
        return StudyPlan.model_validate({**values, **changes})
    except ValidationError as error:
        raise UsageError(f"{source}: {first_fault(error)}; docs/study.md lists the values") from error


def tolerance_pixels(share: float, preprocessing: Preprocessing) -> float:
    """Pixels of the input that a distance must stay below; a share of 0 asks for a distance of 0."""
    return share * max(preprocessing.height, preprocessing.width) if share > 0 else 0.5


def digest(*parts: object) -> str:
    """A short name for values that results depend on."""
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()[:12]


def trained_id(sha256: str) -> str:
    """Names the trained network whose model file has this digest in a study's records."""
    return digest("trained", sha256)
