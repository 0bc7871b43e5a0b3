"""``cxrlens data check``: a data set that was spoiled in one way gives that finding and no other, a clean one none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from command_line import cxrlens, refused, table
from cxrlens.dataset.check.findings import KINDS, Severity
from cxrlens.dataset.check.run import check_data
from cxrlens.inputs.annotations.shapes import format_annotation
from cxrlens.inputs.dataset.dataset import Dataset

Found = set[tuple[str, tuple[str, ...]]]


class Data:
    """A data set to spoil: its files by split and class, and its CSVs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def name(self, split: str, class_name: str, index: int = 0) -> str:
        """The path of one of the images below the root."""
        return sorted((self.root / split / class_name).glob("*.jpg"))[index].relative_to(self.root).as_posix()

    def change(self, name: str, change: Callable[[Image.Image], Image.Image], to: str | None = None) -> str:
        """Writes a changed picture, in its place or under another name; gives its name back."""
        with Image.open(self.root / name) as image:
            changed = change(image.copy())
        changed.save(self.root / (to or name), quality=90)
        return to or name

    def copy(self, name: str, to: str) -> str:
        shutil.copyfile(self.root / name, self.root / to)
        return to

    def set_row(self, name: str, annotation: str | None, split: str | None = None) -> None:
        """Replaces or adds the row of an image; None deletes it."""
        path = self.root / f"{split or name.split('/')[0]}.csv"
        file = Path(name).name
        lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{file},")]
        path.write_text("\n".join([*lines, *([] if annotation is None else [f"{file},{annotation}"])]) + "\n")

    def add_line(self, split: str, line: str) -> None:
        path = self.root / f"{split}.csv"
        path.write_text(path.read_text() + line + "\n")

    def size(self, name: str) -> tuple[int, int]:
        with Image.open(self.root / name) as image:
            return image.size

    def found(self) -> Found:
        return {(finding.kind.id, finding.images) for finding in check_data(Dataset(self.root)).findings}


@pytest.fixture
def spoiled(data: Path) -> Data:
    return Data(data)


def test_a_clean_data_set_has_no_finding(phantoms: Path) -> None:
    result = check_data(Dataset(phantoms))
    assert result.findings == []
    assert result.unreadable == []
    assert result.counts == {
        "train": {"normal": 8, "affected": 8, "unlabelled": 0, "unreadable": 0},
        "dev": {"normal": 4, "affected": 4, "unlabelled": 0, "unreadable": 0},
    }
    assert result.published == {}


# -- rows -------------------------------------------------------------------------------------------------------------


def missing_row(data: Data) -> Found:
    affected, normal = data.name("dev", "affected"), data.name("train", "normal", 2)
    data.set_row(affected, None)
    data.set_row(normal, None)
    return {("image-without-row", (affected,)), ("normal-without-row", (normal,))}


def extra_row(data: Data) -> Found:
    data.add_line("dev", "99999.jpg,0 1 2 3 4")
    return {("row-without-image", ())}


def second_row(data: Data) -> Found:
    data.add_line("train", f"{Path(data.name('train', 'normal')).name},")
    return {("second-row", ())}


def loose_names(data: Data) -> Found:
    for index, ending in enumerate((".JPG", ".dcm")):
        name = data.name("train", "normal", index)
        data.set_row(name, None)
        data.add_line("train", f"{Path(name).stem}{ending},")
    return {("loose-name", ())}


def doubtful_names(data: Data) -> Found:
    name = data.name("dev", "normal")
    data.set_row(name, None)
    for ending in (".png", ".dcm"):
        data.add_line("dev", f"{Path(name).stem}{ending},")
    return {("doubtful-name", ()), ("normal-without-row", (name,))}


def bad_row(data: Data) -> Found:
    data.set_row(data.name("dev", "affected"), "0 1 2 3")
    data.set_row(data.name("dev", "normal"), "rectangle 1 2 3 4")
    return {("bad-row", ())}


def contradiction(data: Data) -> Found:
    affected, normal = data.name("train", "affected"), data.name("train", "normal")
    data.set_row(affected, "")
    data.set_row(normal, "1 20 20 40 50")
    return {("contradiction", (affected,)), ("contradiction", (normal,))}


def stray_image(data: Data) -> Found:
    (data.root / "train" / "more").mkdir()
    strays = [data.copy(data.name("train", "normal"), to) for to in ("loose.jpg", "train/more/deep.jpg")]
    return {("unused-image", tuple(strays))}


