"""Check of installed packages and their versions; nothing is imported for it."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

from packaging.requirements import Requirement

from cxrlens.doctor.finding import DoctorFinding

PACKAGE = "cxrlens"

_FOR_TESTS = "test"  # an extra for developers, of which users need but these, for what stands beside them
_USED_OF_TESTS = {"captum": "methods named captum:NAME"}


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
    """Findings on the packages that only some functions need: the extras."""
    section = "optional packages"
    for extra in extras():
        for requirement in requirements(extra):
            name = requirement.name
            if extra == _FOR_TESTS and name not in _USED_OF_TESTS:
                continue
            use = _USED_OF_TESTS.get(name, f"part of {PACKAGE}[{extra}]")
            found, fits = installed(requirement)
            if fits:
                yield DoctorFinding(section, name, "ok", f"{found} ({use})")
                continue
            detail = "is not installed" if found is None else f"{found}, but {requirement.specifier} is needed"
            wanted = str(requirement) if extra == _FOR_TESTS else f"{PACKAGE}[{extra}]"
            yield DoctorFinding(section, name, "note", f"{detail} ({use})", f"pip install --upgrade '{wanted}'")


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
