"""The job behind ``cxrlens explain``: overlays, maps and a table for an image or a folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrlens.dicom_out.results import DicomResults
from cxrlens.errors import NothingToDoError, UnreadableImageError, UsageError
from cxrlens.evaluation.pointing_game import find_peak
from cxrlens.files import replacing, short_name, write_csv
from cxrlens.inputs.annotations.ground_truth import masked_objects
from cxrlens.inputs.annotations.table import clip_to_image, read_annotations
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.decoding import Batch, BatchReader
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.unreadable import report_unreadable, single_unreadable
from cxrlens.inspection.contours import half_maximum_contours
from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD, QualityModel, picture_maps
from cxrlens.inspection.reasons import reason_of
from cxrlens.models.location import model_path
from cxrlens.report.figures import save_figure
from cxrlens.report.overlays import MapPanel, overlay_figure
from cxrlens.report.row_titles import combination_of, row_title, smoothing_of
from cxrlens.saliency.explain import DEFAULT_FUSION, Fusion, Row, RowMaps, make_row
from cxrlens.saliency.target import Target
from cxrlens.screening.folder import ScreeningInfo
from cxrlens.screening.record import ScreenedImage, text_of

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
    "peak_x",
    "peak_y",
    "flat",
    "map",
    "overlay",
)


@dataclass(frozen=True)
class ExplanationSettings:
    """How images are explained.

    Attributes:
        target: the explained class, see `cxrlens.explain`.
        fusion: how the maps of several layers are combined, and the smoothing.
        seed: of ties and of the methods that draw random numbers.
    """

    target: Target = "affected"
    fusion: Fusion = DEFAULT_FUSION
    seed: int = 0


@dataclass(frozen=True)
class ExplainResult:
    """The rows of ``explanations.csv``, what could not be read, and where the files are."""

    rows: list[dict[str, Any]]
    unreadable: list[str]
    out: Path


def explain_images(
    source: Path,
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
    """Explain one image, or every image of a folder or of one split of a data set.

    Writes into ``out``: ``overlays/NAME.png``, ``maps/NAME.METHOD.LAYERS.npy`` (float32 [h, w], the picture at the
    network's scale without padding, scaled to [0, 1], as the Pointing Game sees it) and ``explanations.csv``.

    Args:
        dicom: also takes what the first row (see `reported_row`) says of each image.

    Raises:
        UsageError: on an unknown method, layer or target, or a missing folder or CSV.
        UnreadableImageError: when the one image given cannot be read.
        NothingToDoError: when the folder holds no readable image.
    """
    if source.is_dir():
        items: Sequence[Item] = Dataset(source).split_or_folder(split, annotations).items
        root = source
    else:
        items, root = [_single(source, annotations)], source.parent
    reader = BatchReader(items, model.preprocessing, batch_size=batch_size, workers=workers, keep_pixels=True)
    written: list[dict[str, Any]] = []
    done = 0
    for batch in reader:
        result = model.explain_rows(
            batch.grey, rows, target=settings.target, fusion=settings.fusion, seed=settings.seed
        )
        for index, item in enumerate(batch.items):
            written += _write(index, item, batch, result, model, out, root, settings)
            if dicom:
                _write_dicom(dicom, index, item, batch, result, model, root, reported_row(rows))
            done += 1
            if progress:
                progress(done + len(reader.unreadable), len(items))
    if not done:
        if not source.is_dir():
            raise single_unreadable(reader.unreadable[0])
        report_unreadable(reader.unreadable, out)
        raise NothingToDoError(f"{source}: none of its {len(items)} images could be read")
    write_csv(out / "explanations.csv", _COLUMNS, written)
    report_unreadable(reader.unreadable, out)
    if dicom:
        dicom.report()
    return ExplainResult(written, reader.unreadable, out)


def reported_row(rows: Sequence[Row]) -> Row:
    """The row whose map goes into DICOM results: that of `QualityModel.check` if it is among them, else the first."""
    usual = make_row(DEFAULT_METHOD, DEFAULT_LAYERS)
    return usual if usual in rows else rows[0]


def dicom_results(
    out: Path, model: QualityModel, file: Path, rows: Sequence[Row], settings: ExplanationSettings
) -> DicomResults:
    """What writes the DICOM results of explanations by a model of a file (or run folder) into ``out``.

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
    info = ScreeningInfo.now(model_path(file), model.card, root="", method=row.method, layers=layers)
    return DicomResults(out, info)


def _single(path: Path, annotations: Path | None) -> Item:
    if annotations is None:
        return Item(FileOrigin(path))
    table = read_annotations(annotations)
    name = table.find(path)
    if name is None:
        log.warning("%s has no row for %s", annotations, path.name)
    return Item(FileOrigin(path), shapes=None if name is None else table.shapes[name])


def _write(
    index: int,
    item: Item,
    batch: Batch,
    result: RowMaps,
    model: QualityModel,
    out: Path,
    root: Path,
    settings: ExplanationSettings,
) -> list[dict[str, Any]]:
    decoded = batch.images[index]
    assert decoded.pixels is not None
    name = item.name_in(root)
    geometry = model.preprocessing.geometry(decoded.height, decoded.width)
    picture, flags = picture_maps(result, index, geometry)
    geometry = geometry.without_padding()
    probability = float(model.probability_of(result.logits[index : index + 1])[0])
    shapes, remarks = clip_to_image(item.shapes or (), height=decoded.height, width=decoded.width, name=name)
    try:
        objects = (*shapes, *masked_objects(item, decoded.height, decoded.width))
    except UnreadableImageError as error:
        objects, remarks = (*shapes,), [*remarks, f"{error}; the overlay lacks its objects"]
    for remark in remarks:
        log.warning("%s", remark)
    place = Path(name).with_name(short_name(Path(name).name))
    overlay = out / "overlays" / place
    table = []
    panels = []
    for row, map_ in picture.items():
        flat = flags[row]
        peak = None if flat else find_peak(map_, seed=(settings.seed, decoded.index))
        panels.append(
            MapPanel(
                row_title(row),
                map_,
                None if peak is None else (peak.row, peak.column),
                "flat map" if flat else None,
            )
        )
        file = out / "maps" / f"{place}.{row.method.replace(':', '-')}.{row.layers}.npy"
        with replacing(file) as partial, partial.open("wb") as stream:
            np.save(stream, map_)
        x, y = (None, None) if peak is None else geometry.backward_point(float(peak.column), float(peak.row))
        table.append(
            {
                "image": name,
                "probability": probability,
                "decision": model.decision(probability),
                "triage": model.triage(probability),
                "method": row.method,
                "layers": row.layers,
                "target": settings.target,
                "combination": combination_of(row, settings.fusion),
                "smoothing": settings.fusion.smooth,
                "peak_x": x,
                "peak_y": y,
                "flat": int(flat),
                "map": file.relative_to(out).as_posix(),
                "overlay": f"overlays/{place.as_posix()}.png",
            }
        )
    title = (
        f"{name}: {model.triage(probability) or model.decision(probability)}, probability of affected {probability:.3f}"
    )
    figure = overlay_figure(decoded.pixels.numpy(), panels, shapes=objects, title=title, extent=geometry.extent())
    save_figure(figure, overlay)
    return table


def _write_dicom(
    dicom: DicomResults,
    index: int,
    item: Item,
    batch: Batch,
    result: RowMaps,
    model: QualityModel,
    root: Path,
    row: Row,
) -> None:
    decoded = batch.images[index]
    assert decoded.pixels is not None
    name = item.name_in(root)
    geometry = model.preprocessing.geometry(decoded.height, decoded.width)
    maps, flags = picture_maps(result, index, geometry)
    flat = flags[row]
    probability = float(model.probability_of(result.logits[index : index + 1])[0])
    image = ScreenedImage(
        name=text_of(Path(name)),
        reason=reason_of(model.card, probability),
        probability=probability,
        decision=model.card.decision(probability),
        triage=model.triage(probability),
        height=decoded.height,
        width=decoded.width,
        method=row.method,
        layers=row.layers,
        flat=flat,
        contours=() if flat else half_maximum_contours(maps[row], geometry.without_padding()),
    )
    place = Path(name).with_name(short_name(Path(name).name))
    dicom.add(item.path, image, place, None if flat else maps[row], decoded.pixels.numpy())
