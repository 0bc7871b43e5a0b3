"""Retake rates by group, with intervals; agreement of suggestions with verdicts; and the threshold they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest

from calibrated_cards import a_calibration
from cxrlens.analysis.agreement import Agreement, OtherThreshold, other_threshold
from cxrlens.analysis.images import AnalysedImage, ModelImages
from cxrlens.analysis.rates import Rates, Share, grouped, period_of
from cxrlens.analysis.tables import (
    exposure_table,
    group_tables,
    period_tables,
    reader_table,
    reason_table,
    suggestion_table,
)
from cxrlens.report.tables import Score, Table
from cxrlens.screening.labels import label_of
from cxrlens.screening.reasons import DEFAULT_REASONS
from cxrlens.screening.store.verdicts import KeptVerdict
from stores import INFO


def verdict(said: str) -> KeptVerdict:
    """Such as "accept", "retake", or "retake motion" for that reason."""
    word, _, reason = said.partition(" ")
    return KeptVerdict.model_validate(
        {"id": 1, "key": "0" * 64, "name": "a", "verdict": word, "reason": reason, "probability": None, "time": ""}
    )


def images(number: int, suggestion: str, said: Sequence[str] = (), **tags: str) -> list[AnalysedImage]:
    probability = {"retake": 0.9, "review": 0.3, "pass": 0.05}.get(suggestion)
    given = tuple(map(verdict, said))
    return [
        AnalysedImage(suggestion, probability, tags, given, label_of(given, DEFAULT_REASONS) if given else "")
    ] * number


def column(table: Table, key: str) -> list[object]:
    place = [column.key for column in table.columns].index(key)
    return [row[place] for row in table.rows]


def test_reasons_are_counted_and_none_is_a_row_too() -> None:
    """A reason that only a contradicted reader gave is no retake's."""
    contradicted = [replace(image, reason="Motion") for image in images(3, "pass", ["retake motion", "accept"])]
    table = reason_table(contradicted)
    assert column(table, "reason") == ["none"]
    assert column(table, "retaken") == [0]
    assert [cell.text for row in table.page_rows for cell in row][:3] == ["none", "0", "n/a"]
    retaken = [replace(image, reason="Motion") for image in images(1, "pass", ["retake motion"])]
    table = reason_table([*contradicted, *retaken, *images(2, "retake", ["retake"])])
    assert (column(table, "reason"), column(table, "retaken")) == (["Motion", "unknown"], [1, 2])


def test_shares_have_exact_intervals() -> None:
    share = Share(3, 40)
    theirs = binomtest(3, 40).proportion_ci(method="exact")
    assert share.interval == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert Share(0, 0).value != Share(0, 0).value


def test_rates() -> None:
    some = [
        *images(4, "retake", ["retake"]),
        *images(2, "retake", ["accept"]),
        *images(10, "pass"),
        *images(3, "pass", ["retake", "accept"]),  # a conflict counts as not judged
        *images(1, "review", ["retake", "retake", "accept"]),
        *images(5, "not assessable", ["accept"]),
        *images(2, "unreadable"),
    ]
    rates = Rates.of(some)
    assert rates == Rates(27, Share(6, 20), Share(5, 12))
    assert rates.retaken_of_all == Share(5, 27)
    table = suggestion_table(some)
    assert column(table, "suggestion") == ["retake", "review", "pass", "not assessable", "unreadable"]
    assert column(table, "images") == [6, 1, 13, 5, 2]
    assert column(table, "retaken") == [4, 1, 0, 0, 0]
    assert column(table, "accepted") == [2, 0, 0, 5, 0]
    assert column(table, "conflicts") == [0, 0, 3, 0, 0]
    assert column(table, "not_judged") == [0, 0, 10, 0, 2]


def test_what_is_not_known_is_a_row_of_its_own() -> None:
    some = [*images(3, "retake", station="B"), *images(5, "pass", station="A"), *images(2, "pass")]
    (table,) = group_tables(some)
    assert table.name == "rate-by-station"
    assert column(table, "group") == ["A", "B", "unknown"]
    assert column(table, "images") == [5, 3, 2]
    assert column(table, "suggested") == [0, 3, 0]
    (_, percent, _) = column(table, "suggested_percent")
    assert isinstance(percent, Score)
    assert (percent.value, percent.n) == (100, 3)
    assert percent.low == pytest.approx(100 * 0.025 ** (1 / 3))


def test_periods() -> None:
    assert period_of(date(2026, 1, 1), "day") == "2026-01-01"
    assert period_of(date(2026, 1, 1), "week") == "2026-W01"
    assert period_of(date(2027, 1, 1), "week") == "2026-W53"  # a Friday: the week began in 2026
    assert period_of(date(2026, 12, 31), "month") == "2026-12"
    assert period_of(None, "week") == ""
    some = [*images(2, "pass", date="2026-03-02"), *images(1, "pass", date="2026-03-09"), *images(1, "pass")]
    days, weeks, months = period_tables(some)
    assert column(days, "group") == ["2026-03-02", "2026-03-09", "unknown"]
    assert column(weeks, "group") == ["2026-W10", "2026-W11", "unknown"]
    assert column(months, "images") == [3, 1]
    assert list(period_tables(images(2, "pass"))) == []


def test_groups_keep_their_images() -> None:
    some = [*images(1, "pass", view="PA"), *images(1, "retake", view="AP")]
    assert grouped(some, lambda each: each.tags["view"]) == {"AP": some[1:], "PA": some[:1]}