def no_normal_images(data: Data) -> Found:
    for path in (data.root / "dev" / "normal").iterdir():
        data.set_row(path.relative_to(data.root).as_posix(), None)
        path.unlink()
    return {("unusable-split", ())}


# -- shapes -----------------------------------------------------------------------------------------------------------


ANNOTATED: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "wholly outside": (("0 {wide} 10 {wide}5 30", "0 10 10 30 20"), {"outside"}),
    "above": (("1 20 -30 40 -10",), {"outside"}),
    "mostly outside": (("0 -20 20 8 60",), {"outside"}),
    "reaches outside": (("0 -3 20 20 60",), {"reaches-out"}),
    "up to the edge": (("0 0 0 20 20", "0 60 60 {w} {h}"), set()),
    "a line": (("0 10 10 10 40",), {"degenerate"}),
    "a flat polygon": (("2 10 10 30 30 20 20",), {"degenerate"}),
    "a small polygon": (("2 10 10 14 10 12 13",), set()),
    "huge": (("0 5 5 70 70",), {"huge"}),
    "twice": (("0 10 10 30 20", "0 40 40 50 60", "0 10 10 30 20"), {"repeated"}),
}


@pytest.mark.parametrize(("texts", "kinds"), ANNOTATED.values(), ids=ANNOTATED)
def test_shapes_are_judged(spoiled: Data, texts: tuple[str, ...], kinds: set[str]) -> None:
    name = spoiled.name("train", "affected")
    width, height = spoiled.size(name)
    spoiled.set_row(name, ";".join(texts).format(w=width, h=height, wide=width + 60))
    result = check_data(Dataset(spoiled.root))
    assert {(finding.kind.id, finding.images) for finding in result.findings} == {(kind, (name,)) for kind in kinds}
    for finding in result.findings:
        (shape,) = finding.shapes
        assert format_annotation([shape]) in finding.message


# -- files and pictures -----------------------------------------------------------------------------------------------


def broken_file(data: Data) -> Found:
    name = data.name("train", "affected")
    (data.root / name).write_bytes((data.root / name).read_bytes()[:300])
    return {("unreadable", (name,))}


def inverted(data: Data) -> Found:
    names = [data.name("dev", "normal"), data.name("train", "affected", 3)]
    changed = [data.change(name, ImageOps.invert) for name in names]
    return {(kind, (name,)) for name in changed for kind in ("inverted", "displayed-oddly")}


def flat(data: Data) -> Found:
    same = [data.change(data.name("dev", "normal", index), lambda i: Image.new("L", i.size, 90)) for index in (0, 2)]
    data.change(same[1], lambda image: Image.new("L", image.size, 92))  # else it is the same file
    return {(kind, (name,)) for name in same for kind in ("flat", "not-assessable")}


