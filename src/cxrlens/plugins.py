"""Parts that other installed packages bring, found by their entry points.

A package adds an architecture, a saliency method or a source of images by an entry point of one of the groups below,
whose name is what users write. Nothing of it is imported before it is asked for by that name, so that a package that is
broken keeps nobody from anything else.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from cxrlens.errors import ArgumentError, CxrlensError, UsageError

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

ARCHITECTURES = "cxrlens.architectures"
METHODS = "cxrlens.methods"
SOURCES = "cxrlens.sources"
GROUPS = (ARCHITECTURES, METHODS, SOURCES)


class PluginError(UsageError):
    """A package's part has failed, or gives what it should not: nobody's mistake but that package's.

    The error that it raised is the cause of this one, with its traceback.
    """


def plugin_names(group: str) -> list[str]:
    """The names that installed packages give to a group."""
    return sorted({point.name for point in entry_points(group=group)})


@dataclass(frozen=True, order=True)
class InstalledPlugin:
    """What a package gives, whether it can be loaded or not.

    Attributes:
        group: one of the three.
        name: as users write it.
        package: that gives it.
        version: of the package.
    """

    group: str
    name: str
    package: str
    version: str


def installed_plugins(*groups: str) -> list[InstalledPlugin]:
    """All that packages give, by group and name, and of several packages of the same name each; nothing is imported."""
    return sorted(
        {
            InstalledPlugin(group, point.name, _package(point), point.dist.version if point.dist else "")
            for group in groups or GROUPS
            for point in entry_points(group=group)
        }
    )


def find_plugin(group: str, name: str, kind: type[Any] | None = None) -> Any | None:
    """What a package gives under a name; None where none does.

    Args:
        group: of entry points.
        name: as users write it.
        kind: what it should be an instance of; None = something that can be called.

    Raises:
        UsageError: when two packages give it.
        PluginError: when it cannot be loaded, or is something else.
    """
    points = _points(group, name)
    if not points:
        return None
    packages = [_package(point) for point in points]
    if len(points) > 1:
        raise UsageError(f"'{name}' is given by {' and by '.join(packages)}; uninstall one of them: pip uninstall NAME")
    try:
        found = points[0].load()
    except (Exception, SystemExit) as error:  # whatever a module of somebody else does when it is imported
        raise _broken(points[0], "cannot be loaded", error) from error
    if not (callable(found) if kind is None else isinstance(found, kind)):
        expected = "something that can be called" if kind is None else f"of the kind {kind.__name__}"
        raise PluginError(
            f"the package {packages[0]} gives '{name}' as {type(found).__name__} ({points[0].value}), which should be "
            f"{expected}; {_remedy(packages[0])}"
        )
    return found


@contextmanager
def blamed(group: str, name: str, *, passed: Callable[[Exception], bool] = lambda _: False) -> Iterator[None]:
    """What goes wrong in a plug-in within this context becomes a sentence that names its package.

    Args:
        passed: tells of errors that are left as they are; those of this program are, and all of what no package gives.

    Raises:
        PluginError: in place of any other error.
    """
    try:
        yield
    except Exception as error:
        is_ours = isinstance(error, CxrlensError) and not isinstance(error, ArgumentError)
        points = _points(group, name)
        if is_ours or not points or passed(error):
            raise
        raise _broken(points[0], "failed", error) from error


def unfit(group: str, name: str, given: str) -> PluginError:
    """The sentence on a plug-in that gives what it should not.

    Args:
        given: what it is, and what it should be, such as "gives a list, which should be a tensor".
    """
    points = _points(group, name)
    if not points:
        return PluginError(f"'{name}' {given}; mend the function that was registered under this name")
    package = _package(points[0])
    return PluginError(f"'{name}' of the package {package} {given}; {_remedy(package)}")


def at_fault(error: BaseException) -> PluginError | None:
    """The sentence on an error that was raised in a plug-in, or in what it had called; None where none had a part.

    For errors that no `blamed` context has seen, such as those of a plug-in's network while it runs.
    """
    if not isinstance(error, Exception):
        return None
    modules: dict[str, list[EntryPoint]] = {}
    for point in _all_points():
        modules.setdefault(_top(point.module), []).append(point)
    modules.pop(_top(__name__), None)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        points = modules.get(_top_module(frame))
        if points is not None:
            return _broken(points[0], "failed", error, names=[point.name for point in points])
    return None


def guarded(group: str, name: str, function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """A plug-in's function, whose errors are `blamed` on it."""

    @wraps(function)
    def call(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        with blamed(group, name):
            return function(*args, **kwargs)

    return call


def _points(group: str, name: str) -> list[EntryPoint]:
    """Each once: a package may be found twice, by an editable install beside another."""
    found = {(_package(point), point.value): point for point in entry_points(group=group, name=name)}
    return [found[key] for key in sorted(found)]


def _all_points() -> Iterator[EntryPoint]:
    for group in GROUPS:
        yield from entry_points(group=group)


def _broken(point: EntryPoint, what: str, error: BaseException, names: Iterable[str] = ()) -> PluginError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")
    package = _package(point)
    given = ", ".join(f"'{name}'" for name in dict.fromkeys(names or [point.name]))
    return PluginError(
        f"the package {package}, which gives {given}, {what} ({reason}{_place(point, error)}); {_remedy(package)}"
    )


def _place(point: EntryPoint, error: BaseException) -> str:
    """The innermost line of the package that was at work, for whoever mends it; "" where none was."""
    frames = traceback.walk_tb(error.__traceback__)
    lines = [(frame, line) for frame, line in frames if _top_module(frame) == _top(point.module)]
    if not lines:
        return ""
    frame, line = lines[-1]
    return f", line {line} of {Path(frame.f_code.co_filename).name}"


def _top_module(frame: FrameType) -> str:
    return _top(str(frame.f_globals.get("__name__", "")))


def _top(module: str) -> str:
    return module.partition(".")[0]


def _remedy(package: str) -> str:
    return f"update it, or go on without: pip uninstall {package}"


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
