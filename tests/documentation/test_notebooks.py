"""The notebooks of the examples are executed in small, and kept without outputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def test_there_are_three_and_the_readme_names_them() -> None:
    names = {path.name for path in NOTEBOOKS}
    assert names == {"quick_start.ipynb", "reproduce.ipynb", "own_data.ipynb"}
    readme = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert all(f"notebooks/{name}" in readme for name in names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("CXRLENS_EXAMPLES_SMALL", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]
    client = nbclient.NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    said = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert said
    assert not [output for output in said if output["output_type"] == "error"]
    shell = [output["text"] for output in said if output.get("name") in ("stdout", "stderr")]
    assert not [text for text in shell if "error:" in text]


def test_the_script_goes_the_whole_way(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "whole_way.py"), str(tmp_path / "out"), "--small"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "suggested for a retake" in done.stdout
    assert (tmp_path / "out" / "screened" / "report.html").is_file()
