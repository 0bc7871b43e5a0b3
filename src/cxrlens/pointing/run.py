"""The job behind ``cxrlens pointing-game``: score maps and baselines on annotated images."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cxrlens.errors import NotAssessedError, NothingToDoError, UnreadableImageError, UsageError
from cxrlens.evaluation import baselines
from cxrlens.evaluation.bootstrap import Interval, bootstrap_means
from cxrlens.evaluation.pointing_game import PointingRecord, distance_to_objects, find_peak, judge
from cxrlens.evaluation.proportions import clopper_pearson_interval
from cxrlens.files import short_name, write_csv
from cxrlens.inputs.annotations.ground_truth import object_mask, object_masks
from cxrlens.inputs.annotations.shapes import parse_annotation
from cxrlens.inputs.annotations.table import read_annotations
from cxrlens.inputs.dataset.dataset import Dataset, log_remarks
from cxrlens.inputs.dataset.layouts import AFFECTED, Item, Split
from cxrlens.inputs.decoding import Batch, BatchReader
from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import require_file
from cxrlens.inputs.remarked import report_remarked
from cxrlens.inputs.unreadable import report_unreadable, single_unreadable
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.result import ImageResult
from cxrlens.pointing.gallery import draw_gallery, played_overlay
from cxrlens.pointing.page import PAGE, SCORES, TOLERANCES, GameFacts, tolerances_figure, write_game_page
from cxrlens.report.figures import save_figure, score_bar_figure
from cxrlens.report.row_titles import combination_of, row_title, smoothing_of
from cxrlens.saliency.explain import Row
from cxrlens.saliency.fusion import DEFAULT_FUSION, Fusion
from cxrlens.saliency.recorded_resize import NO_RESIZE, RecordedResize

log = logging.getLogger(__name__)

FloatMap = npt.NDArray[np.float32]

DEFAULT_TOLERANCE = 0.025  # share of the longer input side: 15 px at 600 px

_IMAGE_COLUMNS = (
    "image",
    "method",
    "layers",
    "outcome",
    "hit",
    "distance",
    "peak_row",
    "peak_column",
    "peak_x",
    "peak_y",
    "tied",
    "probability",
    "decision",
    "grid",
    "interpolation",
    "flip",
)
_ROW_COLUMNS = (
    "method",
    "layers",
    "kind",
    "accuracy",
    "n",
    "low",
    "high",
    "hits",
    "misses",
    "tied",
    "tolerance",
    "tolerance_share",
    "image_size",
    "resize",
    "combination",
    "smoothing",
    "grid",
    "interpolation",
    "flip",
    "target",
    "note",
)


OUTPUTS = (
    "pointing_game.csv",
    "per_image.csv",
    *(f"{name}.{kind}" for name in (SCORES, TOLERANCES) for kind in ("png", "svg")),
    PAGE,
    "unreadable.txt",
)
"""What `play_folder` writes right into its folder."""


def outputs_of(source: Path) -> tuple[str, ...]:
    """What is written right into the folder of a game: on a folder, or on one image, which gives its overlay."""
    return OUTPUTS if source.is_dir() else (f"{short_name(source.name)}.png",)


@dataclass(frozen=True)
class PointingSettings:
    """All that a score depends on beside model and images.

    Attributes:
        tolerance_share: of the longer side of the network's input.
        fusion: how the maps of layers are resized, combined and smoothed.
        target: the explained class: "affected", "predicted" or "true" (the label).
        seed: decides ties and drives the bootstrap of the random baseline.
    """

    tolerance_share: float = DEFAULT_TOLERANCE
    fusion: Fusion = DEFAULT_FUSION
    target: str = "affected"
    seed: int = 0

    def tolerance(self, preprocessing: Preprocessing) -> float:
        """In pixels of the network's input."""
        return self.tolerance_share * max(preprocessing.height, preprocessing.width)


@dataclass(frozen=True)
class PointingGameResult:
    """The rows of ``pointing_game.csv`` and ``per_image.csv``, and what could not be read."""

    table: list[dict[str, Any]]
    per_image: list[dict[str, Any]]
    unreadable: list[str]
    files: list[Path]

    @property
    def page(self) -> Path:
        """The page, which shows all of it."""
        return self.files[-1]


@dataclass(frozen=True)
class SingleResult:
    """The rows of one image (as in ``per_image.csv``) and its overlay.

    Attributes:
        tolerance: in pixels of the network's input.
    """

    per_image: list[dict[str, Any]]
    overlay: Path
    tolerance: float


