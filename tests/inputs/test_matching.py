"""How names in tables meet files: strict before loose, folders count, and what is doubtful is never taken."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlens.inputs.annotations.shapes import Rectangle
from cxrlens.inputs.annotations.table import AnnotationRow, AnnotationTable
from cxrlens.inputs.matching import (
    Disk,
    Doubt,
    FileNames,
    Likeness,
    Match,
    canonical,
    ending_of,
    folded,
    match_all,
    pair,
    path_parts,
    plain_path,
    without_ending,
)

ROOT = Path("/data/set")


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def apart(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def met(names: list[str], files: list[str], root: Path = ROOT, silent: tuple[str, ...] = ()) -> dict[str, str]:
    """The name of each file that has one."""
    pairing = pair(names, FileNames(root, files, silent=silent))
    return {file: names[place] for file, place in pairing.names.items()}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a.jpg", "a.jpg"),
        (" x/a.jpg ", "x/a.jpg"),
        ("./x//a.jpg", "x/a.jpg"),
        ("x\\y\\a.jpg", "x/y/a.jpg"),
        ("x/../y/a.jpg", "y/a.jpg"),
        ("../a.jpg", "../a.jpg"),
        ("/x/./a.jpg", "/x/a.jpg"),
        ("//server/share/a.jpg", "/server/share/a.jpg"),
        ("C:\\x\\a.jpg", "C:/x/a.jpg"),
        ("x / a.jpg", "x/a.jpg"),
        ("", ""),
        ("/", "/"),
    ],
)
def test_one_spelling_of_a_path(text: str, plain: str) -> None:
    assert plain_path(text) == plain


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.jpg", ".jpg"), ("a.DCM", ".DCM"), ("1.2.840.1", ""), ("1.2.840.1.dcm", ".dcm"), ("a", ""), ("scan.v2", ""),
     ("a.b/c", ""), ("a.nii", ".nii"), (".jpg", "")],
)  # fmt: skip
def test_the_last_number_of_a_uid_is_no_ending(name: str, ending: str) -> None:
    assert ending_of(name) == ending
    assert without_ending(name) + ending == name


@pytest.mark.parametrize(
    ("names", "files", "expected"),
    [
        # UIDs, of which the last number is no ending
        (["1.2.840.1", "1.2.840.2"], ["1.2.840.1", "1.2.840.3"], {"1.2.840.1": "1.2.840.1"}),
        (["1.2.840.1"], ["1.2.840.1.dcm", "1.2.840.2.dcm"], {"1.2.840.1.dcm": "1.2.840.1"}),
        (["1.2.840"], ["1.2.840.1", "1.2.840.2"], {}),
        # the strictest reading counts, and another file is not taken for want of a better one
        (["a.jpg"], ["a.jpg", "A.jpg", "a.png"], {"a.jpg": "a.jpg"}),
        (["A.jpg"], ["a.jpg", "a.JPG"], {}),
        (["a.jpg", "a.png"], ["a.dcm"], {}),
        (["a.jpg"], ["a.dcm", "a.png"], {}),
        (["a.jpg"], ["A.JPG"], {"A.JPG": "a.jpg"}),
        (["a.jpg", "A.jpg"], ["a.jpg", "a.JPG"], {"a.jpg": "a.jpg"}),
        ([" a.jpg", "a.jpg"], ["a.jpg", " a.jpg"], {"a.jpg": "a.jpg", " a.jpg": " a.jpg"}),
        ([" a.jpg", "a.jpg"], ["a.jpg"], {"a.jpg": "a.jpg"}),
        ([composed("é.jpg"), apart("é.jpg")], [apart("é.jpg")], {apart("é.jpg"): apart("é.jpg")}),
        ([composed("é.jpg"), "e.jpg"], [apart("é.jpg")], {apart("é.jpg"): composed("é.jpg")}),
        (["STRASSE.jpg"], ["straße.jpg"], {"straße.jpg": "STRASSE.jpg"}),
        # folders
        (["p1/s/v.jpg", "p2/s/v.jpg"], ["p1/s/v.jpg", "p3/s/v.jpg"], {"p1/s/v.jpg": "p1/s/v.jpg"}),
        (["p1\\s\\v.jpg", "./p2//s/v.jpg"], ["p1/s/v.jpg", "p2/s/v.jpg"],
         {"p1/s/v.jpg": "p1\\s\\v.jpg", "p2/s/v.jpg": "./p2//s/v.jpg"}),
        (["s/v.jpg"], ["p1/s/v.jpg", "p2/s/v.jpg"], {}),
        (["v.jpg"], ["p1/v.jpg", "p2/v.jpg"], {}),
        (["v.jpg"], ["v.jpg", "p1/v.jpg"], {}),
        (["v.jpg", "p1/v.jpg"], ["v.jpg", "p1/v.jpg"], {"v.jpg": "v.jpg", "p1/v.jpg": "p1/v.jpg"}),
        (["/data/set/p1/v.jpg", "p2/v.jpg"], ["p1/v.jpg", "p2/v.jpg"],
         {"p1/v.jpg": "/data/set/p1/v.jpg", "p2/v.jpg": "p2/v.jpg"}),
        (["set/p1/v.jpg"], ["p1/v.jpg"], {"p1/v.jpg": "set/p1/v.jpg"}),
        (["P1/V.JPG"], ["p1/v.jpg"], {"p1/v.jpg": "P1/V.JPG"}),
        # folders of another place: left away where all share them and no file lies there
        (["C:\\old\\p1\\v.jpg", "C:\\old\\p2\\v.jpg"], ["p1/v.jpg", "p2/v.jpg"],
         {"p1/v.jpg": "C:\\old\\p1\\v.jpg", "p2/v.jpg": "C:\\old\\p2\\v.jpg"}),
        (["old/p1/v.jpg", "old/p2/w.jpg"], ["p1/v.jpg", "p3/w.jpg"], {"p1/v.jpg": "old/p1/v.jpg"}),
        (["p1/v.jpg", "p1/w.jpg"], ["p1/v.jpg", "p2/w.jpg"], {"p1/v.jpg": "p1/v.jpg"}),
        (["p1/v.jpg", "p2/w.jpg"], ["p1/v.jpg", "w.jpg"], {"p1/v.jpg": "p1/v.jpg"}),
        (["p10/a/x.jpg", "p11/b/y.jpg"], ["x.jpg", "y.jpg"], {"x.jpg": "p10/a/x.jpg", "y.jpg": "p11/b/y.jpg"}),
        (["p10/v.jpg", "p11/v.jpg"], ["v.jpg", "w.jpg"], {}),
        (["p4/v.jpg", "p6/w.jpg"], ["v.jpg"], {}),  # one image tells nothing of a move
    ],
)  # fmt: skip
def test_which_name_is_that_of_a_file(names: list[str], files: list[str], expected: dict[str, str]) -> None:
    assert met(names, files) == expected


def test_folders_of_classes_need_not_be_named() -> None:
    files = ["affected/1.jpg", "normal/2.jpg", "normal/3.jpg", "affected/3.jpg"]
    assert met(["set/1.jpg", "/data/set/2.jpg", "set/3.jpg"], files, silent=("affected", "normal")) == {
        "affected/1.jpg": "set/1.jpg",
        "normal/2.jpg": "/data/set/2.jpg",
    }


def test_of_two_names_of_one_file_the_last_counts_and_loose_ones_are_a_doubt() -> None:
    pairing = pair(["x/a.jpg", "x\\a.jpg", "B.jpg", "b.JPG"], FileNames(ROOT, ["x/a.jpg", "b.jpg"]))
    assert pairing.names == {"x/a.jpg": 1}
    assert pairing.repeated == [(0, 1)]
    assert pairing.doubtful_files == {"b.jpg": [2, 3]}


def test_a_linked_folder_is_one_place(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "link").symlink_to("real")
    names = [f"{tmp_path}/link/a.jpg", f"{tmp_path}/elsewhere/b.jpg"]
    assert met(names, ["a.jpg", "b.jpg"], tmp_path / "real") == {"a.jpg": names[0]}
    assert met([f"{tmp_path}/real/a.jpg", "x/b.jpg"], ["a.jpg"], tmp_path / "link") == {
        "a.jpg": f"{tmp_path}/real/a.jpg"
    }
    assert canonical(tmp_path / "link" / "a.jpg") == canonical(tmp_path / "link" / ".." / "real" / "a.jpg")


def test_files_on_a_disk(tmp_path: Path) -> None:
    for name in ("Scans/a.jpg", f"Scans/{apart('é')}.jpg", "Scans/B.jpg", "Scans/b.JPG", "Scans/1.2.3", "x\\y.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    disk, scans = Disk(), tmp_path / "Scans"
    assert disk.find("Scans/a.jpg", tmp_path) == Match(scans / "a.jpg", Likeness.EXACT)
    assert disk.find("Scans\\a.jpg", tmp_path) == Match(scans / "a.jpg", Likeness.EXACT)
    assert disk.find("x\\y.jpg", tmp_path) == Match(tmp_path / "x\\y.jpg", Likeness.EXACT)
    assert disk.find(" ./Scans//a.jpg ", tmp_path) == Match(scans / "a.jpg", Likeness.BLANKS)
    assert disk.find(str(scans / "a.jpg"), Path("/nowhere")) == Match(scans / "a.jpg", Likeness.EXACT)
    assert disk.find("Scans/é.jpg", tmp_path) == Match(scans / apart("é.jpg"), Likeness.ACCENTS)
    assert disk.find("scans/A.JPG", tmp_path) == Match(scans / "a.jpg", Likeness.CASE)
    assert disk.find(f"{tmp_path}/scans/a.PNG", tmp_path) == Match(scans / "a.jpg", Likeness.ENDING)
    assert disk.find("../Scans/A.jpg", scans) == Match(scans / ".." / "Scans" / "a.jpg", Likeness.CASE)
    assert disk.find("Scans/b.jpg", tmp_path) == Doubt((scans / "B.jpg", scans / "b.JPG"))
    assert disk.find("scans/a.jpg", tmp_path, strict=True) is None
    for text in ("Scans/1.2.4", "Scans/1.2", "gone/a.jpg", "", "a\0b", "x" * 5000, "/", "..", "C:\\a.jpg"):
        assert not isinstance(disk.find(text, tmp_path), Match) or text in ("/", ".."), text


# -- random names -----------------------------------------------------------------------------------------------------

letters = st.sampled_from(["a", "A", "b", "é", "É", apart("é"), "ß", "İ", "ﬁ", "胸", "1", "2", ".", " ", "-"])
parts = st.lists(letters, min_size=1, max_size=4).map("".join).filter(lambda part: part.strip(" .") != "")
bare = st.builds(lambda stem, ending: stem + ending, parts, st.sampled_from(["", ".jpg", ".JPG", ".png", ".dcm", ".1"]))
paths = st.builds(lambda folders, name: "/".join([*folders, name]), st.lists(parts, max_size=2), bare)
FEW = [f"{folder}{name}" for folder in ("", "p1/", "p2/p1/")
       for name in ("v.jpg", "V.jpg", "v.png", "w.jpg", "1.2.1", "1.2.2")]  # fmt: skip
some_paths = st.one_of(paths, *[st.sampled_from(FEW)] * 3)  # of few names many meet

STRICT = {
    "as it is": lambda path: path,
    "from here": lambda path: f"./{path}",
    "doubled": lambda path: path.replace("/", "//"),
    "Windows": lambda path: path.replace("/", "\\"),
    "absolute": lambda path: f"{ROOT}/{path}",
    "roundabout": lambda path: f"x/../{path}",
    "from above": lambda path: f"set/{path}",
}
BARE = {"bare": lambda path: path.rpartition("/")[2]}
LOOSE = {
    "blanks": lambda path: f" {path} ",
    "composed": composed,
    "apart": apart,
    "case": str.swapcase,
    "ending": lambda path: without_ending(path) + ".png",
    "no ending": without_ending,
}


def bones(path: str) -> str:
    """What is left of a name that forgives all."""
    name = re.sub(r"\.(jpg|png|dcm)$", "", path.rpartition("/")[2].strip(), flags=re.IGNORECASE)
    return folded(name).replace(" ", "")


@dataclass(frozen=True)
class Case:
    """Files, of which some are not there, and rows that were written for some of them."""

    there: list[str]
    rows: list[tuple[str, str]]  # the name in the row, and the file it was written for


@st.composite
def cases(draw: st.DrawFn) -> Case:
    universe = draw(st.lists(some_paths, min_size=2, max_size=9, unique=True))
    count = {bones(path): sum(bones(other) == bones(path) for other in universe) for path in universe}
    there, rows = [], []
    for path in universe:
        alone = count[bones(path)] == 1
        here = not alone or draw(st.booleans()) or not there
        if here:
            there.append(path)
        spellings = STRICT | BARE | (LOOSE if alone else {})  # a loose spelling may be the very name of another file
        chosen = draw(st.lists(st.sampled_from(sorted(spellings)), max_size=2))
        if "bare" in chosen:  # beside its path it would be that of another in the folder above
            chosen = ["bare"]
        rows += [(spellings[each](path), path) for each in chosen]
    return Case(there, draw(st.permutations(rows)))


@settings(max_examples=1000)
@given(cases())
def test_an_image_gets_its_own_row_or_it_is_said_why_not(case: Case) -> None:
    """The objects of each row tell for which file it was written."""
    marks = {path: (Rectangle(place, 0, place + 1, 1),) for place, path in enumerate(sorted({p for _, p in case.rows}))}
    anchor = "anchor.jpg"  # shows that the table's folders are those of the disk
    rows = [AnnotationRow(anchor, ()), *(AnnotationRow(name, marks[path], 9) for name, path in case.rows)]
    found = AnnotationTable(ROOT.parent / "t.csv", tuple(rows)).match(
        ROOT, [ROOT / name for name in (anchor, *case.there)]
    )
    assert ROOT / anchor in found.rows
    for path in case.there:
        own = [name for name, of in case.rows if of == path]
        shapes = found.shapes_of(ROOT / path)
        if shapes is not None:
            assert shapes == marks.get(path), f"{path} has the row of another"
        elif own:
            assert found.doubts or found.without_image, f"{path} has lost its row without a word"
        if any(name in {spelling(path) for spelling in STRICT.values()} for name in own):
            others = [other for other in case.there if other.endswith(f"/{path}")]
            assert shapes is not None or (others and found.doubts), f"{path} is named strictly"
    for name, path in case.rows:
        if path not in case.there:
            assert plain_path(name) in found.without_image


@given(cases())
def test_loose_rows_are_counted(case: Case) -> None:
    names = [name for name, _ in case.rows]
    files = FileNames(ROOT, case.there)
    pairing = pair(names, files)
    loose = {file for file, place in pairing.names.items() if pairing.matches[place].difference}
    for file, place in pairing.names.items():
        name, own = path_parts(names[place], Likeness.BLANKS), path_parts(file, Likeness.BLANKS)
        assert name[-1] == own[-1] or file in loose
    taken = [*pairing.names.values(), *(old for old, _ in pairing.repeated), *pairing.doubtful_names]
    taken += [place for places in pairing.doubtful_files.values() for place in places]
    assert sorted({*taken, *pairing.unmet}) == list(range(len(names)))  # each name is accounted for


def test_many_names_take_no_time_of_each_other() -> None:
    """Also where all have one bare name, and no row fits exactly."""
    files = [f"patient{number}/study1/view1_frontal.jpg" for number in range(10_000)]
    names = [f"{name.upper()}" for name in files]
    found = match_all(names, FileNames(ROOT, files))
    assert all(isinstance(match, Match) and match.file == file for match, file in zip(found, files, strict=True))
