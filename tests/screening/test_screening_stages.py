"""Images are read, seen, drawn and stored by stages that work at the same time; none of that shows in the results."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrlens.errors import UsageError
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.inspector import GreyBatch
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.result import ImageResult, InputMap
from cxrlens.models.card import ModelCard
from cxrlens.saliency.recorded_resize import NO_RESIZE
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.local_engine import LocalEngine
from cxrlens.screening.recording import Recording, ResultToRecord
from cxrlens.screening.screen import Screening
from cxrlens.screening.store.store import Store
from waiting import until

HERE = os.getpid()
BATCH = 3
DRAW = Recording.__call__


class Bright:
    """An inspector by brightness: its map is the picture."""

    name = "torch"
    card = ModelCard(architecture="resnet34", preprocessing=Preprocessing(height=24, width=40), threshold=0.5)
    identity = ModelIdentity("bright")
    method, layers, resize = "normgrad_conv1x1", "combined", NO_RESIZE

    def __init__(self) -> None:
        self.batches: list[int] = []

    def inspect(
        self, grey: GreyBatch, stored: Sequence[tuple[int, int]], *, maps: object, remarks: object, assess_any: bool
    ) -> list[ImageResult]:
        self.batches.append(len(grey))
        return [
            ImageResult.of(
                float(picture.mean()),
                self.card,
                self.identity,
                size,
                [InputMap(self.method, "combined", picture[0], False)],
            )
            for picture, size in zip(grey, stored, strict=True)
        ]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Eleven pictures that are not square, each with a bright spot elsewhere."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(11):
        grey = np.full((30, 50), 20 + number, dtype=np.uint8)
        grey[3 + number : 9 + number, 30 - 2 * number : 41 - 2 * number] = 250
        Image.fromarray(grey).save(folder / f"{number:02}.png")
    return folder


def screening(images: Path, out: Path, workers: int) -> Screening:
    store = Store(ScreenedFolder(out), keep_connections=True)
    store.go_on()
    return Screening(store, images, LocalEngine(Bright(), maps="all", batch_size=BATCH, workers=workers))


def screened(images: Path, out: Path, workers: int) -> dict[str, bytes]:
    """All of the results' files by name."""
    out.mkdir(exist_ok=True)
    found = screening(images, out, workers)
    for _ in found.run(sorted(images.iterdir())):
        pass
    assert found.engine.model.batches == [3, 3, 3, 2]  # type: ignore[attr-defined]
    found.store.database.close()
    return files(out)


def files(out: Path) -> dict[str, bytes]:
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith("store.sqlite")}


@pytest.fixture
def whole(images: Path, tmp_path: Path) -> dict[str, bytes]:
    """What a screening without processes writes."""
    found = screened(images, tmp_path / "whole", 0)
    assert len(found) == 1 + 2 * 11
    assert found["results.jsonl"].count(b'"contours":[[[') == 11
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_write_the_same_bytes(images: Path, whole: dict[str, bytes], tmp_path: Path, workers: int) -> None:
    assert screened(images, tmp_path / "out", workers) == whole


def _killing(self: Recording, given: ResultToRecord) -> Any:
    if os.getpid() != HERE and given.image.task.name in ("00.png", "04.png", "10.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return DRAW(self, given)


def _exhausted(self: Recording, given: ResultToRecord) -> Any:
    if os.getpid() != HERE and given.image.task.name == "05.png":
        raise MemoryError
    return DRAW(self, given)


@pytest.mark.parametrize("drawing", [_killing, _exhausted])
def test_a_process_that_ends_while_it_draws_loses_nothing(
    images: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawing: Any
) -> None:
    monkeypatch.setattr(Recording, "__call__", drawing)
    assert screened(images, tmp_path / "out", 2) == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_network_has_seen_is_written_when_it_is_left(images: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    out.mkdir()
    found = screening(images, out, workers)
    looks: Iterator[None] = found.run(sorted(images.iterdir()))
    for _ in range(7):
        next(looks)
    looks.close()  # type: ignore[attr-defined]
    assert found.computed == 6
    assert len(list(found.store.results.records())) == 6
    assert found.appended
    assert len((out / "results.jsonl").read_text().splitlines()) == 6
    assert len(list((out / "maps").iterdir())) == 6


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_drawing_ends_it_and_keeps_all_other_batches(
    images: Path, whole: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    """The batch before it, and the one after it, which the network had seen when the error came."""
    out = tmp_path / "out"
    out.mkdir()
    lines = whole["results.jsonl"].splitlines(keepends=True)
    key = lines[4].split(b'"key":"')[1][:64].decode()
    (out / "maps" / f"{key}.png").mkdir(parents=True)
    found = screening(images, out, workers)
    with pytest.raises(UsageError, match=f"{key}.png: is a folder"):
        list(found.run(sorted(images.iterdir())))
    assert (out / "results.jsonl").read_bytes() == b"".join([*lines[:3], *lines[6:9]])
    found.store.database.close()
    (out / "maps" / f"{key}.png").rmdir()
    again = screening(images, out, workers)
    list(again.run(sorted(images.iterdir())))
    assert again.computed == 5
    assert files(out) == {**whole, "results.jsonl": b"".join([*lines[:3], *lines[6:9], *lines[3:6], *lines[9:]])}


def test_a_twin_of_what_is_being_written_is_not_seen_twice(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (images / "03.png").write_bytes((images / "01.png").read_bytes())
    took = threading.Event()

    def slow(self: Recording, given: ResultToRecord) -> Any:
        took.wait(0.3)  # until long after the next file was looked at
        return DRAW(self, given)

    monkeypatch.setattr(Recording, "__call__", slow)
    out = tmp_path / "out"
    out.mkdir()
    found = screening(images, out, 2)
    for _ in found.run(sorted(images.iterdir())):
        pass
    assert found.engine.model.batches == [3, 3, 3, 1]  # type: ignore[attr-defined]
    names = [f"{number:02}.png" for number in range(11)]
    assert sorted(image.name for image in found.store.results.newest()) == names
    one, twin = (found.store.results.of_name(name) for name in ("01.png", "03.png"))
    assert one is not None
    assert twin == one.model_copy(update={"name": "03.png"})


def test_the_network_does_not_wait_for_drawing(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first batch cannot be finished, the second one is seen; the third waits, so that memory is bounded."""
    gate = tmp_path / "gate"

    def waiting(self: Recording, given: ResultToRecord) -> Any:
        while not gate.exists():
            time.sleep(0.01)
        return DRAW(self, given)

    monkeypatch.setattr(Recording, "__call__", waiting)
    out = tmp_path / "out"
    out.mkdir()
    found = screening(images, out, 4)  # one of which is left to read
    batches = found.engine.model.batches  # type: ignore[attr-defined]

    def run() -> None:
        list(found.run(sorted(images.iterdir())))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: len(batches) == 2)
        time.sleep(0.3)
        assert batches == [3, 3]
        assert not list(found.store.results.records())
    finally:
        gate.touch()
        thread.join()
    assert len(list(found.store.results.records())) == 11
