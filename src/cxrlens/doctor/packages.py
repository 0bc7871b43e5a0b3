"""Check of installed packages and their versions; nothing is imported for it."""

from __future__ import annotations

import importlib.metadata
import itertools
import platform
import shlex
from collections.abc import Iterator

from packaging.requirements import Requirement

from cxrlens.doctor.finding import DoctorFinding
from cxrlens.plugins import installed_plugins

PACKAGE = "cxrlens"

_FOR_DEVELOPERS = ("docs", "release", "test")  # extras whose packages no function of this one needs
_OF_NO_EXTRA = {
    "captum": "methods named captum:NAME",
    "mlflow": "train --logger mlflow",
    "wandb": "train --logger wandb",
}


def packages() -> Iterator[DoctorFinding]:
    """Findings on the packages that everything needs."""
    section = "packages"
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        yield DoctorFinding(section, PACKAGE, "problem", "is not installed", "pip install . in its folder")
        return
    yield DoctorFinding(section, PACKAGE, "ok", version)
    yield DoctorFinding(section, "python", "ok", f"{platform.python_version()} on {platform.platform()}")
    for requirement in requirements(""):
        found, fits = installed(requirement)
        if fits:
            yield DoctorFinding(section, requirement.name, "ok", str(found))
        else:
            detail = "is not installed" if found is None else f"{found}, but {requirement.specifier} is needed"
            yield DoctorFinding(section, requirement.name, "problem", detail, f"pip install --upgrade '{requirement}'")


def optional_packages() -> Iterator[DoctorFinding]:
    """Findings on the packages that only some functions need: those of extras, and of none."""
    for extra in extras():
        if extra not in _FOR_DEVELOPERS:
            for requirement in requirements(extra):
                yield _optional(requirement, f"part of {PACKAGE}[{extra}]", f"pip install '{PACKAGE}[{extra}]'")
    if not extras():
        return
    tested = {requirement.name: requirement for requirement in requirements("test")}
    for name, use in _OF_NO_EXTRA.items():
        requirement = tested.get(name, Requirement(name))
        yield _optional(requirement, use, f"pip install {shlex.quote(str(requirement))}")


def _optional(requirement: Requirement, use: str, remedy: str) -> DoctorFinding:
    section = "optional packages"
    found, fits = installed(requirement)
    if fits:
        return DoctorFinding(section, requirement.name, "ok", f"{found} ({use})")
    detail = "is not installed" if found is None else f"{found}, but {requirement.specifier} is needed"
    return DoctorFinding(section, requirement.name, "note", f"{detail} ({use})", remedy)


def plugged_packages() -> Iterator[DoctorFinding]:
    """Findings on what other packages add: see docs/extending.md."""
    found = installed_plugins()
    for package in sorted({plugin.package for plugin in found}):
        own = [plugin for plugin in found if plugin.package == package]
        kinds = [
            f"{group.partition('.')[2]}: {', '.join(plugin.name for plugin in own if plugin.group == group)}"
            for group in dict.fromkeys(plugin.group for plugin in own)
        ]
        yield DoctorFinding("plug-ins", package, "ok", f"{own[0].version} ({'; '.join(kinds)})")
    for plugin, other in itertools.pairwise(found):
        if (plugin.group, plugin.name) == (other.group, other.name):
            detail = f"is given by {plugin.package} and by {other.package}, and refused"
            yield DoctorFinding("plug-ins", plugin.name, "note", detail, f"pip uninstall {other.package}")


def extras() -> list[str]:
    """Names of the extras; none where the package is not installed."""
    try:
        return importlib.metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return []


def requirements(extra: str) -> list[Requirement]:
    """Requirements of an extra beside the rest on this platform; with "", those of everything."""
    found = []
    for text in importlib.metadata.requires(PACKAGE) or []:
        requirement = Requirement(text)
        marker, requirement.marker = requirement.marker, None
        always = marker is None or marker.evaluate({"extra": ""})
        wanted = not always and marker is not None and marker.evaluate({"extra": extra}) if extra else always
        if wanted and requirement.name != PACKAGE:
            found.append(requirement)
    return found


def installed(requirement: Requirement) -> tuple[str | None, bool]:
    """The version that is there, and whether it fits."""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return None, False
    return version, requirement.specifier.contains(version, prereleases=True)
