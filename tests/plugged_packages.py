"""Packages that bring plug-ins, as pip leaves them; see `on_path` of tests/conftest.py."""

from __future__ import annotations

from pathlib import Path


def package(folder: Path, name: str, points: dict[str, str], code: str = "") -> None:
    """A package of one module with entry points, the lines of each group by its name."""
    facts = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("".join(f"[{group}]\n{point}\n\n" for group, point in points.items()))
    (folder / f"{name.replace('-', '_')}.py").write_text(code)
