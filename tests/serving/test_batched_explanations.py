"""Images that are explained together are explained as alone, and none suffers from another."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import torch

from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.result import ImageResult
from cxrlens.saliency.explain import Row, RowMaps
from cxrlens.saliency.fusion import Fusion
from cxrlens.serving.batching import BatchedExplainer, BusyError, RequestInspector
from cxrlens.serving.served_model import ExplanationRequest, served
from waiting import PATIENCE

GRAD_CAM = ExplanationRequest(Row("grad_cam", "last"))
NORMGRAD = ExplanationRequest(Row("normgrad_conv1x1", "combined"), Fusion(smooth=2.0))
GRADIENT = ExplanationRequest(Row("gradient", "input"))
STORED = ((150, 110), (40, 300), (48, 64), (77, 200), (10, 11))


class Watched(QualityModel):
    """A model whose passes are noted, and can be held up or made to fail."""

    def __init__(self, model: QualityModel) -> None:
        super().__init__(model.network, model.card, model.device)
        self.passes: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def explain_rows(self, grey: torch.Tensor, rows: Any, **options: Any) -> RowMaps:
        self.go.wait()
        self.passes.append(len(grey))
        if (grey == 1).all(dim=(1, 2, 3)).any():
            raise RuntimeError("a pass that fails")
        return super().explain_rows(grey, rows, **options)


def pictures(count: int) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    random = np.random.default_rng(1)
    return [random.random((1, 48, 64), dtype=np.float32) for _ in range(count)]


def explainer(model: Any, **changes: Any) -> BatchedExplainer:
    return BatchedExplainer(served(model), **{"batch_size": 4, "wait": 0.0, "queue": 50, **changes})


def same(one: ImageResult, other: ImageResult) -> None:
    assert one.probability == pytest.approx(other.probability, abs=1e-6)
    assert one.flat == other.flat
    assert one.map is not None
    assert other.map is not None
    np.testing.assert_allclose(one.map.values, other.map.values, atol=1e-6)
    assert one.peak == other.peak


@pytest.mark.parametrize(
    "asked", [GRAD_CAM, NORMGRAD, ExplanationRequest(Row("gradient", "input"))], ids=lambda q: q.row.method
)
def test_a_batch_is_its_images_one_by_one(served_model: QualityModel, asked: ExplanationRequest) -> None:
    greys = pictures(5)
    together = RequestInspector(served(served_model), 4).inspect(greys, STORED, asked)
    for grey, stored, seen in zip(greys, STORED, together, strict=True):
        (alone,) = RequestInspector(served(served_model), 4).inspect([grey], [stored], asked)
        same(seen, alone)
    assert len({seen.probability for seen in together}) == 5


def test_what_waits_is_gathered_by_question_up_to_a_batch(served_model: QualityModel) -> None:
    model = Watched(served_model)
    sizes: list[float] = []
    model.go.clear()
    running = explainer(model, observe=sizes.append)
    greys = pictures(12)
    all_asked = [GRAD_CAM, *([NORMGRAD, GRAD_CAM] * 5), NORMGRAD]
    first = running.submit(greys[0], STORED[0], all_asked[0])
    while running.waiting:  # until the first pass has begun
        time.sleep(0.001)
    answers = [first] + [
        running.submit(grey, STORED[index % 5], asked)
        for index, (grey, asked) in enumerate(zip(greys[1:], all_asked[1:], strict=True), 1)
    ]
    model.go.set()
    for index, (answer, asked) in enumerate(zip(answers, all_asked, strict=True)):
        (alone,) = RequestInspector(served(served_model), 4).inspect([greys[index]], [STORED[index % 5]], asked)
        same(answer.result(PATIENCE), alone)
    running.close()
    # A request's first pass is one more, see `TorchInspector`; and none of those that count is of one image alone.
    assert model.passes == [1, 2, 1, 4, 4, 2, 2]
    assert sizes == [1, 4, 4, 2, 1]


def test_an_image_that_fails_fails_alone(served_model: QualityModel) -> None:
    model = Watched(served_model)
    model.go.clear()
    running = explainer(model)
    blocker = running.submit(pictures(1)[0], STORED[0], NORMGRAD)
    good = pictures(3)
    poison = np.ones((1, 48, 64), np.float32)
    answers = [running.submit(grey, STORED[0], GRAD_CAM) for grey in (good[0], poison, good[1], good[2])]
    model.go.set()
    with pytest.raises(RuntimeError, match="a pass that fails"):
        answers[1].result(PATIENCE)
    for grey, answer in zip(good, (answers[0], *answers[2:]), strict=True):
        (alone,) = RequestInspector(served(served_model), 4).inspect([grey], [STORED[0]], GRAD_CAM)
        same(answer.result(PATIENCE), alone)
    assert blocker.result(PATIENCE)
    running.close()


def test_a_full_queue_is_busy_and_goes_on(served_model: QualityModel) -> None:
    model = Watched(served_model)
    model.go.clear()
    running = explainer(model, queue=2)
    grey = pictures(1)[0]
    first = running.submit(grey, STORED[0], GRAD_CAM)
    while running.waiting:
        time.sleep(0.001)
    waiting = [running.submit(grey, STORED[0], GRAD_CAM) for _ in range(2)]
    with pytest.raises(BusyError):
        running.submit(grey, STORED[0], GRAD_CAM)
    model.go.set()
    for answer in (first, *waiting):
        assert answer.result(PATIENCE).map is not None
    running.close()
    with pytest.raises(BusyError):
        running.submit(grey, STORED[0], GRAD_CAM)


def test_a_request_that_was_given_up_is_left_out(served_model: QualityModel) -> None:
    model = Watched(served_model)
    model.go.clear()
    running = explainer(model)
    first = running.submit(pictures(1)[0], STORED[0], GRAD_CAM)
    while running.waiting:
        time.sleep(0.001)
    given_up: Future[ImageResult] = running.submit(pictures(1)[0], STORED[0], GRAD_CAM)
    kept = running.submit(pictures(1)[0], STORED[0], GRAD_CAM)
    assert given_up.cancel()
    model.go.set()
    assert kept.result(PATIENCE)
    assert first.result(PATIENCE)
    running.close()
    assert model.passes == [1, 2, 2]


def test_closing_answers_what_waits(served_model: QualityModel) -> None:
    model = Watched(served_model)
    model.go.clear()
    running = explainer(model, batch_size=1)
    first = running.submit(pictures(1)[0], STORED[0], GRAD_CAM)
    while running.waiting:
        time.sleep(0.001)
    second = running.submit(pictures(1)[0], STORED[0], GRAD_CAM)
    closing = threading.Thread(target=running.close)
    closing.start()
    while not running._closed:
        time.sleep(0.001)
    model.go.set()
    closing.join()
    assert first.result(0)
    with pytest.raises(BusyError):
        second.result(0)
