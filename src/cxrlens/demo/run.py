"""The job behind ``cxrlens demo``: the whole way on phantoms, ending in a page of results."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

import cxrlens
from cxrlens.dataset.phantom.dataset import OWN_FILES as PHANTOM_FILES
from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from cxrlens.environment import timestamp
from cxrlens.errors import UsageError
from cxrlens.evaluation.pointing_game import distance_to_objects, find_peak, judge
from cxrlens.inputs.annotations.ground_truth import object_mask
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.decoding import BatchReader
from cxrlens.inspection.quality_model import QualityModel, load
from cxrlens.models.registry import find_architecture
from cxrlens.outputs import new_output, output_folder, remove_own
from cxrlens.pointing.run import OUTPUTS as POINTING_OUTPUTS
from cxrlens.pointing.run import PointingGameResult, PointingSettings, play_folder
from cxrlens.report.figures import save_figure
from cxrlens.report.html import render_page
from cxrlens.report.overlays import MapPanel, SheetRow, contact_sheet
from cxrlens.report.row_titles import row_title
from cxrlens.saliency.explain import Row, default_rows
from cxrlens.saliency.fusion import DEFAULT_FUSION, Fusion
from cxrlens.saliency.methods import DEFAULT_METHODS
from cxrlens.saliency.recorded_resize import RecordedResize
from cxrlens.saliency.resizing import DEFAULT_RESIZE
from cxrlens.shelf.keeping import add_model
from cxrlens.testing.run import OUTPUTS as TEST_OUTPUTS
from cxrlens.testing.run import ScoreResult, score_model
from cxrlens.training.fitting import OWN_FILES as RUN_FILES
from cxrlens.training.fitting import Hardware, TrainingResult
from cxrlens.training.run import train_model

log = logging.getLogger(__name__)

_SHEET_ROWS = (
    Row("grad_cam", "last"),
    Row("normgrad_conv1x1", "last"),
    Row("normgrad_scaling", "combined"),
    Row("normgrad_conv1x1", "combined"),
)
_PRECISIONS = {"32-true": "float32", "bf16-mixed": "bfloat16 autocast"}
_MARK = ".cxrlens-demo"  # says that the folder is a demo's, which a later one may replace
_OUTPUTS = ("test", "pointing-game", "contact-sheet.png", "README.html")
"""Beside data and training, which are images and a run as any others."""


@dataclass(frozen=True)
class DemoSize:
    """The amount of drawing and training of a demo."""

    train: int
    dev: int
    picture: int
    image_size: int
    epochs: int
    sheet: int
    name: str  # under which the model is kept


FULL = DemoSize(train=320, dev=80, picture=256, image_size=192, epochs=7, sheet=6, name="demo")
QUICK = DemoSize(train=16, dev=8, picture=96, image_size=64, epochs=1, sheet=2, name="demo-quick")


@dataclass(frozen=True)
class DemoResult:
    """The results of a demo, and the page that shows them.

    Attributes:
        name: under which the model is kept for other commands; None where it could not be.
    """

    page: Path
    training: TrainingResult
    scores: ScoreResult
    pointing: PointingGameResult
    seconds: float
    name: str | None


def run_demo(
    out: Path,
    hardware: Hardware,
    *,
    architecture: str = "resnet34",
    size: DemoSize = FULL,
    fusion: Fusion = DEFAULT_FUSION,
    seed: int = 0,
    force: bool = False,
    callbacks: list[Callback] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DemoResult:
    """Draw phantoms, train, test, play the Pointing Game with every method, and write ``README.html``.

    The model is kept under a name, ``demo`` or ``demo-quick``, see `cxrlens.shelf`.

    Args:
        fusion: how the maps are resized and combined.

    Raises:
        UsageError: when the folder holds something and ``force`` is not given, or the resize is unknown.
    """
    began = time.monotonic()
    find_architecture(architecture)
    fusion.check(())
    with _claimed(out, force=force):
        return _run(out, hardware, architecture, size, fusion, seed, callbacks, progress, began)


def _run(
    out: Path,
    hardware: Hardware,
    architecture: str,
    size: DemoSize,
    fusion: Fusion,
    seed: int,
    callbacks: list[Callback] | None,
    progress: Callable[[int, int], None] | None,
    began: float,
) -> DemoResult:
    workers = hardware.workers
    log.info("1/4 drawing %d phantoms", size.train + size.dev)
    write_phantom_dataset(
        out / "data",
        train=size.train,
        dev=size.dev,
        size=size.picture,
        seed=seed,
        workers=max(workers, 1),
        progress=progress,
    )
    data = Dataset(out / "data")
    log.info("2/4 training")
    training = train_model(
        data,
        out / "run",
        architecture=architecture,
        recipe="small",
        overrides=_overrides(size, seed),
        hardware=hardware,
        callbacks=callbacks,
        progress=(lambda _split, done, total: progress(done, total)) if progress else None,
    )
    assert training is not None, "the demo runs in one process"
    model = load(training.model, device=str(hardware.device))
    log.info("3/4 testing")
    scores = score_model(data, model, out / "test", split="dev", workers=workers, seed=seed)
    log.info("4/4 playing the Pointing Game")
    rows = default_rows(DEFAULT_METHODS, "both")
    settings = PointingSettings(fusion=fusion, seed=seed)
    pointing = play_folder(
        data,
        model,
        out / "pointing-game",
        rows,
        settings,
        split="dev",
        workers=workers,
        progress=progress,
    )
    sheet = _contact_sheet(data, model, settings, size.sheet)
    save_figure(sheet, out / "contact-sheet", dpi=110)
    seconds = time.monotonic() - began
    page = _page(out, model, training, scores, pointing, settings, size, seconds)
    return DemoResult(page, training, scores, pointing, seconds, _kept(training.model, size.name))


def _kept(model: Path, name: str) -> str | None:
    """Keep the model under a name, in place of that of an earlier demo alone; None where that cannot be done."""
    try:
        add_model(model, name, made_by="cxrlens demo")
    except (UsageError, OSError) as error:  # the demo itself is finished
        log.warning("the model is not kept under a name: %s", error)
        return None
    return name


@contextmanager
def _claimed(out: Path, *, force: bool) -> Iterator[None]:
    """Make the folder, or take that of an earlier demo, whose data and training are removed: they, and nothing else.

    No other process writes into it meanwhile.
    """
    mark = out / _MARK
    is_demo = mark.is_file()
    with output_folder(
        out,
        _OUTPUTS,
        force=force and is_demo,
        known=_OUTPUTS if is_demo else (),
        remedy="give another --out (--force replaces an earlier demo only)",
    ):
        mark.touch()
        remove_own(out / "data", PHANTOM_FILES)
        remove_own(out / "run", RUN_FILES)
        for name, outputs in (("test", TEST_OUTPUTS), ("pointing-game", POINTING_OUTPUTS)):
            new_output(out / name, outputs, force=True, known=outputs if is_demo else ())
        yield


def _overrides(size: DemoSize, seed: int) -> dict[str, Any]:
    """The demo's changes of the recipe `small`; phantoms vary enough in exposure, and seven epochs are few."""
    return {
        "image_size": size.image_size,
        "epochs": size.epochs,
        "seed": seed,
        "augmentation.brightness": 0.0,
        "augmentation.contrast": 0.0,
    }