def play_folder(
    data: Dataset,
    model: QualityModel,
    out: Path,
    rows: Sequence[Row],
    settings: PointingSettings,
    *,
    annotations: Path | None = None,
    train_annotations: Path | None = None,
    split: str | None = None,
    batch_size: int = 8,
    workers: int = 0,
    page: str = PAGE,
    progress: Callable[[int, int], None] | None = None,
) -> PointingGameResult:
    """Play the Pointing Game on every image of a folder (or of one split of a data set) that has an object.

    Args:
        data: a folder of images, or a data set with split folders.
        annotations: the CSV of a plain folder.
        train_annotations: the CSV of training images, beside their folder, for the mean-annotation baseline; a
            data set folder brings its own.
        page: name of the page's file.

    Writes ``pointing_game.csv``, ``per_image.csv``, figures and the page ``report.html`` into ``out``.

    Raises:
        UsageError: when the input cannot be used.
        NothingToDoError: when no readable image has an object.
    """
    folder = data.root
    chosen = data.split_or_folder(split, annotations)
    items = [item for item in chosen.items if item.has_object]
    if not items:
        raise NothingToDoError(f"{folder}: no image has an annotated object; give their CSV with `annotations`")
    train = _training_split(data, train_annotations)
    training_map = baselines.mean_annotation_map(object_masks(train.items, model.preprocessing)) if train else None
    reader = BatchReader(items, model.preprocessing, batch_size=batch_size, workers=workers)
    per_image: list[dict[str, Any]] = []
    bad_masks: list[str] = []
    done = 0
    for batch in reader:
        results = _inspected(batch, model, rows, settings)
        per_image += _judged(batch, results, model, settings, training_map, folder, bad_masks)
        done += len(batch.items)
        if progress:
            progress(done + len(reader.unreadable), len(items))
    unreadable = [*reader.unreadable, *bad_masks]
    report_unreadable(unreadable, out)
    report_remarked(reader.remarked)
    if not per_image:
        raise NothingToDoError(
            f"{folder}: none of its {len(items)} annotated images can be scored: "
            f"{len(unreadable)} cannot be read, the annotations of {done} lie outside their picture"
        )
    table = _table(per_image, rows, settings, model.preprocessing)
    write_csv(out / "pointing_game.csv", _ROW_COLUMNS, table)
    write_csv(out / "per_image.csv", _IMAGE_COLUMNS, per_image, paths=("image",))
    shown = [row for row in table if not math.isnan(row["accuracy"])]
    names = [row_title(Row(row["method"], row["layers"])) for row in shown]
    figure = score_bar_figure(
        names,
        [row["accuracy"] for row in shown],
        [row["low"] for row in shown],
        [row["high"] for row in shown],
        title=_title(chosen.name, shown),
        score_name=f"accuracy at a tolerance of {100 * settings.tolerance_share:g} % of the side",
        baselines=[name for name, row in zip(names, shown, strict=True) if row["kind"] == "baseline"],
    )
    files = [out / "pointing_game.csv", out / "per_image.csv"]
    files += save_figure(figure, out / SCORES, formats=("png", "svg"))
    figure = tolerances_figure(
        table,
        per_image,
        side=max(model.preprocessing.height, model.preprocessing.width),
        share=settings.tolerance_share,
        title=_title(chosen.name, shown),
    )
    files += save_figure(figure, out / TOLERANCES, formats=("png", "svg"))
    gallery = draw_gallery(
        items,
        folder,
        model.preprocessing,
        rows,
        per_image,
        lambda batch, rows: _inspected(batch, model, rows, settings),
    )
    played = {record["image"] for record in per_image}
    facts = GameFacts(
        data=folder.resolve().name,
        split=chosen.name,
        names=[item.name for item in items if item.name_in(folder) in played],
        table=table,
        per_image=per_image,
        tolerance_share=settings.tolerance_share,
        gallery=gallery,
        unreadable=unreadable,
        seed=settings.seed,
    )
    files.append(write_game_page(out / page, model, facts))
    return PointingGameResult(table, per_image, unreadable, files)


