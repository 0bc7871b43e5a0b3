"""Arguments that several functions share: how they may be given, and what is refused in one sentence."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from cxrlens.errors import CxrlensError, UsageError
from cxrlens.plugins import at_fault

if TYPE_CHECKING:
    from cxrlens.inputs.cache.store import ArrayStore
    from cxrlens.inputs.dataset.dataset import Dataset
    from cxrlens.inspection.quality_model import QualityModel
    from cxrlens.saliency.explain import Row
    from cxrlens.saliency.fusion import Fusion
    from cxrlens.saliency.resizing import MapResize

FileName: TypeAlias = str | Path

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

_KINDS: dict[str, tuple[type, ...]] = {
    "FileName": (str, os.PathLike),
    "None": (type(None),),
    "bool": (bool,),
    "date": (date,),
    "float": (Real,),
    "int": (Integral,),
    "str": (str,),
}
"""What an argument may be, by the words of its annotation; of others nothing is said here."""
_IN_WORDS = {
    "FileName": "a path",
    "None": "None",
    "bool": "True or False",
    "date": "a day",
    "float": "a number",
    "int": "a whole number",
    "str": "text",
}

_LEAST = {
    "batch_size": 1,
    "devices": 1,
    "epochs": 1,
    "num_nodes": 1,
    "ray_workers": 1,
    "seed": 0,
    "workers": 0,
}


def checked(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """A function that refuses, before any work, arguments that are no path, text or number though they should be.

    Empty text is none of these: a script makes it of a value that it lacks, and a path of it is the folder at hand.

    Raises:
        UsageError: in place of whatever such an argument would lead to.
        PluginError: in place of what an installed package's part raises, such as its network while it runs.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            _check_kind(name, value, str(signature.parameters[name].annotation))
            _check_filled(name, value)
        try:
            return function(*args, **kwargs)
        except CxrlensError:
            raise
        except Exception as error:
            fault = at_fault(error)
            if fault is None:
                raise
            raise fault from error

    return call


def _check_kind(name: str, value: Any, annotation: str) -> None:
    words = annotation.split(" | ")
    if not _KINDS.keys() >= set(words) or isinstance(value, tuple(kind for word in words for kind in _KINDS[word])):
        return
    raise UsageError(f"`{name}` should be {' or '.join(_IN_WORDS[word] for word in words)}, not {_shown(value)}")


def _check_filled(name: str, value: Any) -> None:
    texts = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(text, str) and not text.strip() for text in texts):
        raise UsageError(f"`{name}` is empty text; give it a value, or leave it out")


def _shown(value: Any) -> str:
    """A value of an unexpected kind, in a few words."""
    return repr(value) if isinstance(value, str | int | float) else f"of the type {type(value).__name__}"


def dataset_of(data: FileName | Dataset) -> Dataset:
    """A data set folder by its name, or one that was read already.

    Raises:
        UsageError: when there is no such folder, or it is no path.
    """
    from cxrlens.inputs.dataset.dataset import Dataset

    return data if isinstance(data, Dataset) else Dataset(_path("`data`", data))


def model_of(model: FileName | QualityModel, *, device: str, precision: str = "f32") -> QualityModel:
    """A model file or run folder by its name, or a model that was loaded already.

    Raises:
        UsageError: when it cannot be loaded, see `cxrlens.load`.
    """
    from cxrlens.inspection.quality_model import QualityModel, load

    if isinstance(model, QualityModel):
        return model
    return load(_path("`model`", model), device=device, precision=precision)


def _path(name: str, value: object) -> Path:
    if isinstance(value, str | os.PathLike):
        return Path(value)
    raise UsageError(f"{name} should be a path, not {_shown(value)}")


def path_of(name: FileName | None) -> Path | None:
    """A path, where one is given."""
    return None if name is None else Path(name)


def sources_of(names: FileName | Iterable[FileName]) -> list[Path]:
    """Paths of what a function works on.

    Raises:
        UsageError: when there is none, or one is no path.
    """
    return paths_of(named_sources(names))


def named_sources(names: FileName | Iterable[FileName]) -> list[FileName]:
    """One source or several, as a list.

    Raises:
        UsageError: when there is none.
    """
    given = as_list(names)
    if not given:
        raise UsageError("no source was given: the list is empty; name a folder or files")
    return given


