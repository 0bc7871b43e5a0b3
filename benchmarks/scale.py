"""What a screening costs as it grows: images a second by engine, and steps of stores of many results.

``python -m benchmarks.scale --results 10000 1000000`` measures the stores once and prints, ``--images 40`` the engines.
Each step is a process of its own, on a store that was filled in large batches.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.store import BATCH, MODEL, Step, result, time_step
from cxrlens.inputs.processes import default_workers
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.store.store import Store
from cxrlens.screening.worklist import RankedWorklist, write_worklist
from cxrlens.serving.review import Review

ENGINES: dict[str, dict[str, Any]] = {
    "this computer": {},
    "Ray, 1 worker": {"engine": "ray", "ray_workers": 1},
    "Ray, 2 workers": {"engine": "ray", "ray_workers": 2},
}
_FILLED = 10_000  # results of a batch when a store is filled
_ADDED = 2000  # results that are added to a full one, in batches as a screening does
_PAGE = 200


@dataclass(frozen=True)
class TimedEngine:
    """A screening by an engine: seconds until the first image was done, and images a second from then on."""

    start: float
    rate: float


@dataclass(frozen=True)
class FilledStore:
    """A store of so many results: its steps by name, and bytes a result of its files."""

    steps: dict[str, Step]
    bytes: dict[str, float]


def time_engines(*, images: int, side: int, repeats: int, progress: Callable[[str], None]) -> dict[str, TimedEngine]:
    """Engines take turns, each with an empty folder; medians. Every image gets a map of the combined layers."""
    from benchmarks.screening import write_model  # not for the steps of stores, whose memory is measured
    from benchmarks.training_input import write_pictures

    timed: dict[str, list[TimedEngine]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "data", images, os.cpu_count() or 1)
        model = write_model(folder / "model.safetensors", side)
        for _ in range(repeats):
            for engine in ENGINES:
                command = ["--engine", engine, str(folder), str(model)]
                timed.setdefault(engine, []).append(TimedEngine(**_run(command)))
                progress(f"{engine}: {timed[engine][-1]}")
    return {
        engine: TimedEngine(*(statistics.median(getattr(each, what) for each in found) for what in ("start", "rate")))
        for engine, found in timed.items()
    }


def time_stores(results: Sequence[int], progress: Callable[[str], None]) -> dict[int, FilledStore]:
    """Of stores of so many results each, filled one after the other."""
    found = {}
    for number in results:
        with tempfile.TemporaryDirectory() as folder:
            steps = {}
            for name in STEPS:
                steps[name] = Step(**_run(["--step", name, folder, str(number)]))
                progress(f"{number:,} results, {name}: {steps[name]}")
            files = {path.name: path.stat().st_size / number for path in Path(folder).iterdir() if path.is_file()}
            found[number] = FilledStore(steps, files)
    return found


def _run(arguments: Sequence[str]) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "benchmarks.scale", *arguments]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def _time_engine(engine: str, folder: Path, model: Path) -> TimedEngine:
    from cxrlens.screening.progress import Progress
    from cxrlens.screening.run import screen
    from cxrlens.screening.settings import ScreeningSettings
    from cxrlens.screening.sources import take_sources

    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    settings = ScreeningSettings(model, "all", batch_size=BATCH, workers=default_workers(), **ENGINES[engine])
    looks: list[float] = []

    def look(_: Progress) -> None:
        looks.append(time.perf_counter())

    began = time.perf_counter()
    screen(take_sources([str(folder / "data")]), out, settings, progress=look)
    first = BATCH - 1  # the first batch is done
    return TimedEngine(looks[first] - began, (len(looks) - 1 - first) / (looks[-1] - looks[first]))


def _fill(folder: ScreenedFolder, results: int) -> None:
    folder.write_info(
        ScreeningInfo(
            root="/", model="m", model_sha256=MODEL, threshold=0.8, review_threshold=None, method="", layers=""
        )
    )
    with Store(folder, keep_connections=True) as store:
        store.go_on()
        for begin in range(0, results, _FILLED):
            store.add([result(number) for number in range(begin, min(begin + _FILLED, results))])


def _add(folder: ScreenedFolder, results: int) -> float:
    """Seconds of `_ADDED` results more, as a screening adds them."""
    with Store(folder, keep_connections=True) as store:
        store.go_on()
        began = time.perf_counter()
        for begin in range(results, results + _ADDED, BATCH):
            batch = [result(number) for number in range(begin, begin + BATCH)]
            for image in batch:
                store.results.known(image.name)
                store.results.of_content(image.key)
            store.add(batch)
        return time.perf_counter() - began


def _go_on(folder: ScreenedFolder, _: int) -> None:
    with Store(folder, keep_connections=True) as store:
        store.go_on()


def _contents(folder: ScreenedFolder, _: int) -> None:
    with Store(folder) as store:
        for _key in store.results.contents():
            pass


def _counts(folder: ScreenedFolder, _: int) -> None:
    with Store(folder) as store:
        RankedWorklist.of(store.results, Path("/"))


def _worklist(folder: ScreenedFolder, _: int) -> None:
    with Store(folder) as store:
        write_worklist(store, Path("/"), keep_tags=())


def _part(**asked: Any) -> Callable[[ScreenedFolder, int], float]:
    """Seconds of a page of the server, the median of several; ``at`` is the share of the list that lies before it."""

    at = asked.pop("at", 0)

    def step(folder: ScreenedFolder, results: int) -> float:
        review = Review(folder.path, "m", MODEL)
        review.part(limit=_PAGE)
        times = []
        for number in range(9):
            began = time.perf_counter()
            review.part(offset=int(at * results) + number, limit=_PAGE, **asked)
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    return step


def _first_part(folder: ScreenedFolder, _: int) -> float:
    review = Review(folder.path, "m", MODEL)
    began = time.perf_counter()
    review.part(limit=_PAGE)
    return time.perf_counter() - began


def _verdict(folder: ScreenedFolder, _: int) -> float:
    review = Review(folder.path, "m", MODEL)
    images = review.part(limit=_PAGE).images
    times = []
    for image in images[:20]:
        began = time.perf_counter()
        review.give(image.key, "retake")
        times.append(time.perf_counter() - began)
    return statistics.median(times)


STEPS: dict[str, Callable[[ScreenedFolder, int], float | None]] = {
    "filled, in large batches": _fill,
    f"{_ADDED:,} more, in batches of {BATCH}": _add,
    "open, to go on": _go_on,
    "the contents, for workers": _contents,
    "counts of the worklist": _counts,
    "worklist.csv and unreadable.txt": _worklist,
    "server, first page since it started": _first_part,
    "server, a verdict": _verdict,
    "server, first page": _part(),
    "server, a page from the middle": _part(at=0.5),
    "server, open": _part(show="open"),
    "server, decided": _part(show="decided"),
    "server, conflicts": _part(show="conflicts"),
    "server, remarked": _part(show="remarked"),
    "server, not assessable": _part(show="not_assessable"),
    "server, unreadable": _part(show="unreadable"),
}
"""Each gives its seconds where not all that it does counts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, nargs="*", default=[])
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--step", nargs=3, metavar=("STEP", "FOLDER", "RESULTS"), help=argparse.SUPPRESS)
    parser.add_argument("--engine", nargs=3, metavar=("ENGINE", "FOLDER", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        name, folder, results = options.step
        print(json.dumps(vars(time_step(STEPS[name], Path(folder), int(results)))))  # noqa: T201
    elif options.engine:
        engine, folder, model = options.engine
        print(json.dumps(vars(_time_engine(engine, Path(folder), Path(model)))))  # noqa: T201
    else:

        def show(line: str) -> None:
            print(line, file=sys.stderr, flush=True)  # noqa: T201

        if options.images:
            time_engines(images=options.images, side=options.side, repeats=1, progress=show)
        time_stores(options.results, show)


if __name__ == "__main__":
    main()