def _contact_sheet(data: Dataset, model: QualityModel, settings: PointingSettings, count: int) -> Any:
    """The first affected dev images with maps; each map's frame says hit or miss."""
    items = [item for item in data.split("dev").items if item.shapes][:count]
    batch = next(iter(BatchReader(items, model.preprocessing, batch_size=count, keep_pixels=True)))
    stored = [(image.height, image.width) for image in batch.images]
    results = model.inspect(batch.grey, stored, _SHEET_ROWS, fusion=settings.fusion)
    rows = []
    for item, decoded, result in zip(batch.items, batch.images, results, strict=True):
        assert decoded.pixels is not None
        distances = distance_to_objects(object_mask(item, decoded.height, decoded.width, model.preprocessing))
        panels = []
        for map_ in result.explanations:
            peak = find_peak(map_.values, seed=settings.seed)
            record = judge(peak, distances, settings.tolerance(model.preprocessing))
            title = row_title(Row(map_.method, map_.layers))
            panels.append(MapPanel(title, map_.values, (peak.row, peak.column), hit=record.outcome == "hit"))
        rows.append(
            SheetRow(
                name=item.name,
                image=decoded.pixels.numpy(),
                panels=panels,
                shapes=item.shapes or (),
                probability=result.probability,
            )
        )
    return contact_sheet(rows, title="Phantoms with foreign objects, and where the network looks")


