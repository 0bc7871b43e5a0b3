"""``cxrlens study``: what it writes, killed and gone on with, and what it says of bad input."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import Finished, cxrlens, refused, table
from cxrlens.study.records import Records
from few_figures import few_figures_drawn

PLAN = {
    "architectures": ["resnet18"],
    "rows": ["grad_cam last", "normgrad_conv1x1 combined"],
    "repeats": 50,
    "batch_size": 4,
}


def write_plan(folder: Path, **changes: object) -> Path:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **changes}))
    return path


@pytest.fixture(autouse=True)
def _few_figures_are_drawn() -> None:
    """All of them are drawn here, unless `few_figures` is asked for: studies are compared to the byte."""


@pytest.fixture
def few_figures() -> Iterator[None]:
    with few_figures_drawn():
        yield


@pytest.fixture(scope="module")
def whole(phantoms: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A study that ran through."""
    folder = tmp_path_factory.mktemp("study")
    plan = write_plan(folder)
    finished = cxrlens("study", phantoms, "-o", folder / "out", "--plan", plan, "-m", model, "--workers", 0, "--json")
    assert finished.code == 0, finished.err
    return folder / "out", finished


def contents(out: Path) -> dict[str, bytes]:
    """All files but the two that name the command and the time."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in files
        if path.name not in ("environment.json", "report.html")
    }


def test_study_writes_what_its_documentation_names(whole: tuple[Path, Finished]) -> None:
    out, finished = whole
    for name in ("report.html", "findings.md", "study.yaml", "environment.json", "figures/pointing-game.svg"):
        assert (out / name).stat().st_size > 0, name
    for ending in ("csv", "md", "tex"):
        assert (out / "tables" / f"pointing-game.{ending}").is_file()
    lines = table(out / "tables" / "pointing-game.csv")
    assert [line["method"] for line in lines[:2]] == ["Grad-CAM", "NormGrad conv1x1"]
    assert finished.json["findings"] == [
        line.removeprefix("- ") for line in (out / "findings.md").read_text().splitlines()
    ]
    assert finished.json["unreadable"] == []


def test_submission_files_hold_every_image(whole: tuple[Path, Finished], phantoms: Path) -> None:
    (folder,) = (whole[0] / "submissions").iterdir()
    names = {path.name for path in (phantoms / "dev").rglob("*.jpg")}
    for name in ("localization.csv", "classification.csv"):
        assert {line["image_name"] for line in table(folder / name)} == names


def killed(given: list[Any]) -> None:
    """A study that kills itself once its first record is written."""
    add = Records.add

    def dying(self: Records, *record: Any) -> None:
        add(self, *record)
        os.kill(os.getpid(), signal.SIGKILL)

    Records.add = dying  # type: ignore[method-assign]
    cxrlens(*given)


def test_a_killed_study_goes_on_to_the_same_files(
    whole: tuple[Path, Finished], phantoms: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = ["study", phantoms, "-o", out, "--plan", write_plan(tmp_path), "-m", model, "--workers", 0]
    process = multiprocessing.get_context("fork").Process(target=killed, args=(given,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (out / "report.html").exists()
    assert len(list(out.rglob("*.npz"))) == 1 < len(list(whole[0].rglob("*.npz")))
    assert cxrlens(*given).code == 0
    assert contents(out) == contents(whole[0])


def test_unreadable_images_are_listed_and_the_rest_is_scored(
    data: Path, model: Path, tmp_path: Path, few_figures: None
) -> None:
    broken = sorted((data / "dev" / "affected").iterdir())[0]
    broken.write_bytes(b"")
    plan = write_plan(tmp_path, rows=["grad_cam last"])
    finished = cxrlens("study", data, "-o", tmp_path / "out", "--plan", plan, "-m", model, "--workers", 0, "--json")
    assert finished.code == 3
    assert [broken.name in reason for reason in finished.json["unreadable"]] == [True]
    assert broken.name in (tmp_path / "out" / "unreadable.txt").read_text()
    assert table(tmp_path / "out" / "tables" / "pointing-game.csv")[0]["resnet18_n"] == "3"


def test_mistakes_in_a_plan_are_one_sentence(phantoms: Path, model: Path, tmp_path: Path) -> None:
    def tried(*given: object) -> Finished:
        return cxrlens("study", phantoms, "-o", tmp_path / "out", *given)

    refused(tried("--plan", "fast"), 2, "fast", "paper")
    refused(tried("--plan", tmp_path / "none.yaml"), 2, "none.yaml")
    refused(tried("--plan", write_plan(tmp_path, colour="red"), "-m", model), 2, "colour", "docs/study.md")
    refused(tried("--plan", write_plan(tmp_path, rows=["grad_cam"]), "-m", model), 2, "METHOD LAYERS")
    wrong = write_plan(tmp_path, batch_size="many")
    refused(tried("--plan", wrong, "-m", model), 2, f"{wrong}: batch_size should be a whole number, not 'many'; docs/")
    training = {"recipe": "small", "settings_of": {"resnet18": {"epochs": "many"}}}
    wrong = write_plan(tmp_path, training=training)
    refused(
        tried("--plan", wrong), 2, "the plan's training of resnet18: recipe 'small': epochs should be a whole number"
    )
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    refused(tried("--plan", tmp_path / "list.yaml"), 2, "list.yaml", "no plan")
    (tmp_path / "broken.yaml").write_text("rows: [a\nb: {")
    refused(tried("--plan", tmp_path / "broken.yaml"), 2, "broken.yaml", "YAML")
    refused(tried("--plan", write_plan(tmp_path, rows=["nothing last"]), "-m", model), 2, "nothing")
    refused(tried("--plan", write_plan(tmp_path)), 2, "--model")
    refused(tried("--plan", write_plan(tmp_path), "-m", tmp_path / "gone.safetensors"), 2, "gone.safetensors")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_not_touched(phantoms: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    refused(cxrlens("study", phantoms, "-o", tmp_path, "-m", model), 2, tmp_path, "--out")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_without_objects_there_is_nothing_to_do(data: Path, model: Path, tmp_path: Path) -> None:
    (data / "dev.csv").unlink()
    finished = cxrlens("study", data, "-o", tmp_path / "out", "--plan", write_plan(tmp_path), "-m", model)
    refused(finished, 4, "no image of 'dev' has an annotated object", "dev.csv")
    assert not (tmp_path / "out").exists()


def test_trainings_of_the_plan_are_made_once(phantoms: Path, tmp_path: Path, few_figures: None) -> None:
    training = {"recipe": "small", "seeds": [0, 1], "settings": {"image_size": 32, "epochs": 1}}
    plan = write_plan(tmp_path, rows=["grad_cam last"], training=training)
    given = ("study", phantoms, "-o", tmp_path / "out", "--plan", plan, "--workers", 0)
    finished = cxrlens(*given)
    assert finished.code == 0, finished.err
    runs = tmp_path / "out" / "runs"
    assert sorted(path.name for path in runs.iterdir()) == ["resnet18-seed0", "resnet18-seed1"]
    lines = table(tmp_path / "out" / "tables" / "classification.csv")
    assert [(line["weights"], line["seed"]) for line in lines] == [("trained", "0"), ("trained", "1")]
    states = {path: path.stat().st_mtime_ns for path in runs.rglob("*.safetensors")}
    again = cxrlens(*given)
    assert again.code == 0, again.err
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*.safetensors")} == states
