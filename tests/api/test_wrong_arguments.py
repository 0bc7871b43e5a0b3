"""Arguments of the wrong kind, and empty ones, are one sentence before any work, never another error or a default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cxrlens import api
from cxrlens.errors import ArgumentError, UsageError
from cxrlens.inspection.quality_model import as_radiograph

NETWORK = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
IMAGES = torch.rand(2, 3, 64, 64)

REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: api.train("data", arch=""), "`arch` is empty"),
    (lambda: api.train("data", recipe=" "), "`recipe` is empty"),
    (lambda: api.train("data", run_dir=""), "`run_dir` is empty"),
    (lambda: api.train(""), "`data` is empty"),
    (lambda: api.train("data", cache_dir=""), "`cache_dir` is empty"),
    (lambda: api.train("data", loggers=["csv", ""]), "`loggers` is empty"),
    (lambda: api.train(3), "`data` should be a path, not 3"),  # type: ignore[arg-type]
    (lambda: api.train("data", seed="a"), "`seed` should be a whole number or None, not 'a'"),  # type: ignore[arg-type]
    (lambda: api.train("data", seed=1.5), "`seed` should be a whole number or None, not 1.5"),  # type: ignore[arg-type]
    (lambda: api.train("data", force="no"), "`force` should be True or False, not 'no'"),  # type: ignore[arg-type]
    (lambda: api.train("data", learning_rate="x"), "`learning_rate` should be a number"),  # type: ignore[arg-type]
    (lambda: api.compare(3, "b", "."), "`model` should be a path, not 3"),  # type: ignore[arg-type]
    (lambda: api.test("data", "model", out=None), "`out` should be a path, not of the type NoneType"),  # type: ignore[arg-type]
    (lambda: api.explain_images([], "model"), "no source was given"),
    (lambda: api.explain_images([3], "model"), "each source should be a path, not 3"),  # type: ignore[list-item]
    (lambda: api.explain_images("x", "model", methods=[]), "`methods` names none"),
    (lambda: api.explain_images("x", "model", grid=""), "`grid` is empty"),
    (lambda: api.screen([], "model", "out"), "no source was given"),
    (lambda: api.screen("x", "", "out"), "`model` is empty"),
    (lambda: api.screen(["x", ""], "model", "out"), "`sources` is empty"),
    (lambda: api.analyse([], "out"), "no source was given"),
    (lambda: api.compare("a", "", "data"), "`b` is empty"),
    (lambda: api.explain(NETWORK, IMAGES.numpy(), methods="grad_cam"), "images are a tensor [N, C, H, W] of floats"),  # type: ignore[arg-type]
    (lambda: api.explain(NETWORK, IMAGES[0], methods="grad_cam"), "images are a tensor [N, C, H, W] of floats"),
    (lambda: api.explain(NETWORK, IMAGES.byte(), methods="grad_cam"), "images are a tensor [N, C, H, W] of floats"),
    (lambda: as_radiograph(3), "an image is a path, the bytes of a file"),  # type: ignore[arg-type]
    (lambda: as_radiograph(None), "an image is a path, the bytes of a file"),  # type: ignore[arg-type]
    (lambda: api.load(""), "`path` should be"),
    (lambda: api.load(3), "`path` should be"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_refused(call: Callable[[], object], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as raised:
        call()
    assert str(raised.value).startswith(sentence)
    assert list(tmp_path.iterdir()) == []


def test_a_single_logger_is_no_list_of_letters(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for loggers in ("bogus", ["bogus"]):
        with pytest.raises(UsageError, match="unknown `logger=bogus`"):
            api.train(tmp_path / "data", run_dir=tmp_path / "run", loggers=loggers)


def test_arrays_that_cannot_be_meant_are_argument_errors_and_value_errors() -> None:
    maps = torch.rand(1, 64, 64)
    for call in (
        lambda: api.pointing_game(maps, ["0 1 1 9 9"], tolerance=-1),
        lambda: api.pointing_game(maps * torch.nan, ["0 1 1 9 9"], tolerance=1),
    ):
        with pytest.raises(ArgumentError) as raised:
            call()
        assert isinstance(raised.value, ValueError)
