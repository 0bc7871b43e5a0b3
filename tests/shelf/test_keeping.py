"""Models under names: what is kept, what is refused, what a kill leaves, and what is deleted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.export.run import export_model
from cxrlens.files import sha256_of
from cxrlens.inspection.quality_model import load
from cxrlens.models.location import model_path
from cxrlens.models.named import default_folder, find_kept, is_name, kept_as, kept_models, known_as, named_model
from cxrlens.outputs import locked
from cxrlens.saliency.resizing import DEFAULT_RESIZE
from cxrlens.shelf.keeping import add_model, remove_model, suggested_name, verify_models
from killing import killed_before_each_change

Files = tuple[Path, Path]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_a_kept_model_is_a_copy_with_its_hash(files: Files, folder: Path) -> None:
    kept = add_model(files[0], "ward-3")
    assert kept.record.sha256 == sha256_of(files[0]) == sha256_of(kept.file)
    assert (kept.record.size, kept.record.architecture, kept.record.input) == (
        files[0].stat().st_size,
        "resnet18",
        "80 x 64 px",
    )
    assert kept.record.source == str(files[0])
    assert names(folder) == {"ward-3.json", f"ward-3-{kept.record.sha256[:12]}.safetensors"}
    assert [found.record for found in kept_models()] == [kept.record]
    model = load("ward-3", device="cpu")
    assert model.identity.sha256 == kept.record.sha256
    assert kept_as(kept.file) == "ward-3"
    assert kept_as(files[0]) is None
    assert known_as(kept.file) == model.identity.label == "ward-3"


def test_people_know_a_model_by_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "runs" / "vit.2"
    run.mkdir(parents=True)
    best = run / "model-timm-vit-acc0.5000.safetensors"
    for name in (best.name, "other.safetensors", "model.onnx"):
        (run / name).write_bytes(name.encode())
    (run / "model.safetensors").symlink_to(best.name)
    (tmp_path / "latest").symlink_to(run)
    assert known_as(run / "model.safetensors") == known_as(best) == known_as(run / "model.onnx") == "vit.2"
    assert known_as(run / "other.safetensors") == "other"
    assert known_as(tmp_path / "latest" / "model.safetensors") == "latest"
    assert known_as(tmp_path / "site.v3.safetensors") == "site.v3"
    assert known_as(Path("/model.safetensors")) == "model"
    monkeypatch.chdir(run / "..")
    assert known_as(Path("vit.2/../vit.2/model.safetensors")) == "vit.2"
    monkeypatch.chdir(run)
    assert known_as(Path("model.safetensors")) == "vit.2"
    assert suggested_name(best) == "vit.2"


def test_a_run_folder_and_another_name_can_be_added(files: Files, folder: Path) -> None:
    assert suggested_name(files[0]) == suggested_name(files[0].parent) == "first"
    assert suggested_name(Path("Ward 3 (Süd).safetensors")) == "ward-3-s-d"
    assert suggested_name(Path("__.safetensors")) == "model"
    add_model(files[0].parent, "one")
    assert add_model(Path("one"), "two").record.sha256 == sha256_of(files[0])


def test_a_name_that_is_taken_is_replaced_by_force_alone(files: Files, folder: Path) -> None:
    first = add_model(files[0], "a")
    assert add_model(files[0], "a") == first  # the same content
    with pytest.raises(UsageError, match=r"another model is kept as 'a' \(.*first.*`force`"):
        add_model(files[1], "a")
    assert find_kept("a") == first
    second = add_model(files[1], "a", force=True)
    assert second.record.sha256 == sha256_of(files[1])
    assert names(folder) == {"a.json", second.record.file}  # the replaced copy is gone


def test_what_a_command_made_it_may_replace_and_nothing_else(files: Files, folder: Path) -> None:
    add_model(files[0], "demo", made_by="cxrlens demo")
    assert add_model(files[1], "demo", made_by="cxrlens demo").record.sha256 == sha256_of(files[1])
    remove_model("demo")
    mine = add_model(files[0], "demo")
    with pytest.raises(UsageError, match="another model is kept as 'demo'"):
        add_model(files[1], "demo", made_by="cxrlens demo")
    assert find_kept("demo") == mine


@pytest.mark.parametrize(
    "name", ["", "A", "a/b", "../a", ".a", "a b", "a.safetensors", "a.onnx", "-a", "a" * 65, "a\n"]
)
def test_bad_names_are_refused(files: Files, folder: Path, name: str) -> None:
    assert not is_name(name)
    with pytest.raises(UsageError, match="a model's name begins with a letter or digit"):
        add_model(files[0], name)
    assert not folder.exists()


def test_what_is_no_model_is_not_kept(files: Files, folder: Path, tmp_path: Path) -> None:
    cut, bare, text = (tmp_path / f"{name}.safetensors" for name in ("cut", "bare", "text"))
    cut.write_bytes(files[0].read_bytes()[:5000])
    save_file(load_file(files[0]), bare)
    text.write_text("no weights\n" * 9)
    for bad in (cut, bare, text, tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(UsageError, match=str(bad)):
            add_model(bad, "bad")
    assert not folder.exists()


def test_an_exported_model_is_kept_too(files: Files, folder: Path, tmp_path: Path) -> None:
    file = export_model(files[0], methods=["normgrad_conv1x1"], layers="last", resize=DEFAULT_RESIZE,
                        out=tmp_path / "m.onnx").file  # fmt: skip
    kept = add_model(file, "graph")
    assert kept.record.kind == "onnx"
    assert kept.file.name == f"graph-{sha256_of(file)[:12]}.onnx"
    assert [each.state for each in verify_models()] == ["ok"]


def test_files_that_are_no_records_are_left_alone(files: Files, folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    (folder / "other-0123456789ab.safetensors").write_text("not what its name says")
    with pytest.raises(UsageError, match=r"mine\.json: is there already, and is no record of a model"):
        add_model(files[0], "mine", force=True)
    add_model(files[0], "a")
    add_model(files[1], "a", force=True)
    remove_model("a")
    assert names(folder) == {"mine.json", "notes.txt", "other-0123456789ab.safetensors"}
    assert kept_models() == []


def test_a_record_under_another_name_is_no_record(files: Files, folder: Path) -> None:
    kept = add_model(files[0], "a")
    shutil.copy(folder / "a.json", folder / "b.json")
    (folder / "c.json").write_text(json.dumps({**json.loads((folder / "a.json").read_text()), "name": "../c"}))
    assert [found.record.name for found in kept_models()] == ["a"]
    assert find_kept("b") is None
    assert find_kept("../models/a") is None
    assert kept.file.is_file()


def test_hashes_are_computed_anew(files: Files, folder: Path) -> None:
    with pytest.raises(NothingToDoError, match="no model is kept here"):
        verify_models()
    good, bad, lost = (add_model(files[0], name) for name in ("good", "bad", "lost"))
    content = bytearray(bad.file.read_bytes())
    content[-1] ^= 1
    bad.file.write_bytes(content)
    lost.file.unlink()
    assert {each.model.record.name: each.state for each in verify_models()} == {
        "good": "ok",
        "bad": "damaged",
        "lost": "missing",
    }
    assert [each.state for each in verify_models(["good"])] == ["ok"]
    with pytest.raises(UsageError, match="the file of the model 'lost' is gone"):
        model_path(Path("lost"))
    for name in ("bad", "lost"):  # the same content mends them
        add_model(files[0], name)
    assert {each.state for each in verify_models()} == {"ok"}
    assert good.file.is_file()


def test_near_names_are_offered(files: Files, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    add_model(files[0], "resnet34-paper")
    with pytest.raises(UsageError, match=r"resnet34-papr: no such model file.*did you mean 'resnet34-paper'\?.*list"):
        model_path(Path("resnet34-papr"))
    with pytest.raises(
        UsageError, match=r"zzz: no such model file or run folder, and no model is kept under this name;"
    ):
        model_path(Path("zzz"))


def test_a_path_wins_over_a_name_only_where_it_leads_to_a_model(
    files: Files, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = tmp_path / "here"
    (here / "a").mkdir(parents=True)
    monkeypatch.chdir(here)
    kept = add_model(files[0], "a")
    assert model_path(Path("a")) == named_model(Path("a")) == kept.file  # a folder without a model
    assert not caplog.records
    shutil.copy(files[1], here / "a" / "model.safetensors")
    assert model_path(Path("a")) == Path("a/model.safetensors")
    assert "a: is taken as a path; a model is kept under the same name" in caplog.text
    assert model_path(Path("a")) == Path("a/model.safetensors")
    assert len(caplog.records) == 1
    assert named_model(Path("b/a")) == Path("b/a")


def test_the_folder_is_the_variables_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXRLENS_MODELS", str(tmp_path / "x"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_folder() == tmp_path / "x"
    monkeypatch.delenv("CXRLENS_MODELS")
    assert default_folder() == tmp_path / "data" / "cxrlens" / "models"


def test_a_second_writer_is_refused_and_loses_nothing(files: Files, folder: Path) -> None:
    add_model(files[0], "a")
    before = names(folder)
    with (
        locked(folder, "keeping models", "another"),
        pytest.raises(UsageError, match="another process is keeping models"),
    ):
        add_model(files[1], "b")
    assert names(folder) == before


def test_a_kill_at_any_moment_leaves_the_model_that_was_or_the_new_one(
    files: Files, folder: Path, tmp_path: Path
) -> None:
    old, new = sha256_of(files[0]), sha256_of(files[1])
    whole = tmp_path / "whole"
    add_model(files[0], "a", folder=whole)
    add_model(files[0], "b", folder=whole)
    shutil.copytree(whole, folder)
    seen = set()
    changes = []
    for change in killed_before_each_change(lambda: add_model(files[1], "a", force=True), folder):
        changes.append(change)
        found = find_kept("a")
        assert found is not None, change
        assert sha256_of(found.file) == found.record.sha256, change
        seen.add(found.record.sha256)
        assert [each.state for each in verify_models(["b"])] == ["ok"], change
        add_model(files[1], "a", force=True)  # the same command goes on
        assert names(folder) == {"a.json", "b.json", *(kept.record.file for kept in kept_models())}, change
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
    assert seen == {old, new}
    assert len(changes) > 4


def test_a_kill_of_a_removal_leaves_the_model_or_nothing_of_it(files: Files, folder: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    add_model(files[0], "a", folder=whole)
    shutil.copytree(whole, folder)
    for change in killed_before_each_change(lambda: remove_model("a"), folder):
        found = find_kept("a")
        assert found is None or found.file.is_file(), change
        add_model(files[1], "b")
        assert {kept.record.name for kept in kept_models()} - {"a"} == {"b"}
        left = [path for path in folder.glob("a-*") if found is None]
        assert left == [], change
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