def low_contrast(data: Data) -> Found:
    name = data.name("dev", "normal")
    changed = data.change(name, lambda image: image.point(lambda value: 110 + value // 10))
    return {("low-contrast", (changed,)), ("displayed-oddly", (changed,))}


def nearly_black(data: Data) -> Found:
    name = data.name("train", "affected", 2)
    return {("displayed-oddly", (data.change(name, lambda image: image.point(lambda value: 2 * value // 5)),))}


def unusual_size(data: Data) -> Found:
    large, wide = data.name("train", "normal", 1), data.name("train", "normal", 4)
    data.change(large, lambda image: image.resize((image.width * 3, image.height * 3)))
    data.change(wide, lambda image: image.resize((image.width * 2, image.height)))
    return {("size-outlier", (large,)), ("aspect-outlier", (wide,))}


def too_small(data: Data) -> Found:
    name = data.name("train", "normal", 1)
    changed = data.change(name, lambda image: image.resize((60, 70)))
    return {("too-small", (changed,)), ("not-assessable", (changed,))}


# -- duplicates -------------------------------------------------------------------------------------------------------


def leaked_file(data: Data) -> Found:
    name = data.name("train", "normal")
    copy = data.copy(name, "dev/normal/copy.jpg")
    data.set_row(copy, "")
    return {("leak", (name, copy))}


def leaked_picture(data: Data) -> Found:
    def disguise(image: Image.Image) -> Image.Image:
        darker = image.point(lambda value: int(255 * (value / 255) ** 1.5))
        return darker.resize((image.width * 4 // 5, image.height * 4 // 5))

    name = data.name("train", "normal")
    copy = data.change(name, disguise, "dev/normal/copy.png")
    data.set_row("dev/copy.png", "")
    return {("leak", (name, copy))}


def mirrored_and_inverted(data: Data) -> Found:
    mirrored, turned = data.name("train", "normal", 1), data.name("train", "normal", 5)
    first = data.change(mirrored, ImageOps.mirror, "train/normal/first.jpg")
    second = data.change(turned, ImageOps.invert, "train/normal/second.jpg")
    for name in (first, second):
        data.set_row(name, "")
    return {
        ("duplicates", (mirrored, first)),
        ("duplicates", (turned, second)),
        ("inverted", (second,)),
        ("displayed-oddly", (second,)),
    }


def contradicting_copies(data: Data) -> Found:
    name = data.name("dev", "normal")
    copy = data.change(name, lambda image: image, "dev/affected/copy.png")
    data.set_row(copy, "0 10 10 30 30")
    return {("contradicting-duplicates", (name, copy))}


def copies_across_splits_and_classes(data: Data) -> Found:
    name = data.name("train", "affected")
    copies = [data.copy(name, f"dev/{class_name}/copy-{class_name}.jpg") for class_name in ("normal", "affected")]
    data.set_row(copies[0], "")
    data.set_row(copies[1], "0 10 10 30 30")
    return {("leak", (name, *copies)), ("contradicting-duplicates", (name, *copies))}


SPOILERS = (
    *(missing_row, extra_row, second_row, loose_names, doubtful_names, bad_row, contradiction, stray_image),
    *(no_normal_images, broken_file, inverted, flat, low_contrast, nearly_black, unusual_size, too_small),
    *(leaked_file, leaked_picture, mirrored_and_inverted, contradicting_copies, copies_across_splits_and_classes),
)


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_each_fault_is_found_and_nothing_else(spoiled: Data, spoil: Callable[[Data], Found]) -> None:
    expected = spoil(spoiled)
    assert spoiled.found() == expected


def test_every_bad_row_is_listed_with_its_line(spoiled: Data) -> None:
    bad_row(spoiled)
    messages = [finding.message for finding in check_data(Dataset(spoiled.root)).findings]
    assert len(messages) == 2
    for message, text in zip(messages, ("'0 1 2 3' should have 4 numbers", "'rectangle 1 2 3 4'"), strict=True):
        assert text in message
        assert message.startswith(f"{spoiled.root / 'dev.csv'}, line ")


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_gate_and_the_exit_codes(phantoms: Path, spoiled: Data) -> None:
    assert cxrlens("data", "check", phantoms, "--fail-on", "note").code == 0
    name = spoiled.name("train", "normal")
    spoiled.set_row(name, None)
    for fail_on, code in ((None, 0), ("problem", 0), ("note", 10)):
        assert cxrlens("data", "check", spoiled.root, *([] if fail_on is None else ["--fail-on", fail_on])).code == code
    spoiled.set_row(name, "0 1 1 20 20")
    assert cxrlens("data", "check", spoiled.root).code == 0
    assert cxrlens("data", "check", spoiled.root, "--fail-on", "problem").code == 10
    broken_file(spoiled)
    assert cxrlens("data", "check", spoiled.root).code == 3
    assert cxrlens("data", "check", spoiled.root, "--fail-on", "problem").code == 10


def test_json_and_the_files_say_the_same(spoiled: Data, tmp_path: Path) -> None:
    broken_file(spoiled)
    missing_row(spoiled)
    out = tmp_path / "out"
    finished = cxrlens("data", "check", spoiled.root, "--json", "-o", out, "--workers", 2)
    assert finished.code == 3
    found = finished.json
    assert (found["problems"], found["notes"], len(found["unreadable"])) == (2, 1, 1)
    assert [finding["kind"] for finding in found["findings"]] == [
        *("image-without-row", "unreadable", "normal-without-row")
    ]
    assert found["images"]["train"] == {"normal": 8, "affected": 7, "unlabelled": 0, "unreadable": 1}
    assert found["files"] == [str(out / "data-check.html"), str(out / "findings.csv")]
    rows = table(out / "findings.csv")
    keys = ("severity", "kind", "message")
    assert [[row[key] for key in keys] for row in rows] == [[f[key] for key in keys] for f in found["findings"]]
    assert (out / "unreadable.txt").read_text().splitlines() == found["unreadable"]
    page = (out / "data-check.html").read_text("utf-8")
    assert all(Path(image).name in page for finding in found["findings"] for image in finding["images"])


def test_the_text_names_kinds_and_the_first_images(spoiled: Data) -> None:
    names = [spoiled.name("train", "affected", index) for index in range(5)] + [spoiled.name("dev", "affected", 2)]
    for name in names:
        spoiled.set_row(name, "")
    finished = cxrlens("data", "check", spoiled.root)
    assert "problem: Label and annotation contradict each other (6)" in finished.out
    assert [name in finished.out for name in names] == [True] * 5 + [False]
    assert "and 1 more" in finished.out
    assert "6 problems, 0 notes" in finished.out
    assert list(spoiled.root.parent.glob("data-check*")) == []


def test_a_plain_folder_with_and_without_rows(spoiled: Data, tmp_path: Path) -> None:
    folder = spoiled.root / "dev" / "affected"
    finished = cxrlens("data", "check", folder, "--json")
    assert (finished.code, finished.json["findings"]) == (0, [])
    assert finished.json["images"] == {"affected": {"normal": 0, "affected": 4, "unlabelled": 0, "unreadable": 0}}
    rows = tmp_path / "rows.csv"
    first = Path(spoiled.name("dev", "affected")).name
    rows.write_text(f"image_name,annotation\n{first},0 500 500 600 600\nabsent.jpg,\n")
    finished = cxrlens("data", "check", folder, "--annotations", rows, "--json")
    kinds = [finding["kind"] for finding in finished.json["findings"]]
    assert kinds == ["row-without-image", *["image-without-row"] * 3, "outside"]
    refused(cxrlens("data", "check", spoiled.root, "--annotations", rows), 2, spoiled.root, "leave --annotations out")
    refused(cxrlens("data", "check", folder, "--annotations", tmp_path / "no.csv"), 2, tmp_path / "no.csv")


def test_mistakes_are_one_sentence(phantoms: Path, tmp_path: Path) -> None:
    refused(cxrlens("data", "check", tmp_path / "absent"), 2, tmp_path / "absent", "no such folder")
    (tmp_path / "empty").mkdir()
    refused(cxrlens("data", "check", tmp_path / "empty"), 4, tmp_path / "empty", "holds no images")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    refused(cxrlens("data", "check", phantoms, "-o", tmp_path / "used"), 2, tmp_path / "used", "--force")


def test_nothing_readable_is_reported_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.png"):
        (tmp_path / "in" / name).write_bytes(b"nothing")
    finished = cxrlens("data", "check", tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert finished.code == 3
    assert [finding["kind"] for finding in finished.json["findings"]] == ["unreadable"] * 2


def test_every_kind_occurs_in_a_test_or_is_tested_elsewhere() -> None:
    elsewhere = {kind for kind in KINDS if kind.startswith("published-")} | {
        "shortcut",
        "weak-shortcut",
        "tiny",
        "remark",
        "taken-otherwise",
    }
    seen = {kind for _, kinds in ANNOTATED.values() for kind in kinds}
    source = Path(__file__).read_text("utf-8")
    assert all(f'("{kind}"' in source for kind in set(KINDS) - elsewhere - seen)
    assert {kind.severity for kind in KINDS.values()} == set(Severity)


def test_the_documentation_lists_every_kind_with_its_rule() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "data-check.md").read_text("utf-8")
    rows = [f"| `{kind.id}` | {kind.severity} | {kind.title} | {kind.rule} |" for kind in KINDS.values()]
    assert [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 5] == rows


ROOT = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.skipif(not (ROOT / "object-CXR").is_dir(), reason="the composited radiographs are not at hand")
def test_real_radiographs_give_the_pairs_they_were_made_of_and_no_other() -> None:
    """Each training background occurs twice by construction, once in each class."""
    origin = table(ROOT / "origin.csv")
    of_source: dict[tuple[str, str], set[str]] = {}
    for row in origin:
        name = f"{row['split']}/{row['class']}/{row['image_name']}"
        of_source.setdefault((row["source_repo"], row["source_path"]), set()).add(name)
    result = check_data(Dataset(ROOT / "object-CXR"), workers=2)
    copies = [finding for finding in result.findings if finding.kind.id == "contradicting-duplicates"]
    pairs = {frozenset(names) for names in of_source.values() if len(names) > 1}
    assert len(pairs) == 175
    assert {frozenset(finding.images) for finding in copies} == pairs
    assert {finding.severity for finding in result.findings if finding not in copies} == {Severity.note}
    assert min(finding.values["similarity"] for finding in copies) > 0.9
    for probe in result.probes:
        assert 0.4 < probe.auc < 0.65
    assert np.isfinite([probe.interval.low for probe in result.probes]).all()