def paths_of(names: FileName | Iterable[FileName]) -> list[Path]:
    """Paths of one name or several.

    Raises:
        UsageError: when one is no path.
    """
    return [_path("each source", name) for name in as_list(names)]


def as_list(given: Any) -> list[Any]:
    """One text, path or other thing, or several of them, as a list."""
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str | os.PathLike) else [given]


def processes(workers: int | None) -> int:
    """The number of processes that read; as many as is usual where none is given."""
    from cxrlens.inputs.processes import default_workers

    return default_workers() if workers is None else workers


def store_of(folder: FileName | None, size: str | None = None) -> ArrayStore:
    """The cache of decoded images; by default this user's.

    Raises:
        UsageError: when the size is none.
    """
    from cxrlens.inputs.cache.location import default_folder, default_limit, parse_size
    from cxrlens.inputs.cache.store import ArrayStore

    limit = default_limit() if size is None else parse_size(size)
    return ArrayStore(default_folder() if folder is None else Path(folder), limit)


def rows_of(methods: str | Iterable[str] | None, layers: str) -> list[Row]:
    """The (method, layers) rows of methods; without any those of Grad-CAM and NormGrad.

    Raises:
        UsageError: on an unknown method, or a list of none.
    """
    from cxrlens.saliency.explain import default_rows
    from cxrlens.saliency.methods import DEFAULT_METHODS

    named = DEFAULT_METHODS if methods is None else as_list(methods)
    if not named:
        raise UsageError("`methods` names none; name one, or leave it out")
    return default_rows(named, layers)


def fusion_of(
    combination: str,
    layer_weights: Sequence[float] | None,
    smooth: float | None,
    grid: str | None,
    interpolation: str | None,
    *,
    flip: bool,
) -> Fusion:
    """The way from the maps of layers to one of the input's size; it is checked with the rows."""
    from cxrlens.saliency.fusion import Fusion

    weights = None if layer_weights is None else tuple(layer_weights)
    return Fusion(combination, weights, smooth, resize_of(grid, interpolation), flip)


def resize_of(grid: str | None, interpolation: str | None) -> MapResize:
    """The resize of maps; what is left out is as usual."""
    from cxrlens.saliency.resizing import DEFAULT_RESIZE, MapResize

    return MapResize(
        DEFAULT_RESIZE.grid if grid is None else grid,
        DEFAULT_RESIZE.interpolation if interpolation is None else interpolation,
    )


def check_numbers(**numbers: int | None) -> None:
    """Refuse numbers that are too small.

    Raises:
        UsageError: naming the argument and the least that it may be.
    """
    for name, number in numbers.items():
        if number is not None and number < _LEAST[name]:
            raise UsageError(f"`{name}` should be at least {_LEAST[name]}, not {number}")


def check_choice(name: str, value: str | None, choices: Sequence[str]) -> None:
    """Refuse what is none of the choices; None stands for none.

    Raises:
        UsageError: naming the argument and its choices.
    """
    if value is not None and value not in choices:
        raise UsageError(f"`{name}` should be {', '.join(choices[:-1])} or {choices[-1]}, not '{value}'")


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Refuse a number outside of a range; both ends belong to it.

    Raises:
        UsageError: naming the argument and its range.
    """
    if not least <= value <= most:
        raise UsageError(f"`{name}` should be between {least:g} and {most:g}, not {value:g}")


def share_of(value: str | float, name: str) -> float:
    """A share such as 0.12, "0.12" or "12%", strictly between 0 and 1.

    Raises:
        UsageError: when it is none.
    """
    text = str(value)
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if number != text.strip() else 1)
    except ValueError as error:
        raise UsageError(f"`{name}` takes a share such as 0.12 or 12%, not '{text}'") from error
    if not 0 < share < 1:
        raise UsageError(
            f"`{name}` takes a share between 0 and 1, such as 0.12 or 12%, both ends left out; not '{text}'"
        )
    return share


def day_of(value: str | date | None, name: str) -> date | None:
    """A day, or its text such as "2026-01-31".

    Raises:
        UsageError: when it is none.
    """
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise UsageError(f"`{name}` takes a day such as 2026-01-31, not '{value}'") from error
