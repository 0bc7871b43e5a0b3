"""What the commands say of models that are kept, of bundles, and of what is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import cxrlens, refused
from cxrlens.shelf.bundle import export_bundle
from cxrlens.shelf.keeping import add_model

Files = tuple[Path, Path]


@pytest.fixture
def bundle(files: Files, tmp_path: Path) -> Path:
    for file, name in zip(files, ("one", "two"), strict=True):
        add_model(file, name, folder=tmp_path / "elsewhere")
    export_bundle([], tmp_path / "b.zip", folder=tmp_path / "elsewhere")
    return tmp_path / "b.zip"


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_bundle_given_for_a_model_is_called_one(bundle: Path, folder: Path, tmp_path: Path, share: float) -> None:
    content = bundle.read_bytes()
    bundle.write_bytes(content[: int(len(content) * share)])
    said = (bundle, "is a bundle of models", f"first: cxrlens model add {bundle}")
    (tmp_path / "images").mkdir()
    refused(cxrlens("test", tmp_path, "-m", bundle, "-o", tmp_path / "out"), 2, *said)
    refused(cxrlens("screen", tmp_path / "images", "-m", bundle, "-o", tmp_path / "out"), 2, *said)
    if share < 1:
        refused(cxrlens("model", "add", bundle), 2, bundle, "is a bundle of models that is cut short", "copy it again")
        assert not folder.exists()


def test_a_folder_without_a_model_is_not_called_missing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(cxrlens("model", "add", tmp_path / "empty"), 2, tmp_path / "empty", "holds no model.safetensors")


def test_all_names_of_a_bundle_are_told_and_what_was_there_is_not_new(bundle: Path, folder: Path) -> None:
    first = cxrlens("model", "add", bundle).out.splitlines()
    assert [line.partition(":")[0] for line in first[:2]] == ["kept as 'one'", "kept as 'two'"]
    assert first[2:] == ["use them with --model one or --model two"]
    again = cxrlens("model", "add", bundle).out.splitlines()
    assert all(line.startswith("kept already, with the same content, as") for line in again[:2])
    one = cxrlens("model", "add", folder / "one.json").errors
    assert "is damaged or no model file" in one[0]


def test_a_file_in_place_of_the_folder_keeps_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv("CXRLENS_MODELS", str(file))
    refused(cxrlens("model", "list"), 2, file, "is no folder", "CXRLENS_MODELS")
    refused(cxrlens("screen", str(file.parent), "-m", "ward", "-o", str(file.parent / "out")), 2, file, "is no folder")
    refused(cxrlens("model", "list", "--models", file), 2, file, "is no folder", "--models")
