"""The job behind ``cxrlens doctor``: what of this installation works, and what to do about what does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrlens.doctor.finding import DoctorFinding
from cxrlens.doctor.packages import PACKAGE, optional_packages, packages, plugged_packages


@dataclass(frozen=True)
class Diagnosis:
    """All findings, section after section."""

    findings: list[DoctorFinding]

    @property
    def problems(self) -> list[DoctorFinding]:
        """Findings that have to be mended before everything else works."""
        return [finding for finding in self.findings if finding.status == "problem"]


def diagnose(*, model: Path | None = None, device: str = "auto") -> Diagnosis:
    """Look at packages, devices, codecs, space, and a model file where one is given.

    Whatever is broken is a finding, also a package that cannot be imported.

    Args:
        model: a model file or a run directory.
        device: where the model is tried.
    """
    parts: dict[str, Callable[[], Iterable[DoctorFinding]]] = {
        "devices": lambda: _devices(device),
        "image formats": _formats,
        "DICOM": _dicom,
        "space": _space,
    }
    if model is not None:
        parts["model"] = lambda: _model(model, device)
    findings = [*packages(), *optional_packages(), *plugged_packages()]
    for section, part in parts.items():
        try:
            findings += part()
        except (ImportError, OSError) as error:  # OSError: of a library that lacks another one
            remedy = f"pip install --upgrade --force-reinstall {PACKAGE}"
            findings.append(DoctorFinding(section, "import", "problem", str(error), remedy))
    return Diagnosis(findings)


def _devices(device: str) -> Iterable[DoctorFinding]:
    from cxrlens.doctor.machine import devices

    return list(devices(device))


def _formats() -> Iterable[DoctorFinding]:
    from cxrlens.doctor.codecs import formats

    return list(formats())


def _dicom() -> Iterable[DoctorFinding]:
    from cxrlens.doctor.codecs import dicom

    return list(dicom())


def _space() -> Iterable[DoctorFinding]:
    from cxrlens.doctor.space import space

    return list(space())


def _model(path: Path, device: str) -> Iterable[DoctorFinding]:
    from cxrlens.doctor.model import model

    return list(model(path, device))