def _page(
    out: Path,
    model: QualityModel,
    training: TrainingResult,
    scores: ScoreResult,
    pointing: PointingGameResult,
    settings: PointingSettings,
    size: DemoSize,
    seconds: float,
) -> Path:
    preprocessing, values = model.preprocessing, scores.scores
    best = max((row for row in pointing.table if row["kind"] == "method"), key=lambda row: row["accuracy"])
    baseline = max(
        (row for row in pointing.table if row["kind"] == "baseline" and not math.isnan(row["accuracy"])),
        key=lambda row: row["accuracy"],
    )
    images = training.counts["train"]
    columns = ("method", "layers", "resize", "accuracy", "95 % interval", "n", "tied")
    maps = _map_options(settings.fusion)
    return render_page(
        "report.html.jinja",
        out / "README.html",
        title="cxrlens demo",
        intro=[
            "A classifier was trained from random weights on procedural chest radiographs (phantoms) to tell pictures "
            "with foreign objects from normal ones. It never saw where the objects are. The maps below show where it "
            "looks; the Pointing Game counts how often a map's highest point lies on an object.",
            "These are drawings, not patients: the numbers prove that the pipeline works, not how well it does on "
            "radiographs. For research; not a medical device.",
        ],
        facts=[
            ("Network", f"{model.card.architecture}, {preprocessing.size}"),
            ("Training images", ", ".join(f"{n} {name}" for name, n in images.items())),
            ("Dev AUC", f"{values.auc:.3f} ({values.auc_interval.low:.3f} to {values.auc_interval.high:.3f})"),
            ("Best method", f"{row_title(Row(best['method'], best['layers']))}: {best['accuracy']:.3f}"),
            ("Best baseline", f"{row_title(Row(baseline['method'], ''))}: {baseline['accuracy']:.3f}"),
            ("Training precision", _PRECISIONS.get(training.precision, training.precision)),
            ("Time", f"{seconds / 60:.1f} minutes on {model.device}"),
        ],
        figures=[
            _figure(out / "contact-sheet.png", "Maps", "First column: the phantom with its annotated objects. Green "
                    "frame: the peak (cross) is a hit; orange: a miss."),
            _figure(out / "pointing-game" / "pointing_game.svg", "Pointing Game", "With 95 % intervals over images; "
                    "baselines know nothing of the network."),
            _figure(out / "test" / "roc.svg", "ROC", "On the dev images."),
            _figure(out / "test" / "reliability.svg", "Reliability", "On the dev images."),
        ],
        tables=[
            {
                "title": "Pointing Game on the dev images",
                "columns": columns,
                "rows": [
                    [
                        str(row["method"]),
                        str(row["layers"]),
                        str(RecordedResize.of_columns(row)),
                        _number(row["accuracy"]),
                        f"{_number(row['low'])} to {_number(row['high'])}",
                        str(row["n"]),
                        str(row["tied"]),
                    ]
                    for row in pointing.table
                ],
                "note": f"Tolerance {settings.tolerance(preprocessing):g} px at "
                f"{preprocessing.size}, unsmoothed, target 'affected'.",
            }
        ],
        commands=[
            (
                "The data",
                f"cxrlens data phantom {out / 'data'} --train {size.train} --dev {size.dev} --size {size.picture} "
                f"--seed {settings.seed}",
            ),
            (
                "The model",
                f"cxrlens train {out / 'data'} --arch {model.card.architecture} --recipe small "
                + " ".join(f"--set {name}={value}" for name, value in _overrides(size, settings.seed).items()),
            ),
            ("The scores", f"cxrlens test {out / 'data'} --model {training.model}"),
            ("The Pointing Game", f"cxrlens pointing-game {out / 'data'} --model {training.model}{maps}"),
            ("Overlays", f"cxrlens explain {out / 'data'} --model {training.model}{maps}"),
        ],
        footer=[f"cxrlens {cxrlens.__version__}, {timestamp()}"],
    )  # fmt: skip


def _map_options(fusion: Fusion) -> str:
    """The options of the demo's maps, where these are not the default."""
    resize = fusion.resize
    named = "" if resize == DEFAULT_RESIZE else f" --grid {resize.grid} --interpolation {resize.interpolation}"
    return named + (" --flip" if fusion.flip else "")


def _figure(path: Path, title: str, caption: str) -> dict[str, Any]:
    return {"title": title, "path": path, "alt": title, "caption": caption}


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
