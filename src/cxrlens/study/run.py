"""The job behind ``cxrlens study``: trainings, records, tables, figures, submission files and the report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from cxrlens.environment import describe_environment
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.files import plain, write_json, write_text
from cxrlens.inputs.dataset.dataset import Dataset, log_remarks
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.decoding import BatchReader, decode_images
from cxrlens.inputs.reading import Unreadable
from cxrlens.inputs.unreadable import report_unreadable
from cxrlens.inspection.quality_model import picture_maps
from cxrlens.models.model_file import load_model
from cxrlens.report.figures import save_figure
from cxrlens.report.overlays import MapPanel, overlay_figure
from cxrlens.report.row_titles import row_title
from cxrlens.report.tables import Table, save_table
from cxrlens.saliency.explain import Fusion, Row
from cxrlens.study.data import StudyData
from cxrlens.study.execution import Progress
from cxrlens.study.figures import all_figures
from cxrlens.study.findings import findings
from cxrlens.study.page import Foot, Gallery, GalleryEntry, PageFigure, Section, save_gallery_picture, study_page
from cxrlens.study.plan import StudyPlan
from cxrlens.study.processes import run_on
from cxrlens.study.records import Records
from cxrlens.study.results import Results
from cxrlens.study.subjects import Subject, find_subjects
from cxrlens.study.submission_csv import write_classification, write_localization
from cxrlens.study.tables import all_tables
from cxrlens.study.work import explained_classes, planned_rows, score_settings
from cxrlens.training.fitting import Hardware
from cxrlens.training.run import train_model

log = logging.getLogger(__name__)

_PLAN = "study.yaml"
_GALLERY_IMAGES = 3  # of each kind
_GALLERY_ROWS = 5
_SECTIONS = {
    "classification": ("Networks", "How well each network tells affected images from normal ones."),
    "pointing-game": ("Pointing Game", "Does the highest point of a map lie on an object?"),
    "smoothing": ("Smoothing", "The paper's first experiment, with ties drawn fairly."),
    "weights": ("Random weights", "The paper's second experiment: a map that finds objects without training shows the "
                "image, not the network."),
    "architectures": ("Architectures", "The paper's third experiment: the Difference of Means."),
    "tolerances": ("Tolerances", "The score means little without its tolerance."),
    "localisation": ("Whole maps", "How much of a map lies on the objects."),
    "froc": ("FROC", "The challenge's score, on images with and without objects."),
    "subgroups": ("Size and shape", "Which objects are found."),
    "detection": ("Found and missed images", "Maps of images that the network misses explain a wrong decision."),
    "layers": ("Layers", "What each layer gives alone, and what combining them adds."),
    "comparisons": ("Every two rows", "Paired differences, corrected for their number."),
    "ranking": ("Ranking", "Rows that cannot be told apart share a bar."),
    "consistency": ("Repeatability and reproducibility", "Do two trainings, or two architectures, give one map?"),
    "randomisation": ("Cascading randomisation", "A map that explains a network must change when the network does."),
    "perturbation": ("Stability", "Small changes of the image should leave a map as it is."),
    "faithfulness": ("Faithfulness", "Do the pixels that a map names carry the decision?"),
}  # fmt: skip


@dataclass(frozen=True)
class StudyResult:
    """What a study wrote, and what it says."""

    page: Path
    findings: list[str]
    tables: list[Path]
    unreadable: list[str]


def run(
    data: Dataset,
    out: Path,
    plan: StudyPlan,
    *,
    models: Sequence[Path] = (),
    devices: Sequence[str] = ("cpu",),
    workers: int = 0,
    progress: Progress | None = None,
    training_progress: Callable[[str, int, int], None] | None = None,
) -> StudyResult:
    """Run a study, or go on with it.

    Args:
        data: a data set folder.
        out: where everything goes; records that are there already are used.
        models: trained models, in place of the plan's models and training; the architectures of the study are then
            theirs.
        devices: a process for each.

    Raises:
        UsageError: when data, plan or models cannot be used, or ``out`` holds something else.
        NothingToDoError: when no image has an object.
    """
    _claim(out)
    split = data.scored_split(plan.split)
    plan, trained = _with_models(plan, models)
    _check_rows(plan)
    trained = _train(plan, data, out, trained, Hardware(torch.device(devices[0])), training_progress)
    study_data = StudyData.of(data.root, split, _train_split(data))
    if not study_data.annotated:
        raise NothingToDoError(f"{data.root}: no image of '{split.name}' has an annotated object; add {split.name}.csv")
    subjects = find_subjects(plan, trained)
    write_text(out / _PLAN, yaml.safe_dump(plain(plan.model_dump()), sort_keys=False))
    records = Records(out / "records" / score_settings(plan, study_data))
    run_on(devices, plan, study_data, subjects, records, workers=workers, progress=progress)
    results = Results(plan, study_data, subjects, records)
    if not results.indices:
        raise NothingToDoError(f"{data.root}: none of the {len(study_data.annotated)} annotated images can be read")
    unreadable = _unreadable(results, workers)
    report_unreadable(unreadable, out)
    log.info("tables, figures and report")
    return _report(out, results, devices[0], unreadable)


def _claim(out: Path) -> None:
    """Make the folder, or make sure that it is a study's."""
    if out.is_dir() and any(out.iterdir()) and not (out / _PLAN).is_file():
        raise UsageError(f"{out}: is not empty and holds no study ({_PLAN}); give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / _PLAN).is_file():
            write_text(out / _PLAN, "")
    except OSError as error:
        raise UsageError(f"{out}: cannot be made ({error.strerror or error}); choose another place") from error


def _with_models(plan: StudyPlan, models: Sequence[Path]) -> tuple[StudyPlan, dict[str, list[Path]]]:
    """The plan for the given models, and the trained models by architecture."""
    if not models:
        return plan, {name: list(paths) for name, paths in plan.models.items() if name in plan.architectures}
    found: dict[str, list[Path]] = {}
    for path in models:
        found.setdefault(load_model(path)[1].architecture, []).append(path)
    names = [name for name in plan.architectures if name in found]
    names += [name for name in found if name not in names]
    by_name = {name: tuple(found[name]) for name in names}
    changes: dict[str, Any] = {"architectures": tuple(names), "models": by_name, "training": None}
    return plan.model_copy(update=changes), found


def _check_rows(plan: StudyPlan) -> None:
    """Unknown methods are found before any training."""
    for architecture in plan.architectures:
        planned_rows(plan, architecture)


def _train(
    plan: StudyPlan,
    data: Dataset,
    out: Path,
    given: dict[str, list[Path]],
    hardware: Hardware,
    progress: Callable[[str, int, int], None] | None,
) -> dict[str, list[Path]]:
    """The given models, and for architectures without one those of the plan's trainings, made where they lack."""
    found = dict(given)
    if plan.training is None:
        return found
    for architecture in plan.architectures:
        if found.get(architecture):
            continue
        for seed in plan.training.seeds:
            run_dir = out / "runs" / f"{architecture}-seed{seed}"
            overrides = {**plan.training.settings, **plan.training.settings_of.get(architecture, {}), "seed": seed}
            started = (run_dir / "config.yaml").is_file()
            try:
                train_model(
                    data,
                    run_dir,
                    architecture=architecture,
                    recipe=plan.training.recipe,
                    overrides=overrides,
                    hardware=hardware,
                    resume=started,
                    progress=progress,
                )
            except NothingToDoError:
                log.info("%s is trained", run_dir)
            found.setdefault(architecture, []).append(run_dir)
    return found


def _train_split(data: Dataset) -> Any:
    if "train" not in data.splits:
        return None
    try:
        return log_remarks(data.split("train"))
    except UsageError as error:  # one baseline less is no reason to stop
        log.warning("no mean-annotation baseline: %s", error)
        return None


def _unreadable(results: Results, workers: int) -> list[str]:
    """Why images have no records; they are read once more, as the records do not say."""
    items = results.data.items(results.plan)
    read = set(results.all_indices)
    origins = [item.origin for index, item in enumerate(items) if index not in read]
    images = decode_images(origins, results.subjects[0].preprocessing, workers=workers)
    return [
        image.reason if isinstance(image, Unreadable) else f"{origin}: could not be read when it was its turn"
        for origin, image in zip(origins, images, strict=True)
    ]


def _report(out: Path, results: Results, device: str, unreadable: list[str]) -> StudyResult:
    tables = all_tables(results)
    paths = [path for table in tables for path in save_table(table, out / "tables")]
    figures: dict[str, list[PageFigure]] = {}
    for drawn in all_figures(results):
        _, svg = save_figure(drawn.figure, out / "figures" / drawn.name, formats=("png", "svg"))
        figures.setdefault(drawn.section, []).append(PageFigure(drawn.title, svg, drawn.alt))
    _submissions(out / "submissions", results)
    environment = describe_environment(device=device, seed=results.plan.seed)
    write_json(out / "environment.json", {**environment, "data_digest": results.data.digest})
    said = findings(results)
    write_text(out / "findings.md", "".join(f"- {sentence}\n" for sentence in said))
    page = study_page(
        out / "report.html",
        title=f"Study of saliency maps on {results.data.root.name}",
        summary=_summary(results),
        findings=said,
        sections=_sections(tables, figures),
        gallery=_gallery(out / "gallery", results, device),
        foot=Foot(
            command=environment["command"],
            versions=environment["versions"],
            data_hash=results.data.digest,
            commit=environment["commit"],
            seed=results.plan.seed,
            more=[("Networks", "; ".join(f"{s.title} ({s.id})" for s in results.subjects))],
        ),
    )
    return StudyResult(page, said, paths, unreadable)


def _summary(results: Results) -> list[str]:
    plan, count = results.plan, len(results.all_indices)
    preprocessing = results.subjects[0].preprocessing
    side = max(preprocessing.height, preprocessing.width)
    return [
        f"{results.n} images with foreign objects and {count - results.n} without, of the split "
        f"'{results.data.split}', seen at {preprocessing.size} by {len(results.subjects)} networks. A map is right "
        f"when its highest point lies within {100 * plan.tolerance:.3g} % of the side ({plan.tolerance * side:.3g} px) "
        f"of an object. The explained class is '{plan.target}'; maps of several layers are combined by "
        f"{plan.combination}.",
        "Scores in brackets are 95 % intervals over images, and over seeds where there are several; with two or three "
        "seeds the intervals speak of these trainings more than of the recipe."
        + (" Our trainings choose their epoch by the AUC on these same images." if results.data.split == "dev" else ""),
    ]


def _sections(tables: Sequence[Table], figures: dict[str, list[PageFigure]]) -> list[Section]:
    sections = []
    for name, (title, text) in _SECTIONS.items():
        own = [table for table in tables if table.name == name or table.name.startswith(f"{name}-")]
        drawn = [f for key, some in figures.items() if key == name or key.startswith(f"{name}-") for f in some]
        if own or drawn:
            sections.append(Section(title, [text], own, drawn))
    return sections


def _submissions(folder: Path, results: Results) -> None:
    """The challenge's two files for each trained network, points from its best combined or last row."""
    items = results.data.items(results.plan)
    for group in results.trained:
        rows = results.rows(group)
        row = rows[int(np.argmax(results.hits(group, rows).mean(axis=(1, 2))))]
        for subject in group.subjects:
            names = [items[index].name for index in results.all_indices]
            if len(set(names)) != len(names):
                log.warning("no submission files: two images of the split share a name")
                return
            place = folder / f"{group.architecture}-{subject.seed}"
            probabilities = results.all_probabilities(subject).tolist()
            write_classification(place / "classification.csv", zip(names, probabilities, strict=True))
            points = results.predictions(subject, row)
            write_localization(
                place / "localization.csv",
                ((name, [(p.confidence, p.x, p.y) for p in some]) for name, some in zip(names, points, strict=True)),
            )


def _gallery(folder: Path, results: Results, device: str) -> Gallery:
    """Best, worst and most disputed images of the first trained network."""
    if not results.trained:
        return Gallery()
    group = results.trained[0]
    rows = _gallery_rows(results)
    hits = results.hits(group, results.rows(group))[:, 0]
    distances = np.minimum(results.scores(group, results.rows(group), "distance")[:, 0], 1e6)
    agreed = hits.mean(axis=0)
    by_score = np.lexsort((distances.mean(axis=0), -agreed))
    count = min(_GALLERY_IMAGES, results.n // 2)
    best, worst = list(by_score[:count]), list(by_score[::-1][:count])
    taken = {*best, *worst}
    disputed = [place for place in np.argsort(np.abs(agreed - 0.5), kind="stable") if place not in taken][:count]
    chosen = {"best": best, "worst": worst, "disputed": disputed}
    items = [results.data.annotated[results.indices[place]] for places in chosen.values() for place in places]
    drawn = _overlays(folder, results, group.subjects[0], rows, items, device)
    entries: dict[str, list[GalleryEntry]] = {}
    for name, places in chosen.items():
        entries[name] = [drawn[results.data.annotated[results.indices[place]].path] for place in places]
    return Gallery(**entries)


def _gallery_rows(results: Results) -> list[Row]:
    """Grad-CAM, and the best rows of other methods."""
    group = results.trained[0]
    rows = results.rows(group)
    means = results.hits(group, rows).mean(axis=(1, 2))
    chosen = [row for row in rows if row.method == "grad_cam"][:1]
    for place in np.argsort(-means, kind="stable"):
        if rows[place].method not in {row.method for row in chosen} and len(chosen) < _GALLERY_ROWS:
            chosen.append(rows[place])
    return chosen


def _overlays(
    folder: Path, results: Results, subject: Subject, rows: list[Row], items: list[Item], device: str
) -> dict[Path, GalleryEntry]:
    from cxrlens.evaluation.pointing_game import distance_to_objects, find_peak
    from cxrlens.inputs.annotations.ground_truth import annotated_objects, object_mask

    model = subject.load(device)
    limit = results.plan.tolerance * max(subject.preprocessing.height, subject.preprocessing.width)
    found = {}
    for number, batch in enumerate(BatchReader(items, subject.preprocessing, batch_size=1, keep_pixels=True)):
        (item,), (image,) = batch.items, batch.images
        maps = model.explain_rows(
            batch.grey,
            rows,
            target=explained_classes(results.plan, batch.items),
            fusion=Fusion(results.plan.combination),
            seed=results.plan.seed,
        )
        distances = distance_to_objects(object_mask(item, image.height, image.width, subject.preprocessing))
        geometry = subject.preprocessing.geometry(image.height, image.width)
        drawn, flags = picture_maps(maps, 0, geometry)
        panels = []
        for row in rows:
            map_, flat = drawn[row], flags[row]
            peak = find_peak(map_, seed=results.plan.seed)
            distance = float(distances[peak.row, peak.column])
            hit = distance < limit and not flat
            note = "flat map" if flat else f"{'hit' if hit else 'miss'}, {distance:.1f} px"
            panels.append(MapPanel(row_title(row), map_, None if flat else (peak.row, peak.column), note, hit))
        assert image.pixels is not None
        figure = overlay_figure(
            image.pixels.numpy(),
            panels,
            shapes=annotated_objects(item),
            title=item.name,
            extent=geometry.without_padding().extent(),
        )
        path = save_gallery_picture(figure, folder / f"{number:02d}")
        probability = float(maps.logits.softmax(1)[0, 1])
        caption = f"{subject.title}: probability of affected {probability:.3f}"
        found[item.path] = GalleryEntry(item.name, caption, path)
    return found