def play_image(
    item: Item, model: QualityModel, out: Path, rows: Sequence[Row], settings: PointingSettings
) -> SingleResult:
    """Play the Pointing Game on one annotated image; writes an overlay into ``out``.

    Raises:
        UnreadableImageError: when the image or its mask cannot be read.
        NothingToDoError: when the annotation marks nothing in the image.
    """
    image = item.path
    reader = BatchReader([item], model.preprocessing, keep_pixels=True)
    batch = next(iter(reader), None)
    if batch is None:
        raise single_unreadable(reader.unreadable[0])
    report_remarked(reader.remarked)
    decoded = batch.images[0]
    (result,) = _inspected(batch, model, rows, settings)
    if result.not_assessed:
        raise NotAssessedError(f"{image}: {result.not_assessed}")
    bad_masks: list[str] = []
    per_image = _judged(batch, [result], model, settings, None, image.parent, bad_masks)
    if bad_masks:
        raise UnreadableImageError(f"{bad_masks[0]}; give the mask of this image")
    if not per_image:
        empty = "marks no pixel" if item.mask else "lies wholly outside the picture"
        raise NothingToDoError(f"{image}: its {'mask' if item.mask else 'annotation'} {empty}")
    probability = per_image[0]["probability"]
    title = f"{image.name}: probability of affected {probability:.3f}"
    figure = played_overlay(item, decoded, result, per_image, title=title)
    overlay = save_figure(figure, out / short_name(image.name))[0]
    return SingleResult(per_image, overlay, settings.tolerance(model.preprocessing))


def annotated_item(
    image: Path, *, annotation: str | None = None, table: Path | None = None, mask: Path | None = None
) -> Item:
    """One image with the objects that one of the others gives.

    Args:
        annotation: in the CSV's notation ("0 10 20 30 40").
        table: a CSV with a row for the image.
        mask: an image of the same size in which the objects are not black.

    Raises:
        UsageError: when the annotation cannot be used.
        NothingToDoError: when it holds no object.
    """
    if mask is not None:
        return Item(FileOrigin(image), AFFECTED, mask=require_file(mask))
    if table is not None:
        rows = read_annotations(table).match_one(image)
        if image not in rows.rows:
            doubt = "".join(f" ({doubt})" for doubt in rows.doubts)
            raise UsageError(f"{table}: has no row for {image.name}{doubt}; add one, or give `annotation=TEXT`")
        for remark in (*rows.repeated, *rows.differences):
            log.warning("%s", remark)
        shapes = rows.rows[image].shapes
    else:
        try:
            shapes = parse_annotation(annotation or "")
        except ValueError as error:
            raise UsageError(f'cannot read `annotation`: {error}; a box is "0 x1 y1 x2 y2"') from error
    if not shapes:
        raise NothingToDoError(f"{image}: its annotation holds no object, so there is nothing to point at")
    return Item(FileOrigin(image), AFFECTED, shapes)


def _title(name: str, table: Sequence[dict[str, Any]]) -> str:
    return f"Pointing Game on {name}, {table[0]['n']} images"


def _training_split(data: Dataset, train_annotations: Path | None) -> Split | None:
    """The annotated training images for the mean-annotation baseline; None where there are none."""
    if train_annotations is not None:
        require_file(train_annotations)
        return log_remarks(Dataset(train_annotations.parent).split(train_annotations.stem))
    if "train" not in data.splits:
        return None
    try:
        split = data.split("train")
        return split if any(item.has_object for item in split.items) else None
    except UsageError as error:  # one baseline less is no reason to stop
        log.warning("no mean-annotation baseline: %s", error)
        return None


def _target(settings: PointingSettings, items: Sequence[Item]) -> str | Tensor:
    if settings.target != "true":
        return settings.target
    return Tensor([AFFECTED if item.label is None else item.label for item in items]).long()


def _inspected(
    batch: Batch, model: QualityModel, rows: Sequence[Row], settings: PointingSettings
) -> Iterator[ImageResult]:
    stored = [(image.height, image.width) for image in batch.images]
    target = _target(settings, batch.items)
    return model.inspect(batch.grey, stored, rows, target=target, fusion=settings.fusion, seed=settings.seed)


