"""Training recipes: every choice of a training run, with the presets `paper` and `small`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, field_validator

from cxrlens.errors import UsageError
from cxrlens.files import read_yaml
from cxrlens.inputs.preprocessing import Preprocessing, Resize, Side
from cxrlens.validation import first_fault


class Augmentation(BaseModel):
    """Random changes of a training image, as torchvision's v2 transforms take them.

    Colour jitter of a grey image comes down to brightness and contrast: saturation and hue of the published
    recipe leave grey as it is, so they have no place here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flip: float = Field(default=0.5, ge=0, le=1, description="probability of a horizontal flip")
    brightness: float = Field(default=0.0, ge=0, description="factor drawn from 1 +- this")
    contrast: float = Field(default=0.0, ge=0, description="factor drawn from 1 +- this")
    degrees: float = Field(default=0.0, ge=0, le=180, description="rotation drawn from +- this")
    translate: float = Field(default=0.0, ge=0, le=1, description="shift drawn from +- this share of the side")
    scale: tuple[PositiveFloat, PositiveFloat] = Field(default=(1.0, 1.0), description="factor drawn from this range")
    shear: float = Field(default=0.0, ge=0, description="degrees, drawn from +- this")

    @field_validator("scale")
    @classmethod
    def _is_a_range(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError("the smaller number comes first")
        return scale


class Recipe(BaseModel):
    """All values of a training run. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    image_size: Side = Field(description="side of the square input in pixels")
    resize: Resize = Field(
        default="stretch", description="'stretch' fills the input; 'letterbox' keeps the aspect, black around it"
    )
    weights: str = Field(description="'imagenet', 'none', a file, or what `build_network` takes besides")
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float = Field(gt=0, description="the highest of the run")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(ge=0)
    schedule: Literal["steps", "one_cycle"]
    warmup_epochs: float = Field(default=0.0, ge=0, description="linear warm-up of 'steps', from a thousandth")
    milestones: tuple[int, ...] = Field(default=(), description="epochs after which 'steps' multiplies by gamma")
    gamma: float = Field(default=0.1, gt=0)
    augmentation: Augmentation = Augmentation()
    class_weights: Literal["none", "balanced"] = Field(
        default="balanced", description="'balanced' weighs each class by the inverse of its share"
    )
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    seed: int = Field(default=0, ge=0)

    def preprocessing(self) -> Preprocessing:
        """Preprocessing of the images that the network sees."""
        return Preprocessing(height=self.image_size, width=self.image_size, resize=self.resize)


PRESETS: Mapping[str, Recipe] = {
    # Ozer et al., arXiv 2303.14479, and Ozer & Oksuz, MIDL 2021.
    "paper": Recipe(
        name="paper",
        image_size=600,
        weights="imagenet",
        epochs=20,
        batch_size=16,
        optimizer="sgd",
        learning_rate=0.005,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="steps",
        warmup_epochs=1,
        milestones=(5,),
        gamma=0.1,
        augmentation=Augmentation(
            brightness=0.4, contrast=0.4, degrees=30, translate=0.1, scale=(0.95, 1.05), shear=0.1
        ),
        class_weights="none",
    ),
    # Short runs from random weights.
    "small": Recipe(
        name="small",
        image_size=224,
        weights="none",
        epochs=12,
        batch_size=8,
        optimizer="adamw",
        learning_rate=3e-4,
        weight_decay=0.01,
        schedule="one_cycle",
        augmentation=Augmentation(brightness=0.2, contrast=0.2),
    ),
}


def derived_seed(*numbers: int) -> int:
    """A seed in [0, 2^64) from a tuple of numbers, such as (seed, epoch, image)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def resolve_recipe(name_or_file: str, overrides: Mapping[str, Any]) -> Recipe:
    """A preset or YAML file with overrides on top.

    Args:
        name_or_file: a preset's name, or a YAML file of recipe values; its key ``base`` names the preset it changes
            (default ``paper``), and ``augmentation`` may hold a part of its values.
        overrides: values by name; the names of augmentation values are ``augmentation.NAME``.

    Raises:
        UsageError: on an unknown preset, an unreadable file, an unknown name (near matches are listed), or a value
            out of range.
    """
    if name_or_file in PRESETS:
        values = PRESETS[name_or_file].model_dump()
        origin = f"recipe '{name_or_file}'"
    elif name_or_file.endswith((".yaml", ".yml")):
        values, origin = _from_yaml(Path(name_or_file)), name_or_file
    else:
        raise UsageError(f"unknown recipe '{name_or_file}': use {', '.join(PRESETS)}, or a .yaml file")
    for name, value in overrides.items():
        set_value(values, name, value)
    return validated(values, origin)


def validated(values: Mapping[str, Any], origin: str) -> Recipe:
    """The recipe of plain values.

    Raises:
        UsageError: on an unknown name or a value out of range.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{origin}: {_unknown('.'.join(map(str, first['loc'])))}") from error
        raise UsageError(f"{origin}: {first_fault(error)}") from error


def _from_yaml(path: Path) -> dict[str, Any]:
    loaded = read_yaml(path, "recipe", "a recipe file holds 'name: value' lines")
    base = loaded.pop("base", "paper")
    if not isinstance(base, str) or base not in PRESETS:
        raise UsageError(f"{path}: unknown base '{base}': use {', '.join(PRESETS)}")
    values = PRESETS[base].model_dump() | {"name": path.stem}
    try:
        for name, value in loaded.items():
            if name == "augmentation" and isinstance(value, dict):
                for part, part_value in value.items():
                    set_value(values, f"augmentation.{part}", part_value)
            else:
                set_value(values, str(name), value)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return values


def set_value(values: dict[str, Any], name: str, value: Any) -> None:
    """Change one value of a dumped recipe; ``augmentation.NAME`` names a part.

    Raises:
        UsageError: when the name is unknown; the near matches are listed.
    """
    holder: dict[str, Any] = values
    *parents, last = name.split(".")
    for parent in parents:
        if not isinstance(holder.get(parent), dict):
            raise UsageError(_unknown(name))
        holder = holder[parent]
    if last not in holder:
        raise UsageError(_unknown(name))
    holder[last] = value


def _unknown(name: str) -> str:
    known = [*Recipe.model_fields, *(f"augmentation.{part}" for part in Augmentation.model_fields)]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    meant = f"near matches: {', '.join(near)}" if near else f"known: {', '.join(known)}"
    return f"a recipe has no value '{name}'; {meant}"
