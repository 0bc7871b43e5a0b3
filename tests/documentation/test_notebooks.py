"""The notebooks of the examples are executed in small, and kept without outputs; so is the script."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from waiting import PATIENCE

ROOT = Path(__file__).parents[2]
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))}
SCRIPT = ROOT / "examples" / "whole_way.py"


def test_there_are_three_and_the_readme_names_them() -> None:
    assert NOTEBOOKS.keys() == {"quick_start", "reproduce", "own_data"}
    readme = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert all(f"notebooks/{name}.ipynb" in readme for name in NOTEBOOKS)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The cells with what they gave, of the notebooks and of one that runs the script.

    All are executed in one kernel, which takes longer to start than most of them; each begins without any name of those
    before, and in a folder of its own.
    """
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from traitlets.config import Config

    work = tmp_path_factory.mktemp("notebooks")
    found = {name: nbformat.read(path, as_version=4).cells for name, path in NOTEBOOKS.items()}
    found["script"] = [nbformat.v4.new_code_cell(f"%run {SCRIPT} {work / 'script' / 'out'} --small")]
    whole = nbformat.v4.new_notebook()
    for name, cells in found.items():
        (work / name).mkdir()
        begin = f"import os\nos.chdir({str(work / name)!r})\n%reset -f"
        whole.cells += [nbformat.v4.new_code_cell(begin), *cells]
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as sockets:
        for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(variable, str(work / variable))
        patch.setenv("CXRLENS_EXAMPLES_SMALL", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("TMPDIR", str(work))
        by_sockets = {"transport": "ipc", "ip": f"{sockets}/kernel"}  # a port might be another program's meanwhile
        nbclient.NotebookClient(
            whole, kernel_name="python3", startup_timeout=round(PATIENCE), config=Config(AsyncKernelManager=by_sockets)
        ).execute()
    return found


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs(name: str, executed: dict[str, list[Any]]) -> None:
    said = [output for cell in executed[name] for output in cell.get("outputs", [])]
    assert said
    assert not [output for output in said if output["output_type"] == "error"]
    shell = [output["text"] for output in said if output.get("name") in ("stdout", "stderr")]
    assert not [text for text in shell if "error:" in text]


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_it_is_kept_without_outputs(path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    cells = nbformat.read(path, as_version=4).cells
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_the_script_goes_the_whole_way(executed: dict[str, list[Any]]) -> None:
    (cell,) = executed["script"]
    text = "".join(output["text"] for output in cell["outputs"] if output.get("name") == "stdout")
    assert "suggested for a retake" in text
    page = Path(text.rpartition("page:")[2].strip())
    assert page.parts[-3:] == ("out", "screened", "report.html")
    assert page.is_file()
