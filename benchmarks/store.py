"""Time and memory of a screening's store with many results: writing them, going on, the worklist, the server's page.

``python -m benchmarks.store --results 2000`` measures once and prints. Each step is a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.memory import peak_mib
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.store import Store
from cxrlens.screening.worklist import write_worklist
from cxrlens.serving.review import Review

BATCH = 8
MODEL = "f" * 64


@dataclass(frozen=True)
class Step:
    """Seconds that a step took, of them on a processor, and the largest resident memory of its process in MiB."""

    seconds: float
    cpu: float
    peak: float


def time_store(results: int, progress: Callable[[str], None]) -> dict[str, Step]:
    """The steps, by name, on one folder of so many results."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in STEPS:
            command = [sys.executable, "-m", "benchmarks.store", "--step", name, folder, "--results", str(results)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            found[name] = Step(**json.loads(ended.stdout))
            progress(f"{name}: {found[name]}")
    return found


def result(number: int) -> ScreenedImage:
    """One of a hundred cannot be read; a fifth has a map with two outlines of sixty points."""
    key = hashlib.sha256(str(number).encode()).hexdigest()
    name = f"ward {number % 50}/{number:06}.dcm"
    if number % 100 == 0:
        return ScreenedImage(name=name, key=key, status="unreadable", reason="the file is damaged")
    chance = random.Random(number)
    probability = chance.random()
    plain = ScreenedImage(
        name=name, key=key, probability=probability, decision="normal", reason=f"probability {probability:.3g}",
        origin="DICOM DX", height=2991, width=2992, picture=f"pictures/{key}.jpg",
    )  # fmt: skip
    if probability < 0.8:
        return plain
    contours = tuple(tuple((chance.random() * 2991, chance.random() * 2991) for _ in range(60)) for _ in range(2))
    facts = {"method": "normgrad_conv1x1", "layers": "combined", "peak": (10, 20), "map": f"maps/{key}.png"}
    return plain.model_copy(update={"decision": "affected", "contours": contours, **facts})


def _write(folder: ScreenedFolder, results: int) -> float:
    """As a screening does: each name and content is looked for, and each batch is on the disk."""
    folder.write_info(
        ScreeningInfo(
            root="/", model="m", model_sha256=MODEL, threshold=0.8, review_threshold=None, method="", layers=""
        )
    )
    seconds = 0.0
    with Store(folder, keep_connections=True) as store:
        store.go_on()
        for begin in range(0, results, BATCH):
            batch = [result(number) for number in range(begin, min(begin + BATCH, results))]
            began = time.perf_counter()
            for image in batch:
                store.results.of_name(image.name)
                store.results.of_content(image.key)
            store.add(batch)
            seconds += time.perf_counter() - began
    return seconds


def _go_on(folder: ScreenedFolder, _: int) -> None:
    with Store(folder, keep_connections=True) as store:
        store.go_on()


def _worklist(folder: ScreenedFolder, _: int) -> None:
    with Store(folder, keep_connections=True) as store:
        write_worklist(store, Path("/"), keep_tags=())


def _first_page(folder: ScreenedFolder, _: int) -> None:
    Review(folder.path, "m", MODEL).part()


def _next_page(folder: ScreenedFolder, results: int) -> float:
    review = Review(folder.path, "m", MODEL)
    return _median(lambda number: review.part(show="open", offset=results // 2 + number))


def _verdict(folder: ScreenedFolder, _: int) -> float:
    review = Review(folder.path, "m", MODEL)
    images = review.part().images
    return _median(lambda number: review.give(images[number].key, "retake"))


def _median(run: Callable[[int], object], repeats: int = 20) -> float:
    times = []
    for number in range(repeats):
        began = time.perf_counter()
        run(number)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


STEPS: dict[str, Callable[[ScreenedFolder, int], float | None]] = {
    "write, in batches": _write,
    "open, to go on": _go_on,
    "worklist.csv and unreadable.txt": _worklist,
    "server, first page": _first_page,
    "server, a page from the middle": _next_page,
    "server, a verdict": _verdict,
}
"""Each gives its seconds where not all that it does counts."""


def time_step(step: Callable[[ScreenedFolder, int], float | None], folder: Path, results: int) -> Step:
    """A step on a folder of so many results, in this process; the seconds that it gives are its own."""
    began, cpu = time.perf_counter(), time.process_time()
    seconds = step(ScreenedFolder(folder), results)
    whole = time.perf_counter() - began
    return Step(whole if seconds is None else seconds, time.process_time() - cpu, peak_mib())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=2000)
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        name, folder = options.step
        print(json.dumps(vars(time_step(STEPS[name], Path(folder), options.results))))  # noqa: T201
        return
    time_store(options.results, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201


if __name__ == "__main__":
    main()
