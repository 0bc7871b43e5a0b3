"""A remark is a doubt, a note or a refusal, and stays of its kind on its way through files."""

from __future__ import annotations

import json
import logging

import pytest

from cxrlens.inputs.readers import Note, Refusal, doubts, refusals
from cxrlens.inputs.remarked import from_json, remarked, report_remarked, to_json

REMARKS = ("It is dark.", Note("It has 12 bits."), Refusal("It is of a hip."))


def test_each_remark_is_of_one_kind() -> None:
    assert doubts(REMARKS) == REMARKS[:1]
    assert refusals(REMARKS) == REMARKS[2:]


def test_the_kind_travels_through_json() -> None:
    found = from_json(json.loads(json.dumps(to_json(REMARKS))))
    assert found == REMARKS
    assert [type(remark) for remark in found] == [str, Note, Refusal]


@pytest.mark.parametrize(
    ("remarks", "kind"), [(REMARKS, Refusal), (REMARKS[:2], str), (REMARKS[1:2], Note), (REMARKS[1:], Refusal)]
)
def test_an_images_line_is_of_its_gravest_kind(remarks: tuple[str, ...], kind: type[str]) -> None:
    line = remarked("a.png", remarks)
    assert type(line) is kind
    assert line == f"a.png: {' '.join(remarks)}"


def test_refused_images_are_reported_first(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        report_remarked([remarked(name, (remark,)) for name, remark in zip("abc", REMARKS, strict=True)])
    said = [record.getMessage() for record in caplog.records]
    assert [line.strip() for line in said[1::2]] == ["c: It is of a hip.", "a: It is dark.", "b: It has 12 bits."]
    assert "cannot be judged" in said[0]
