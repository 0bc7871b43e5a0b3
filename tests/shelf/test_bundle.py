"""Bundles of models: what goes in comes out with its hashes, and nothing of a bad one is kept."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.files import sha256_of
from cxrlens.models.named import find_kept, kept_models
from cxrlens.shelf.bundle import add_bundle, export_bundle, is_bundle
from cxrlens.shelf.keeping import add_model, verify_models
from killing import killed_before_each_change

Files = tuple[Path, Path]
CONTENTS = "cxrlens-models.json"


@pytest.fixture
def bundle(files: Files, tmp_path: Path) -> Path:
    for file, name in zip(files, ("one", "two"), strict=True):
        add_model(file, name, folder=tmp_path / "elsewhere", made_by="cxrlens demo")
    export_bundle([], tmp_path / "b.zip", folder=tmp_path / "elsewhere")
    return tmp_path / "b.zip"


def rewritten(bundle: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> Path:
    """A copy of a bundle with another list or other files."""
    with zipfile.ZipFile(bundle) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    listed = json.loads(content.pop(CONTENTS))
    change(listed, content)
    other = bundle.with_name("changed.zip")
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr(CONTENTS, json.dumps(listed))
        for name, data in content.items():
            archive.writestr(name, data)
    return other


def test_models_travel_with_their_names_and_hashes(files: Files, bundle: Path, folder: Path, tmp_path: Path) -> None:
    assert is_bundle(bundle)
    kept = add_bundle(bundle)
    assert [each.record.name for each in kept] == ["one", "two"]
    assert [sha256_of(each.file) for each in kept] == [sha256_of(file) for file in files]
    assert {each.state for each in verify_models()} == {"ok"}
    for each in kept:
        assert each.record.made_by == ""  # here no command made it
        assert each.record.source == "model.safetensors, from the bundle b.zip"
    with zipfile.ZipFile(bundle) as archive:
        assert str(tmp_path) not in archive.read(CONTENTS).decode()  # nothing of the first computer's folders
    assert add_bundle(bundle) == kept  # again: all is there


def test_a_bundle_is_the_same_each_time(bundle: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    export_bundle(["one", "two", "one"], again, folder=tmp_path / "elsewhere")
    assert again.read_bytes() == bundle.read_bytes()


def test_one_model_can_be_given_another_name(files: Files, bundle: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds 2 models, which keep their names"):
        add_bundle(bundle, name="x")
    export_bundle(["two"], tmp_path / "two.zip", folder=tmp_path / "elsewhere")
    (kept,) = add_bundle(tmp_path / "two.zip", name="x")
    assert (kept.record.name, kept.record.sha256) == ("x", sha256_of(files[1]))
    assert find_kept("two") is None


def test_a_name_that_is_taken_keeps_all_of_a_bundle_out(files: Files, bundle: Path, folder: Path) -> None:
    mine = add_model(files[0], "two")
    with pytest.raises(UsageError, match="another model is kept as 'two'"):
        add_bundle(bundle)
    assert [each.record for each in kept_models()] == [mine.record]
    add_bundle(bundle, force=True)
    assert find_kept("two").record.sha256 == sha256_of(files[1])  # type: ignore[union-attr]


def other_bytes(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    name = sorted(content)[1]
    content[name] = content[name][:-1] + bytes([content[name][-1] ^ 1])


def longer(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    name = sorted(content)[1]
    content[name] += b"more"


def lacks_one(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    del content[sorted(content)[1]]


def leads_out(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    listed["models"][1]["name"] = "../../evil"


def no_model(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    """With the hash of what it is."""
    data = b"these are no weights" * 50
    listed["models"][1] |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    content[f"models/two-{hashlib.sha256(data).hexdigest()[:12]}.safetensors"] = data


def another_network(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    listed["models"][1]["architecture"] = "efficientnet_b0"


def another_input(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    listed["models"][1]["input"] = "9999 x 9999 px"


def twice(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    listed["models"].append(listed["models"][0])


def later(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    listed["format"] = 2


def empty(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    listed["models"] = []


def endless(listed: dict[str, Any], content: dict[str, bytes]) -> None:
    listed["more"] = "x" * (2 << 20)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_bytes, "'two' in it does not have the hash that it should"),
        (longer, "'two' in it does not have the hash that it should"),
        (lacks_one, "lacks the file of 'two'"),
        (leads_out, "its list of models cannot be read"),
        (no_model, "'two' in it is not usable"),
        (another_network, "'two' in it is no efficientnet_b0"),
        (another_input, "'two' in it is no resnet18 of 9999 x 9999 px"),
        (twice, "names a model twice"),
        (later, "its list of models cannot be read .*update cxrlens"),
        (empty, "its list of models cannot be read"),
        (endless, "its list of models is too long"),
    ],
)
def test_nothing_of_a_bad_bundle_is_kept(bundle: Path, folder: Path, change: Any, said: str) -> None:
    bad = rewritten(bundle, change)
    with pytest.raises(UsageError, match=said) as refused:
        add_bundle(bad)
    assert str(bad) in str(refused.value)
    assert not folder.exists()


def test_a_file_of_the_archive_that_leads_out_is_passed_over(bundle: Path, folder: Path) -> None:
    def evil(listed: dict[str, Any], content: dict[str, bytes]) -> None:
        content["../evil.txt"] = b"evil"
        content["/tmp/evil.txt"] = b"evil"

    add_bundle(rewritten(bundle, evil))
    assert not list(folder.parent.rglob("evil.txt"))
    assert len(kept_models()) == 2


def test_a_bundle_that_is_cut_short_is_refused(bundle: Path, folder: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.zip"
    whole = bundle.read_bytes()
    for length in (len(whole) - 100, 4000):
        cut.write_bytes(whole[:length])
        assert is_bundle(cut)
        with pytest.raises(UsageError, match=r"cut\.zip: is a bundle of models that is cut short or damaged; copy it"):
            add_bundle(cut)
    assert kept_models() == []
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "a")
    assert not is_bundle(other)
    with pytest.raises(UsageError, match=r"other\.zip: is no bundle of models"):
        add_bundle(other)
    assert not folder.exists()


def test_what_is_damaged_is_not_exported(files: Files, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match="no model is kept here"):
        export_bundle([], tmp_path / "b.zip")
    kept = add_model(files[0], "a")
    kept.file.write_bytes(b"x" * kept.record.size)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UsageError, match="the file of 'a' is damaged or gone"):
        export_bundle(["a"], out / "b.zip")
    kept.file.unlink()
    with pytest.raises(UsageError, match="the file of 'a' is damaged or gone"):
        export_bundle(["a"], out / "b.zip")
    assert list(out.iterdir()) == []
    with pytest.raises(UsageError, match="no model is kept under this name"):
        export_bundle(["b"], out / "b.zip")


def test_a_bundle_replaces_a_bundle_alone(bundle: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(UsageError, match=r"b\.zip: already exists"):
        export_bundle([], bundle, folder=elsewhere)
    export_bundle(["one"], bundle, folder=elsewhere, force=True)
    mine = tmp_path / "mine.zip"
    with zipfile.ZipFile(mine, "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(UsageError, match="was not written by cxrlens"):
        export_bundle([], mine, folder=elsewhere, force=True)
    with pytest.raises(UsageError, match=r"ends in \.zip"):
        export_bundle([], tmp_path / "b.tar", folder=elsewhere)


def test_a_kill_at_any_moment_keeps_whole_models_alone(files: Files, bundle: Path, folder: Path) -> None:
    folder.mkdir()
    add_model(files[0], "two")
    before = shutil.copytree(folder, folder.parent / "before")
    changes = []
    for change in killed_before_each_change(lambda: add_bundle(bundle, force=True), folder):
        changes.append(change)
        assert find_kept("two") is not None, change
        assert {each.state for each in verify_models()} == {"ok"}, change
        assert len(add_bundle(bundle, force=True)) == 2, change
        found = {kept.record.file for kept in kept_models()} | {"one.json", "two.json", ".lock"}
        assert {path.name for path in folder.iterdir()} == found, change
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
    assert len(changes) > 6
