"""What a model card takes from a study: the randomisation check of the very model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from small_study import FinishedStudy

from cxrlens.errors import UsageError
from cxrlens.model_card.run import card_facts
from cxrlens.model_card.text import card_page, card_values
from cxrlens.study.outcome import randomisation_verdicts


def test_the_verdicts_are_those_of_the_studys_table(whole: FinishedStudy, models: list[Path]) -> None:
    facts = card_facts(models[1], study=whole.out)
    assert facts.randomisation is not None
    lines = (whole.out / "tables" / "randomisation-resnet18.md").read_text().splitlines()
    listed = [line for line in lines if line.endswith(("| passes |", "| fails |"))]
    assert len(listed) == len(facts.randomisation) >= 3
    page = card_page(facts)
    for line, verdict in zip(listed, facts.randomisation, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] == verdict.method
        assert cells[1] == verdict.layers
        assert cells[-3].startswith(f"{verdict.similarity:.3f}")
        assert cells[-2].startswith(f"{verdict.unrelated:.3f}")
        assert cells[-1] == ("passes" if verdict.passes else "fails")
        assert f"| {verdict.similarity:.3f} | {verdict.unrelated:.3f} | {cells[-1]} |" in page
    assert card_values(facts)["randomisation"][0]["passes"] is facts.randomisation[0].passes
    assert "Not done: no study" not in page
    assert "Maps: centres bicubic." in page
    assert card_values(facts)["randomisation"][0]["resize"] == {
        "grid": "centres", "interpolation": "bicubic", "flip": False
    }  # fmt: skip


def test_a_study_of_other_models_is_refused(whole: FinishedStudy) -> None:
    with pytest.raises(UsageError, match="did not look at the model"):
        randomisation_verdicts(whole.out, hashlib.sha256(b"another").hexdigest(), "resnet18")
    with pytest.raises(UsageError, match="no finished study"):
        randomisation_verdicts(whole.out / "tables", "0" * 64, "resnet18")


def test_a_study_without_the_check_says_so(whole: FinishedStudy, models: list[Path], tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "study.yaml").write_text("")
    (tmp_path / "records").symlink_to(whole.out / "records")
    facts = card_facts(models[0], study=tmp_path)
    assert facts.randomisation == []
    assert "left out the randomisation check" in card_page(facts)
    (tmp_path / "tables" / "randomisation-resnet18.csv").write_text("method,layers\na,b\n")
    for content in (None, "[", "[]", '{"maps": {}}'):
        if content is not None:
            (tmp_path / "environment.json").write_text(content)
        with pytest.raises(UsageError, match=r"environment\.json: is not what a study wrote"):
            card_facts(models[0], study=tmp_path)
    (tmp_path / "environment.json").write_text("{}")
    with pytest.raises(UsageError, match="is no table of a study"):
        card_facts(models[0], study=tmp_path)