def test_readers() -> None:
    some = [*images(3, "retake", ["retake"]), *images(1, "pass", ["retake"]), *images(1, "unreadable", ["accept"])]
    two = [
        verdict("accept").model_copy(update={"reader": "Anna"}),
        verdict("retake").model_copy(update={"reader": "Ben"}),
    ]
    assert [row[:3] for row in reader_table([*some, replace(some[0], verdicts=tuple(two))]).rows] == [
        ["Anna", 1, 0],
        ["Ben", 1, 1],
        ["unknown", 5, 4],
    ]
    table = reader_table(some)
    assert [row[:3] for row in table.rows] == [["unknown", 5, 4]]
    (agreed,) = column(table, "agreed_percent")
    assert isinstance(agreed, Score)
    assert (agreed.value, agreed.n) == (75, 4)


def test_exposure() -> None:
    some = [
        *images(1, "pass", station="A", exposure_index="200", deviation_index="-1.5"),
        *images(1, "pass", station="A", exposure_index="300", deviation_index="0.5"),
        *images(1, "pass", station="A", exposure_index="400"),
        *images(1, "pass"),
    ]
    table = exposure_table(some)
    assert table is not None
    assert column(table, "index_median") == [300.0, None]
    assert column(table, "index_low") == [250.0, None]
    assert column(table, "deviations") == [2, 0]
    far = column(table, "far_percent")[0]
    assert isinstance(far, Score)
    assert far.value == 50
    assert exposure_table(images(2, "pass", station="A")) is None


def test_agreement_by_hand() -> None:
    """Half of 100 suggestions were judged, 4/5 of them retakes; a tenth of 900 others, 1/10 of them."""
    found = Agreement.of(
        [
            *images(40, "retake", ["retake"]),
            *images(10, "retake", ["accept"]),
            *images(50, "retake"),
            *images(9, "pass", ["retake"]),
            *images(81, "review", ["accept"]),
            *images(810, "pass"),
            *images(5, "not assessable", ["retake"]),
            *images(3, "retake", ["retake motion"]),
            *images(2, "pass", ["retake positioning"]),
        ]
    )
    assert (found.ppv, found.npv) == (Share(40, 50), Share(81, 90))
    assert (found.sensitivity, found.specificity) == (Share(40, 49), Share(81, 91))
    assert (found.suggested, found.passed, found.other_reasons) == (100, 900, 5)
    assert found.is_uneven
    sensitivity, specificity = found.corrected_sensitivity, found.corrected_specificity
    assert sensitivity.value == pytest.approx(100 * 0.8 / (100 * 0.8 + 900 * 0.1))
    assert specificity.value == pytest.approx(900 * 0.9 / (900 * 0.9 + 100 * 0.2))
    assert sensitivity.low < sensitivity.value < sensitivity.high
    assert sensitivity.high < found.sensitivity.value  # judged images flatter


def test_nothing_is_corrected_where_all_were_judged() -> None:
    found = Agreement.of(
        [
            *images(8, "retake", ["retake"]),
            *images(2, "retake", ["accept"]),
            *images(4, "pass", ["retake"]),
            *images(36, "pass", ["accept"]),
        ]
    )
    assert not found.is_uneven
    assert found.corrected_sensitivity.value == pytest.approx(found.sensitivity.value)
    assert found.corrected_specificity.value == pytest.approx(found.specificity.value)


def test_nothing_is_known_of_what_nobody_judged() -> None:
    found = Agreement.of([*images(8, "retake", ["retake"]), *images(40, "pass")])
    assert found.is_uneven
    assert found.sensitivity == Share(8, 8)  # which means nothing
    assert found.corrected_sensitivity.value != found.corrected_sensitivity.value
    assert found.npv.images == 0


def judged_model(said: dict[float, str], target: str = "specificity of at least 0.75") -> ModelImages:
    some = [
        AnalysedImage("pass", p, {}, (verdict(word),), label_of([verdict(word)], DEFAULT_REASONS))
        for p, word in said.items()
    ]
    info = INFO.model_copy(update={"review_threshold": 0.1, "threshold": 0.5})
    return ModelImages(info, a_calibration(retake_target=target), ["a"], some)


def test_the_threshold_of_the_judged_images_by_hand() -> None:
    """Three of four accepted images lie below a threshold between 0.3 and 0.35."""
    said = {0.1: "accept", 0.2: "accept", 0.3: "accept", 0.4: "accept", 0.35: "retake", 0.8: "retake foreign_object"}
    said |= {0.15: "retake motion"}  # which says nothing of objects
    found = other_threshold(judged_model(said))
    assert isinstance(found, OtherThreshold)
    assert found.found == pytest.approx(expit((logit(0.3) + logit(0.35)) / 2))
    assert (found.sensitivity, found.specificity) == (Share(1, 2), Share(4, 4))
    assert (found.other_sensitivity, found.other_specificity) == (Share(2, 2), Share(3, 4))
    assert str(found.target) == "specificity of at least 0.75"
    assert found.interval.low <= found.found <= found.interval.high


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (judged_model({0.1: "accept", 0.2: "accept", 0.8: "retake"}), "3 images were judged, 1 of them to be retaken"),
        (judged_model({0.1: "accept"}, "good luck"), "'good luck'"),
        (ModelImages(INFO, None, ["a"], []), "not calibrated"),
        (ModelImages(INFO.model_copy(update={"review_threshold": 0.1}), None, ["a"], []), "--model"),
    ],
)
def test_why_there_is_no_threshold(model: ModelImages, reason: str) -> None:
    found = other_threshold(model)
    assert isinstance(found, str)
    assert reason in found
