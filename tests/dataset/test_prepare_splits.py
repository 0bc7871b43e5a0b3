"""Drawing splits: shares, classes, patients, and the same draw for the same seed."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from small_sources import zipped

from cxrlens.dataset.prepare.patients import with_patients
from cxrlens.dataset.prepare.record import Record
from cxrlens.dataset.prepare.split import SplitRule, choose_rule, split_rows
from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.manifest import ManifestRow
from cxrlens.inputs.origin import FileOrigin, list_members


def rows(labels: str, patients: list[str] | None = None, split: str = "") -> list[ManifestRow]:
    """One for each letter, "a" for affected."""
    found = []
    for place, letter in enumerate(labels):
        label = "affected" if letter == "a" else "normal"
        patient = patients[place] if patients else ""
        found.append(ManifestRow(f"{place:03d}.jpg", f"{place}.jpg", split, label, patient_id=patient))
    return found


def records(found: list[ManifestRow]) -> list[Record]:
    return [Record(row.name, FileOrigin(Path(row.name)), row.split, 0, patient_id=row.patient_id) for row in found]


@given(st.integers(10, 60), st.integers(10, 60), st.sampled_from([0.1, 0.2, 0.3]), st.sampled_from([0, 0.1, 0.25]),
       st.integers(0, 9))  # fmt: skip
def test_a_random_draw_has_its_shares_in_every_class(a: int, n: int, dev: float, test: float, seed: int) -> None:
    found = rows("a" * a + "n" * n)
    rule = SplitRule("random", dev, test, seed)
    drawn = split_rows(found, rule)
    assert [row.name for row in drawn] == [row.name for row in found]
    for label, count in (("affected", a), ("normal", n)):
        counts = Counter(row.split for row in drawn if row.label == label)
        assert abs(counts["dev"] - dev * count) <= 1.5
        assert abs(counts["test"] - test * count) <= 1.5
        assert sum(counts.values()) == count
    again = {row.name: row.split for row in split_rows(found[::-1], rule)}
    assert again == {row.name: row.split for row in drawn}  # whatever the order


def test_another_seed_is_another_draw() -> None:
    drawn = [[row.split for row in split_rows(rows("an" * 50), SplitRule("random", 0.2, 0, seed))] for seed in (0, 1)]
    assert drawn[0] != drawn[1]


@settings(max_examples=40)
@given(st.integers(12, 40), st.integers(0, 99), st.booleans())
def test_a_patient_is_in_one_split(count: int, seed: int, given_train: bool) -> None:
    stream = np.random.default_rng(seed)
    patients = [f"p{number}" for number in stream.integers(0, count, 150)]
    found = rows("".join(stream.choice(["a", "n"], 150)), patients, "train" if given_train else "")
    rule = SplitRule("given" if given_train else "patient", 0.25, 0.25, seed)
    drawn = split_rows(found, rule)
    splits: dict[str, set[str]] = {}
    for row in drawn:
        splits.setdefault(row.patient_id, set()).add(row.split)
    assert max(map(len, splits.values())) == 1
    largest = max(Counter(patients).values())
    for name in ("dev", "test"):
        assert abs(sum(row.split == name for row in drawn) - 0.25 * 150) <= 1.5 * largest + 1
    again = {row.name: row.split for row in split_rows(found[::-1], rule)}
    assert again == {row.name: row.split for row in drawn}


def test_classes_are_shared_out_among_patients() -> None:
    patients = [f"p{place // 3}" for place in range(300)]
    found = rows("".join("a" if place // 3 % 4 == 0 else "n" for place in range(300)), patients)
    drawn = split_rows(found, SplitRule("patient", 0.2, 0.1, 0))
    for name, share in (("dev", 0.2), ("test", 0.1)):
        own = [row for row in drawn if row.split == name]
        assert len(own) / 300 == pytest.approx(share, abs=0.02)
        assert np.mean([row.label == "affected" for row in own]) == pytest.approx(0.25, abs=0.05)


def test_images_without_a_patient_are_patients_of_their_own() -> None:
    drawn = split_rows(rows("an" * 30, ["p"] * 20 + [""] * 40), SplitRule("patient", 0.2, 0, 0))
    assert len({row.split for row in drawn[:20]}) == 1
    assert {row.split for row in drawn[20:]} == {"train", "dev"}


def test_given_splits_stay_and_lacking_ones_are_drawn_from_train() -> None:
    found = rows("an" * 20, split="train") + [
        ManifestRow(f"t{k}.jpg", "", "test", "normal") for k in range(5)
    ]  # fmt: skip
    assert split_rows(found, SplitRule("given", 0, 0, 0)) == found
    drawn = split_rows(found, SplitRule("given", 0.1, 0, 0))
    assert Counter(row.split for row in drawn) == {"train": 36, "dev": 4, "test": 5}
    assert all(row.split == "test" for row in drawn if row.name.startswith("t"))


@pytest.mark.parametrize(
    ("splits", "patients", "how", "shares", "rule"),
    [
        (["train", "dev"], ["", ""], None, (None, None), ("given", 0, 0)),
        (["", ""], ["", "p"], None, (None, None), ("random", 0.1, 0)),
        (["", ""], ["q", "p"], None, (None, 0.2), ("patient", 0.1, 0.2)),
        (["train", "test"], ["", ""], None, (0.3, None), ("given", 0.3, 0)),
        (["train", "test"], ["", ""], "random", (None, None), ("random", 0.1, 0)),
        (["", ""], ["q", ""], "patient", (0.0, None), ("patient", 0, 0)),
    ],
)
def test_the_rule_that_options_mean(splits, patients, how, shares, rule) -> None:  # type: ignore[no-untyped-def]
    found = [Record(f"{i}", FileOrigin(Path()), s, 0, patient_id=p) for i, (s, p) in
             enumerate(zip(splits, patients, strict=True))]  # fmt: skip
    assert choose_rule(found, how, *shares, 7) == SplitRule(*rule, 7)


@pytest.mark.parametrize(
    ("splits", "how", "shares", "reason"),
    [
        (["train", ""], None, (None, None), "1 image belongs to no split, such as 1;"),
        (["", ""], "given", (None, None), "2 images belong to no split"),
        (["", ""], "patient", (None, None), "no image's patient is known"),
        (["", ""], None, (0.6, 0.4), "leave nothing to train on"),
        (["train", "dev"], None, (0.1, None), "--dev-share: the source gives a split 'dev'"),
        (["dev", "dev"], None, (None, 0.1), "--test-share: the source gives .* no 'train'"),
    ],
)
def test_rules_that_do_not_fit(splits, how, shares, reason) -> None:  # type: ignore[no-untyped-def]
    found = [Record(f"{i}", FileOrigin(Path()), s, 0) for i, s in enumerate(splits)]
    with pytest.raises(UsageError, match=reason):
        choose_rule(found, how, *shares, 0)


@pytest.mark.parametrize(
    ("found", "rule", "reason"),
    [
        (rows("annnnnnnnn"), SplitRule("random", 0.2, 0, 0), r"too few images to draw 20% .* \(1 affected, 9 normal\)"),
        (rows("an" * 3), SplitRule("random", 0.1, 0, 0), "give a larger --dev-share"),
        (rows("an" * 20, ["p", "q"] * 20), SplitRule("patient", 0.1, 0, 0), "2 patients are too few to draw 10% of 40"),
        (rows("an" * 20), SplitRule("patient", 0.001, 0, 0), "--dev-share"),
    ],
)
def test_draws_that_cannot_be(found: list[ManifestRow], rule: SplitRule, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        split_rows(found, rule)


def test_patients_by_the_name() -> None:
    found = records(rows("ann"))
    names = ["nih/00003140_007.png", "nih/00003140_008.png", "other.png"]
    found = [Record(name, FileOrigin(Path(name)), patient_id=each.patient_id) for name, each in
             zip(names, found, strict=True)]  # fmt: skip
    assert [each.patient_id for each in with_patients(found, r"(\d{8})_")] == ["00003140", "00003140", ""]
    assert [each.patient_id for each in with_patients(found, r"\d{8}_\d")] == ["00003140_0", "00003140_0", ""]
    with pytest.raises(UsageError, match=r"'x\+y': fits no image's name, such as 'nih/"):
        with_patients(found, "x+y")
    with pytest.raises(UsageError, match="is no regular expression"):
        with_patients(found, "(")


def dicom(patient: str | None) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    if patient is not None:
        dataset.PatientID = patient
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_patients_of_dicom_files_are_numbered_and_their_own_number_stays_inside(tmp_path: Path) -> None:
    bare = dicom("OTHER")[132:]  # as some archives write them, without a preamble
    contents = [dicom("SECRET-7"), dicom("OTHER"), dicom("SECRET-7"), dicom(None), b"damaged", bare]
    (tmp_path / "0.dcm").write_bytes(contents[0])
    path = zipped(
        tmp_path / "a.zip", {f"1.2.{n}" if n == 2 else f"{n}.dcm": content for n, content in enumerate(contents)}
    )
    members = list_members(path)
    found = [Record("0.dcm", FileOrigin(tmp_path / "0.dcm"))]
    found += [Record(member.name, member) for member in members[1:]]
    found += [Record("known.dcm", members[0], patient_id="p")]
    numbered = [each.patient_id for each in with_patients(found, None)]
    assert numbered == ["dicom-00001", "dicom-00002", "dicom-00001", "", "", "dicom-00002", "p"]