def _judged(
    batch: Batch,
    results: Iterable[ImageResult],
    model: QualityModel,
    settings: PointingSettings,
    training_map: FloatMap | None,
    root: Path,
    left_out: list[str],
) -> list[dict[str, Any]]:
    """Records of all rows and baselines for each image whose annotation lies in the image.

    Images whose mask cannot be read, or for which the model gives no number, are left out, and the reasons are added
    to ``left_out``.
    """
    tolerance = settings.tolerance(model.preprocessing)
    records: list[dict[str, Any]] = []
    for item, decoded, grey, result in zip(batch.items, batch.images, batch.grey, results, strict=True):
        name = item.name_in(root)
        if result.not_assessed:
            left_out.append(f"{item.origin}: {result.not_assessed}")
            continue
        try:
            mask = object_mask(item, decoded.height, decoded.width, model.preprocessing)
        except UnreadableImageError as error:
            left_out.append(str(error))
            continue
        if not mask.any():
            continue
        distances = distance_to_objects(mask)
        common = {"image": name, "probability": result.probability, "decision": result.decision}
        shown = [(map_.method, map_.layers, map_.values, map_.resize) for map_ in result.explanations]
        whole = model.preprocessing.geometry(decoded.height, decoded.width)
        shown += _baseline_maps(whole.cut(grey[0]).numpy(), training_map)
        for method, layers, map_, resize in shown:
            row_key = zlib.crc32(f"{method} {layers}".encode())  # a tie falls the same whatever else is asked for
            peak = find_peak(map_, seed=(settings.seed, decoded.index, row_key))
            record = judge(peak, distances, tolerance)
            records.append({**common, **_record_fields(record, result.geometry),
                            "method": method, "layers": layers, **resize.columns()})  # fmt: skip
        chance = baselines.random_hit_probability(distances, tolerance)
        records.append({**common, "method": "random", "layers": "", "outcome": "expected", "hit": chance,
                        **NO_RESIZE.columns()})  # fmt: skip
    return records


def _baseline_maps(grey: FloatMap, training_map: FloatMap | None) -> list[tuple[str, str, FloatMap, RecordedResize]]:
    maps = {"centre": baselines.centre_map(*grey.shape), "brightest": baselines.brightest_map(grey)}
    if training_map is not None:
        maps["mean_annotation"] = baselines.fitted(training_map, *grey.shape)
    return [(name, "", map_, NO_RESIZE) for name, map_ in maps.items()]


def _record_fields(record: PointingRecord, geometry: Geometry) -> dict[str, Any]:
    """Peaks in pixels of the map, which is the output of ``geometry``, and of the stored image."""
    outcome = {"outcome": record.outcome, "hit": float(record.outcome == "hit"), "tied": record.peak.tied}
    if record.peak.tied == geometry.out_height * geometry.out_width:  # a flat map points nowhere
        return outcome
    x, y = geometry.backward_point(float(record.peak.column), float(record.peak.row))
    return {
        **outcome,
        "distance": record.distance,
        "peak_row": record.peak.row,
        "peak_column": record.peak.column,
        "peak_x": x,
        "peak_y": y,
    }


def _table(
    per_image: Sequence[dict[str, Any]], rows: Sequence[Row], settings: PointingSettings, preprocessing: Preprocessing
) -> list[dict[str, Any]]:
    """One line per method and baseline."""
    lines = [*rows, *(Row(name, "") for name in baselines.BASELINES)]
    table = []
    for line in lines:
        records = [r for r in per_image if (r["method"], r["layers"]) == (line.method, line.layers)]
        hits = [record["hit"] for record in records]
        is_baseline = line.method in baselines.BASELINES
        interval = _interval(line, hits, settings.seed)
        resize = {name: record[name] for record in records[:1] for name in NO_RESIZE.columns()}
        table.append(
            {
                "method": line.method,
                "layers": line.layers,
                "kind": "baseline" if is_baseline else "method",
                "accuracy": float(np.mean(hits)) if hits else math.nan,
                "n": len(hits),
                "low": interval.low,
                "high": interval.high,
                "hits": sum(hits) if hits else None,
                "misses": len(hits) - sum(hits) if hits else None,
                "tied": sum(record.get("tied", 1) > 1 for record in records),
                "tolerance": settings.tolerance(preprocessing),
                "tolerance_share": settings.tolerance_share,
                "image_size": f"{preprocessing.width}x{preprocessing.height}",
                "resize": preprocessing.resize,
                "combination": combination_of(line, settings.fusion),
                "smoothing": smoothing_of(settings.fusion),
                **(resize or NO_RESIZE.columns()),
                "target": "" if is_baseline else settings.target,
                "note": "" if hits else "no training annotations at hand",
            }
        )
    return table


def _interval(line: Row, hits: Sequence[float], seed: int) -> Interval:
    """The 95 % interval of the accuracy; by bootstrap for the random baseline, whose hits are expected values."""
    if line.method != "random":
        return clopper_pearson_interval(sum(hits), len(hits))
    lows, highs = bootstrap_means(np.array([hits]), seed=seed)
    return Interval(float(lows[0]), float(highs[0]))
