"""The job behind ``cxrlens explain``: overlays, maps and a table for an image or a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cxrlens.dicom_out.results import DicomResults
from cxrlens.errors import NothingToDoError, UnreadableImageError, UsageError
from cxrlens.explanation.page import PAGE, ExplainedCard, write_explanation_page
from cxrlens.files import replacing, short_name, write_csv
from cxrlens.inputs.annotations.ground_truth import masked_objects
from cxrlens.inputs.annotations.table import clip_to_image, read_annotations
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.decoding import BatchReader, DecodedImage
from cxrlens.inputs.names import text_of
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.readers import Refusal, refusals
from cxrlens.inputs.remarked import report_remarked
from cxrlens.inputs.unreadable import report_unreadable, single_unreadable
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD, QualityModel
from cxrlens.inspection.record import ImageRecord
from cxrlens.inspection.result import ImageResult
from cxrlens.report.figures import save_figure
from cxrlens.report.overlays import MapPanel, overlay_figure
from cxrlens.report.row_titles import combination_of, row_title, smoothing_of
from cxrlens.saliency.explain import Row, make_row
from cxrlens.saliency.fusion import DEFAULT_FUSION, Fusion
from cxrlens.saliency.recorded_resize import resizes_of
from cxrlens.saliency.target import Target

log = logging.getLogger(__name__)

_COLUMNS = (
    "image",
    "probability",
    "decision",
    "triage",
    "method",
    "layers",
    "target",
    "combination",
    "smoothing",
    "grid",
    "interpolation",
    "flip",
    "precision",
    "peak_x",
    "peak_y",
    "flat",
    "map",
    "overlay",
    "remarks",
    "doubts",
    "refusals",
)


_ELSEWHERE = "elsewhere"

OUTPUTS = ("overlays", "maps", "dicom", "explanations.csv", PAGE, "unreadable.txt")
"""What `explain_images` writes right into its folder."""


@dataclass(frozen=True)
class ExplanationSettings:
    """The settings of an explanation.

    Attributes:
        target: the explained class, see `cxrlens.explain`.
        fusion: how the maps of layers are resized, combined and smoothed.
        seed: of ties and of the methods that draw random numbers.
        assess_any: explain images too that surely are no frontal chest radiographs.
    """

    target: Target = "affected"
    fusion: Fusion = DEFAULT_FUSION
    seed: int = 0
    assess_any: bool = False


@dataclass(frozen=True)
class _Explained:
    """An image with its name in the table and its result.

    Attributes:
        place: of its files in their folders, without the endings.
    """

    item: Item
    name: str
    place: Path
    decoded: DecodedImage
    result: ImageResult


@dataclass(frozen=True)
class ExplainResult:
    """The rows of ``explanations.csv``, what could not be read, and where the files are.

    Attributes:
        not_assessable: a sentence for each image that cannot be judged; it has a row without a map.
        page: shows all overlays.
    """

    rows: list[dict[str, Any]]
    unreadable: list[str]
    not_assessable: list[str]
    out: Path
    page: Path


def explain_images(
    sources: Sequence[Path],
    model: QualityModel,
    out: Path,
    rows: Sequence[Row],
    settings: ExplanationSettings,
    *,
    annotations: Path | None = None,
    split: str | None = None,
    dicom: DicomResults | None = None,
    batch_size: int = 8,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ExplainResult:
    """Explain images, and every image of folders or of one split of data sets.

    An image is called by its path below the one folder that is given; where several sources are, by its path below the
    working directory, or its whole path where it lies elsewhere. One that several sources hold is explained once.

    Writes into ``out``: ``overlays/NAME.png``, ``maps/NAME.METHOD.LAYERS.npy`` (float32 [h, w], the image at the
    network's scale without padding, scaled to [0, 1], as the Pointing Game sees it), ``explanations.csv`` and the page
    ``report.html``. Of an image that cannot be judged there are no maps, and the overlay is the radiograph alone.

    Args:
        dicom: also takes what the first row (see `reported_row`) says of each image.

    Raises:
        UsageError: on an unknown method, layer or target, or a missing folder or CSV.
        UnreadableImageError: when the one image given cannot be read.
        NothingToDoError: when the sources hold no readable image.
    """
    items, root = _items(sources, annotations, split)
    places = _places(items, root)
    reader = BatchReader(items, model.preprocessing, batch_size=batch_size, workers=workers, keep_pixels=True)
    written: list[dict[str, Any]] = []
    not_assessable: list[str] = []
    cards: list[ExplainedCard] = []
    done = 0
    for batch in reader:
        results = model.inspect(
            batch.grey,
            [(image.height, image.width) for image in batch.images],
            rows,
            target=settings.target,
            fusion=settings.fusion,
            seed=settings.seed,
            tie_seeds=[(settings.seed, image.index) for image in batch.images],
        )
        for item, decoded, result in zip(batch.items, batch.images, results, strict=True):
            name = item.name_in(root)
            remarked = result.with_remarks(decoded.remarks, assess_any=settings.assess_any)
            explained = _Explained(item, name, places[name], decoded, remarked)
            if remarked.not_assessed:
                not_assessable.append(f"{item.origin}: {remarked.not_assessed}")
            written += _write(explained, out, settings, model.precision)
            cards.append(ExplainedCard.of(text_of(Path(name)), out, overlay_of(explained.place), remarked))
            if dicom:
                _write_dicom(explained, dicom, reported_row(rows))
            done += 1
            if progress:
                progress(done + len(reader.unreadable), len(items))
    unreadable = reader.unreadable
    if not done:
        if len(sources) == 1 and not sources[0].is_dir():
            raise single_unreadable(reader.unreadable[0])
        report_unreadable(unreadable, out)
        named = ", ".join(map(str, sources[:3])) + (" ..." if len(sources) > 3 else "")
        whose = "its" if len(sources) == 1 else "their"
        raise NothingToDoError(f"{named}: none of {whose} {len(items)} images could be read")
    write_csv(out / "explanations.csv", _COLUMNS, written, paths=("image", "map", "overlay"))
    report_unreadable(unreadable, out)
    report_remarked([*map(Refusal, not_assessable), *(each for each in reader.remarked if not refusals([each]))])
    if dicom:
        dicom.report()
    page = write_explanation_page(
        out,
        model,
        cards,
        rows,
        maps=f"resize {resizes_of(written)}, {model.precision}",
        target=str(settings.target),
        unreadable=unreadable,
        seed=settings.seed,
    )
    return ExplainResult(written, unreadable, not_assessable, out, page)


def overlay_of(place: Path) -> str:
    """The path of an image's overlay from the folder of explanations on."""
    return f"overlays/{place.as_posix()}.png"


def reported_row(rows: Sequence[Row]) -> Row:
    """The row whose map goes into DICOM results: that of `QualityModel.check` if it is among them, else the first."""
    usual = make_row(DEFAULT_METHOD, DEFAULT_LAYERS)
    return usual if usual in rows else rows[0]


def dicom_results(out: Path, model: QualityModel, rows: Sequence[Row], settings: ExplanationSettings) -> DicomResults:
    """The DICOM results of explanations by a model, to be written into ``out``.

    Raises:
        UsageError: when highdicom is not installed, or maps show something else than what speaks for an object.
    """
    if settings.target != "affected":
        raise UsageError(
            "--dicom reports what speaks for a foreign object, which maps of another --target do not show; "
            "leave one of the two out"
        )
    row = reported_row(rows)
    fused = [combination_of(row, settings.fusion)]
    if settings.fusion.smooth is not None:
        fused.append(smoothing_of(settings.fusion))
    layers = ", ".join(filter(None, [row.layers, *fused]))
    facts = ModelFacts.now(model.identity, model.card, method=row.method, layers=layers, precision=model.precision)
    return DicomResults(out, facts)


def _items(sources: Sequence[Path], annotations: Path | None, split: str | None) -> tuple[list[Item], Path]:
    """The images, each once, and the folder that their names begin at."""
    items: dict[tuple[Path, str | None], Item] = {}
    if len(sources) > 1:
        sources = [Path(os.path.abspath(source)) for source in sources]  # noqa: PTH100 (links keep their own names)
    for source in sources:
        if source.is_dir():
            found: Sequence[Item] = Dataset(source).split_or_folder(split, annotations).items
        else:
            found = [_single(source, annotations)]
        for item in found:
            items.setdefault((item.path.absolute(), item.listed), item)
    if len(sources) > 1:
        return [*items.values()], Path.cwd()
    return [*items.values()], sources[0] if sources[0].is_dir() else sources[0].parent


def _places(items: Sequence[Item], root: Path) -> dict[str, Path]:
    """Where the files of each name go; those of a whole path lie in a folder of their own."""
    places: dict[str, Path] = {}
    names: dict[Path, Item] = {}
    for item in items:
        name = item.name_in(root)
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            path = Path(_ELSEWHERE, *(part for part in path.parts if part not in (path.anchor, "..")))
        places[name] = place = path.with_name(short_name(path.name))
        if (other := names.setdefault(place, item)) is not item:
            raise UsageError(
                f"{item.origin}: its results would have the name of those of {other.origin}; explain them one by one"
            )
    return places


def _single(path: Path, annotations: Path | None) -> Item:
    if annotations is None:
        return Item(FileOrigin(path))
    rows = read_annotations(annotations).match_one(path)
    for remark in (*rows.repeated, *rows.differences, *rows.doubts):
        log.warning("%s", remark)
    if path not in rows.rows:
        log.warning("%s has no row for %s", annotations, path.name)
    return Item(FileOrigin(path), shapes=rows.shapes_of(path))


def _write(image: _Explained, out: Path, settings: ExplanationSettings, precision: str) -> list[dict[str, Any]]:
    """Write the overlay and the maps of an image; returns its rows of the table, one without a map where none is."""
    result, place = image.result, image.place
    is_judged = not result.not_assessed
    of_image: dict[str, Any] = {
        "image": image.name,
        "probability": result.probability if is_judged else None,
        "decision": result.decision if is_judged else None,
        "triage": result.triage,
        "target": settings.target,
        **result.resize.columns(),
        "precision": precision,
        "overlay": overlay_of(place),
        "remarks": " ".join(result.remarks),
        "doubts": " ".join(result.doubts),
        "refusals": " ".join(result.refusals),
    }
    table = [] if result.explanations else [of_image]
    for map_ in result.explanations:
        file = out / "maps" / f"{place}.{map_.method.replace(':', '-')}.{map_.layers}.npy"
        with replacing(file) as partial, partial.open("wb") as stream:
            np.save(stream, map_.values)
        x, y = (None, None) if map_.peak is None else result.geometry.backward_point(*map(float, map_.peak[::-1]))
        of_map = {
            "method": map_.method,
            "layers": map_.layers,
            "combination": combination_of(Row(map_.method, map_.layers), settings.fusion),
            "smoothing": settings.fusion.smooth,
            **map_.resize.columns(),
            "peak_x": x,
            "peak_y": y,
            "flat": int(map_.flat),
            "map": file.relative_to(out).as_posix(),
        }
        table.append(of_image | of_map)
    save_figure(_overlay(image), out / "overlays" / place)
    return [{name: row.get(name) for name in _COLUMNS} for row in table]


def _overlay(image: _Explained) -> Figure:
    result, decoded, name = image.result, image.decoded, image.name
    assert decoded.pixels is not None
    shapes, remarks = clip_to_image(image.item.shapes or (), height=decoded.height, width=decoded.width, name=name)
    try:
        objects = (*shapes, *masked_objects(image.item, decoded.height, decoded.width))
    except UnreadableImageError as error:
        objects, remarks = (*shapes,), [*remarks, f"{error}; the overlay lacks its objects"]
    for remark in remarks:
        log.warning("%s", remark)
    panels = [
        MapPanel(row_title(Row(map_.method, map_.layers)), map_.values, map_.peak, "flat map" if map_.flat else None)
        for map_ in result.explanations
    ]
    title = f"{name}: not assessable"
    if not result.not_assessed:
        title = f"{name}: {result.triage or result.decision}, probability of affected {result.probability:.3f}"
    return overlay_figure(
        decoded.pixels.numpy(),
        panels,
        shapes=objects,
        title=title,
        remarks=result.remarks,
        extent=result.geometry.extent(),
    )


def _write_dicom(image: _Explained, dicom: DicomResults, row: Row) -> None:
    assert image.decoded.pixels is not None
    maps = [each for each in image.result.explanations if (each.method, each.layers) == (row.method, row.layers)]
    fields = image.result.with_maps(*maps).fields()
    fields["peak"] = None  # the objects' identifiers rest on the fields; theirs have never had the peak
    record = ImageRecord(name=text_of(Path(image.name)), **fields)
    shown = next((map_.values for map_ in maps if not map_.flat), None)
    dicom.add(image.item.path, record, image.place, shown, image.decoded.pixels.numpy())
