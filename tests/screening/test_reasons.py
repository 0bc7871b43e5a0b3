"""Reasons for a retake: the list of a file, and what the verdicts of readers come to."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from cxrlens.errors import UsageError
from cxrlens.screening.agreement import agreements, kappa
from cxrlens.screening.labels import drawn_by, label_of, resolved
from cxrlens.screening.reasons import DEFAULT_REASONS, Reason, read_reasons
from cxrlens.screening.store.marks import Mark
from cxrlens.screening.store.verdicts import AuditEntry, KeptVerdict, Verdict
from stores import screened

BOX = Mark(kind="box", points=((1, 2), (30, 4)))


def said(*verdicts: str) -> list[KeptVerdict]:
    """Verdicts such as "retake motion", each of another reader."""
    kept = []
    for number, text in enumerate(verdicts):
        verdict, _, reason = text.partition(" ")
        kept.append(
            KeptVerdict(
                id=number + 1,
                key="a" * 64,
                name="a.png",
                verdict=verdict,  # type: ignore[arg-type]
                probability=0.5,
                time="t",
                reader=f"reader {number}",
                reason=reason,
            )
        )
    return kept


def test_the_default_list_calls_foreign_objects_alone_affected() -> None:
    assert [reason.id for reason in DEFAULT_REASONS if reason.affected] == ["foreign_object"]
    assert {"positioning", "underexposed", "overexposed", "motion", "other"} <= {each.id for each in DEFAULT_REASONS}


@pytest.mark.parametrize(
    "text", ['[{"id": "dirt", "title": "Dirt <b>", "affected": true}, {"id": "x-1", "title": "X"}]',
             "- id: dirt\n  title: Dirt <b>\n  affected: true\n- {id: x-1, title: X}\n"]
)  # fmt: skip
def test_a_list_is_kept_with_the_folder(tmp_path: Path, text: str) -> None:
    folder = screened(tmp_path / "screened")
    assert folder.reasons() == DEFAULT_REASONS
    (tmp_path / "list").write_text(text)
    folder.keep_reasons(read_reasons(tmp_path / "list"))
    wanted = (Reason(id="dirt", title="Dirt <b>", affected=True), Reason(id="x-1", title="X"))
    assert folder.reasons() == screened(tmp_path / "screened").reasons() == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no reasons"),
        ("[]", "holds no reason; write one or more"),
        ("- {id: a, title: A}\n- {id: a, title: B}", "two reasons have the id a"),
        ("- {id: a b, title: A}", r"\[0\].id should be text of the form"),
        ("- {id: a, title: A, affects: true}", "affects is not known"),
        ("- {id: a}", "title is missing"),
        ("{", "neither YAML nor JSON"),
        ("\n".join(f"- {{id: r{number}, title: R}}" for number in range(36)), "should have 35 or fewer values"),
    ],
)
def test_what_is_no_list_is_said(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "reasons.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"reasons\.yaml: .*{told}"):
        read_reasons(path)
    with pytest.raises(UsageError, match=r"gone: the reasons cannot be read: No such file"):
        read_reasons(tmp_path / "gone")


@pytest.mark.parametrize(
    ("verdicts", "outcome", "label"),
    [
        (["accept"], "accept", "normal"),
        (["retake foreign_object"], "retake", "affected"),
        (["retake"], "retake", "affected"),  # of an earlier version, or a client that gives none
        (["retake positioning"], "retake", ""),
        (["retake of-a-former-list"], "retake", ""),
        (["accept", "accept"], "accept", "normal"),
        (["retake foreign_object", "retake"], "retake", "affected"),
        (["retake foreign_object", "retake positioning"], "retake", ""),
        (["accept", "retake foreign_object"], "conflict", ""),
        (["accept", "retake foreign_object", "accept"], "accept", "normal"),
        (["accept", "retake foreign_object", "retake foreign_object"], "retake", "affected"),
        (["accept", "retake foreign_object", "retake motion"], "retake", ""),
        (["accept", "retake", "accept", "retake"], "conflict", ""),
    ],
)
def test_what_verdicts_come_to(verdicts: list[str], outcome: str, label: str) -> None:
    for order in itertools.permutations(said(*verdicts)):
        assert resolved(order) == outcome
        assert label_of(order, DEFAULT_REASONS) == label


def test_the_last_who_drew_counts() -> None:
    first, second, third, accepting = said("retake", "retake", "retake", "accept")
    drew = [each.model_copy(update={"marks": (BOX,)}) for each in (first, second, accepting)]
    assert drawn_by([drew[0], drew[1], third, drew[2]]) == drew[1]
    assert drawn_by([third, drew[2]]) is None


def log(*entries: str) -> list[AuditEntry]:
    """Of entries such as "Anna 1 accept"."""
    made = []
    for number, entry in enumerate(entries):
        reader, image, verdict = entry.split()
        made.append(
            AuditEntry(
                id=number + 1,
                time="t",
                key=image * 64,
                name=image,
                verdict=verdict,  # type: ignore[arg-type]
                replaced="none",
                probability=None,
                model_sha256="",
                reader="" if reader == "-" else reader,
            )
        )
    return made


def test_agreement_by_hand() -> None:
    """Of ten images both retake four and accept three: 0.7 observed, 0.5 * 0.6 + 0.5 * 0.4 expected, kappa 0.4."""
    verdicts: list[tuple[Verdict, Verdict]] = [
        *[("retake", "retake")] * 4, *[("accept", "accept")] * 3, ("retake", "accept"), *[("accept", "retake")] * 2
    ]  # fmt: skip
    entries = [f"Ben {image} {second}" for image, (_, second) in enumerate(verdicts)]
    entries += [f"Anna {image} {first}" for image, (first, _) in enumerate(verdicts)]
    [found] = agreements(log(*entries))
    assert found.readers == ("Anna", "Ben")
    assert (found.both_accept, found.both_retake, found.first_retakes, found.second_retakes) == (3, 4, 1, 2)
    assert found.kappa == pytest.approx(0.4)
    assert -0.3 < found.interval.low < 0.4 < found.interval.high <= 1
    assert cohen_kappa_score(*zip(*verdicts, strict=True)) == pytest.approx(found.kappa)


def test_agreement_is_of_what_readers_said_by_themselves() -> None:
    entries = log(
        "- a accept", "Anna a accept", "Anna a retake", "Anna b accept", "Anna b none", "Ben a accept", "Ben a retake",
        "Ben b retake", "Anna b retake", "Cleo a accept", "Ben c accept"
    )  # fmt: skip
    found = {each.readers: each for each in agreements(entries)}
    assert list(found) == [("Anna", "Ben"), ("Anna", "Cleo"), ("Ben", "Cleo")]
    pair = found["Anna", "Ben"]  # a: Anna had changed her mind before Ben looked; he agreed with her only afterwards
    assert (pair.both_accept, pair.both_retake, pair.first_retakes, pair.second_retakes) == (0, 1, 1, 0)
    assert found["Ben", "Cleo"].kappa == 0  # one image, on which they differ


def test_kappa_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    for size in (2, 7, 50):
        first, second = draw.random((2, size)) < 0.4
        first[0], second[-1] = True, False
        assert kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))
    assert np.isnan(kappa(np.ones(3, bool), np.ones(3, bool)))
