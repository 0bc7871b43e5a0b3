"""All that ``cxrlens`` and its extras for users bring is under a licence that binds its users to little."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ALLOWED = re.compile(
    r"(?:MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|MPL|HPND|Zlib|CC0|BSL-1\.0|Unlicense|NCSA)(?![A-Za-z])"
)
"""How permissive licences are named, and the MPL, which binds only who changes its files (tqdm)."""
REFUSED = re.compile(r"GPL|General Public|SSPL|Commons|Proprietary|non-?commercial|CC-BY-NC", re.IGNORECASE)
OF_TORCH = re.compile(r"nvidia-.*|cuda-toolkit")
"""NVIDIA's libraries, which PyTorch's own packages for CUDA ask for: proprietary, and free to use and pass on."""

OF_POSTGRES = re.compile(r"psycopg(-binary)?")
"""PostgreSQL's driver, under the LGPL: who asks for it gets it unchanged, which binds to nothing more."""


def is_allowed(licence: str) -> bool:
    """True of an SPDX expression, or of a licence's name, all of whose parts are allowed; of alternatives one is."""
    parts = re.split(r"\s+AND\s+", licence.replace("(", "").replace(")", ""))
    return all(
        any(ALLOWED.search(name) and not REFUSED.search(name) for name in re.split(r"\s+OR\s+", part)) for part in parts
    )


def licence_of(package: Distribution) -> str:
    """The SPDX expression of a package, or its classifiers, or the first line of what it says."""
    facts = package.metadata
    classifiers = [
        line.split(" :: ")[-1]
        for line in facts.get_all("Classifier") or ()
        if line.startswith("License :: ") and not line.endswith(" :: OSI Approved")
    ]
    stated = (facts.get("License") or "").strip().partition("\n")[0]
    return facts.get("License-Expression") or " AND ".join(classifiers) or stated


def installed() -> Iterator[Distribution]:
    """The package's dependencies and theirs, with its extras, as far as this system needs them."""
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [
        line
        for name in ("dicom", "hub", "onnx", "openvino", "pacs", "postgres", "ray", "remote", "serve", "timm")
        for line in project["optional-dependencies"][name]
    ]
    waiting = [Requirement(line) for line in [*project["dependencies"], *extras]]
    known: set[tuple[str, str]] = set()
    while waiting:
        needed = waiting.pop()
        try:
            package = distribution(needed.name)
        except PackageNotFoundError:  # of another system
            continue
        for extra in {"", *needed.extras}:
            key = (_normal(needed.name), extra)
            if key in known:
                continue
            known.add(key)
            if not extra:
                yield package
            for line in package.requires or ():
                requirement = Requirement(line)
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    waiting.append(requirement)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_dependencies() -> None:
    packages = {_normal(package.metadata["Name"]): licence_of(package) for package in installed()}
    assert {"torch", "tqdm", "starlette", "h11", "python-gdcm", "onnxruntime", "psycopg"} <= packages.keys()
    refused = {
        name: licence
        for name, licence in packages.items()
        if not is_allowed(licence) and not OF_TORCH.fullmatch(name) and not OF_POSTGRES.fullmatch(name)
    }
    assert not refused


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0 AND (BSD-2-Clause OR GPL-2.0-only)", True),
        ("Apache Software License", True),
        ("MPL-2.0 AND MIT", True),
        ("GPL-3.0-or-later", False),
        ("MIT AND AGPL-3.0-only", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("LicenseRef-NVIDIA-Proprietary", False),
        ("", False),
        ("UNKNOWN", False),
        ("see the file LICENSE", False),
    ],
)
def test_the_gate(licence: str, expected: bool) -> None:
    assert is_allowed(licence) == expected
