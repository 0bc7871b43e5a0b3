"""The job behind ``cxrlens data prepare``: one data set with a manifest, made of whatever the source is."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import cxrlens
from cxrlens.dataset.prepare.journal import Journal, PreparedImage
from cxrlens.dataset.prepare.patients import with_patients
from cxrlens.dataset.prepare.record import ClassNames, Found, Record, distinct
from cxrlens.dataset.prepare.sources import KINDS, SourceKind, detect_kind
from cxrlens.dataset.prepare.split import How, SplitRule, choose_rule, split_rows
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.dataset.prepare.write import (
    IMAGES,
    MASKS,
    Form,
    ImagePreparer,
    ImageToPrepare,
    PreparedOutcome,
    geometry_of,
    is_written,
    key,
)
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.files import is_partial, plain, sha256_of, write_json
from cxrlens.inputs.annotations.shapes import Shape, map_points
from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES, NORMAL, SPLIT_NAMES
from cxrlens.inputs.dataset.manifest import MANIFEST, ManifestRow, write_manifest
from cxrlens.inputs.finding import require_folder
from cxrlens.inputs.origin import FileOrigin, Origin
from cxrlens.inputs.readers import Note, decode
from cxrlens.inputs.reading import Unreadable, attempt, read_each
from cxrlens.inputs.remarked import remarked
from cxrlens.inputs.unreadable import report_unreadable
from cxrlens.outputs import LOCK, claimed, remove_partials
from cxrlens.wording import counted

log = logging.getLogger(__name__)

PREPARED = "prepared.json"  # what the data set was made from; marks a folder as one of ours
_JOURNAL = ".prepared.jsonl"


@dataclass(frozen=True)
class Options:
    """The user's choices; recorded in ``prepared.json``.

    Attributes:
        kind: of the source, see `cxrlens.dataset.prepare.sources`; None = by its looks.
        images: where the images of a CSV or a COCO JSON lie; None = beside it.
        names: class names.
        form: what becomes of the files.
        relative: images that stay where they are are named from the data set's folder on, not from the root.
        how, dev_share, test_share, seed: see `choose_rule`.
        dev_as_test: images of dev count as test too.
        patient_pattern: finds the patient in a file's name.
    """

    kind: str | None = None
    images: Path | None = None
    names: ClassNames = field(default_factory=ClassNames)
    form: Form = field(default_factory=Form)
    relative: bool = False
    how: How | None = None
    dev_share: float | None = None
    test_share: float | None = None
    dev_as_test: bool = False
    patient_pattern: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class PrepareResult:
    """The result of a preparation.

    Attributes:
        manifest: its file.
        kind: of the source.
        counts: images per split and class.
        rule: how the splits were made.
        made: images read and, where asked for, written by this run; ``reused``: those of an earlier run.
        remarks: what was odd.
        unreadable: a sentence for each image that was left out.
    """

    manifest: Path
    kind: str
    counts: dict[str, dict[str, int]]
    rule: SplitRule
    made: int
    reused: int
    remarks: list[str]
    unreadable: list[str]


def prepare(
    source: Path,
    out: Path,
    options: Options,
    *,
    force: bool = False,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PrepareResult:
    """Make a data set of a source, or go on with it.

    Writes ``manifest.csv`` last; before it ``images/`` and ``masks/`` where files are copied or resized, and
    ``prepared.json``, which says what the data set was made from.

    Args:
        source: a folder or file of any kind in `KINDS`.
        out: a new folder, or one that this source was prepared to before.
        force: replace a data set that was prepared from another source or otherwise.
        workers: loader processes.
        progress: called with (images done, images in all).

    Raises:
        UsageError: when the source or an option cannot be used, or ``out`` holds something else.
        NothingToDoError: when the source holds no image that can be read.
    """
    source, out = source.resolve(), out.resolve()
    kind, found = _scan(source, out, options)
    for remark in found.remarks:
        log.warning("%s", remark)
    records = with_patients(distinct(found.records), options.patient_pattern)
    if not records:
        reasons = f", and {len(found.refused)} that cannot be used: {found.refused[0]}" if found.refused else ""
        raise NothingToDoError(f"{source}: holds no images that can be prepared{reasons}")
    rule = choose_rule(records, options.how, options.dev_share, options.test_share, options.seed)
    if options.dev_as_test:
        _check_dev_as_test(records, rule)
    _try_draw(records, rule)
    log.info("%s (%s): %d images; splits: %s", source, kind.id, len(records), _rule_text(rule))
    claim = _claim_of(source, kind, options)
    with _alone_in(out):
        _claim(out, claim, force=force)
        journal = Journal(out / _JOURNAL)
        keys = [key(record, options.form) for record in records]
        outcomes = _make_all(records, keys, journal, out, options.form, workers, progress)
        unreadable = [*found.refused, *(outcome.reason for outcome in outcomes if isinstance(outcome, Unreadable))]
        report_unreadable(unreadable, out)
        made = [
            (record, outcome.image)
            for record, outcome in zip(records, outcomes, strict=True)
            if isinstance(outcome, PreparedOutcome)
        ]
        if not made:
            raise NothingToDoError(f"{source}: none of its {len(unreadable)} images can be read: {unreadable[0]}")
        remarks = [*found.remarks, *_other_sizes(made), *_displayed_oddly(made)]
        for remark in remarks[len(found.remarks) :]:
            log.warning("%s", remark)
        rows = split_rows([_row(record, each, source, out, options) for record, each in made], rule)
        rows.sort(key=lambda row: (SPLIT_NAMES.index(row.split), row.name))
        if options.dev_as_test:
            rows += [replace(row, split="test") for row in rows if row.split == "dev"]
        counts = _counts(rows)
        write_json(
            out / PREPARED,
            {**claim, "split_rule": asdict(rule), "counts": counts, "unreadable": len(unreadable), "remarks": remarks},
        )
        write_manifest(out / MANIFEST, rows)
        _tidy(
            out, journal, {k for k, outcome in zip(keys, outcomes, strict=True) if isinstance(outcome, PreparedOutcome)}
        )
        reused = sum(isinstance(outcome, PreparedOutcome) and outcome.reused for outcome in outcomes)
        return PrepareResult(out / MANIFEST, kind.id, counts, rule, len(made) - reused, reused, remarks, unreadable)


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """No other process prepares into the folder meanwhile; one of something else is left alone."""
    try:
        if out.exists() and not (out / PREPARED).is_file() and _holds_something(out):
            raise UsageError(f"{out}: is not empty and holds no prepared data set ({PREPARED}); give another place")
    except OSError as error:
        raise UsageError(f"{out}: cannot be made ({error.strerror or error}); choose another place") from error
    with claimed(out, "preparing", "a place"):
        yield


def _holds_something(out: Path) -> bool:
    return not out.is_dir() or any(not (path.name == LOCK or is_partial(path.name)) for path in out.iterdir())


def _scan(source: Path, out: Path, options: Options) -> tuple[SourceKind, Found]:
    if not source.exists():
        raise UsageError(f"{source}: no such file or folder; check the path")
    if options.images is not None and source.is_dir():
        raise UsageError("--images is for a CSV or a COCO JSON whose images lie elsewhere; give such a file as source")
    root = source if source.is_dir() else source.parent
    if options.images is not None:
        root = require_folder(options.images).resolve()
    within = out == root or root in out.parents
    if within and (source.is_dir() or options.images is not None):  # else a table in a folder that may hold all kinds
        raise UsageError(f"{out}: lies within the images of the source; give a place beside {root}")
    tree = Tree(root, without=out)
    kind = detect_kind(source, tree) if options.kind is None else KINDS[options.kind]
    return kind, kind.scan(source, tree, options.names)


def _check_dev_as_test(records: Sequence[Record], rule: SplitRule) -> None:
    given = {record.split for record in records} if rule.how == "given" else set()
    if rule.test_share or "test" in given:
        raise UsageError("--dev-as-test: there is a split 'test' already; leave the option out")
    if not rule.dev_share and "dev" not in given:
        raise UsageError("--dev-as-test: there is no split 'dev'; draw one with --dev-share")


def _try_draw(records: Sequence[Record], rule: SplitRule) -> None:
    """Finds what cannot be drawn before the images are read, which takes long; labels of masks show only then.

    Where no image can be read at all, that is the trouble, and it shows later.
    """
    rows = [
        ManifestRow(record.name, "", record.split, CLASS_NAMES[record.label], patient_id=record.patient_id)
        for record in records
        if record.label is not None
    ]
    if len(rows) < len(records):
        return
    try:
        split_rows(rows, rule)
    except UsageError:
        if any(map(_is_readable, records)):
            raise


def _is_readable(record: Record) -> bool:
    return not isinstance(attempt(lambda record: decode(record.origin.read(), record.name), record), Unreadable)


def _rule_text(rule: SplitRule) -> str:
    drawn = [f"{share:.0%} {name}" for name, share in (("dev", rule.dev_share), ("test", rule.test_share)) if share]
    if rule.how == "given":
        return "as given" + (f", {' and '.join(drawn)} drawn from train" if drawn else "")
    return f"{' and '.join(drawn) or 'all train'}, drawn {'by patient' if rule.how == 'patient' else 'at random'}"


def _claim_of(source: Path, kind: SourceKind, options: Options) -> dict[str, Any]:
    """The choices in which two runs must agree to be the same."""
    chosen = json.loads(json.dumps(plain(asdict(options) | {"kind": kind.id})))
    return {"cxrlens": cxrlens.__version__, "source": str(source), "options": chosen}


def _claim(out: Path, claim: dict[str, Any], *, force: bool) -> None:
    """Make sure that the folder may be gone on with, or begin it.

    An earlier manifest of other options goes before the first file is replaced.
    """
    mark = out / PREPARED
    try:
        earlier = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else claim
        if not {"cxrlens", "source", "options"} <= earlier.keys():
            raise UsageError(f"{mark}: says nothing of a data set that cxrlens prepared; give another place")
        changed = [name for name in ("source", "options") if earlier.get(name) != claim[name]]
        if changed and not force:
            other = f"from {earlier.get('source')}" if "source" in changed else "with other options"
            raise UsageError(f"{out}: was prepared {other} (see its {PREPARED}); give another place, or --force")
        if changed:
            (out / MANIFEST).unlink(missing_ok=True)
        if changed or not mark.is_file():
            write_json(mark, claim)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made ({error.strerror or error}); choose another place") from error
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{mark}: cannot be read ({error}); remove the folder, or give another place") from error


def _make_all(
    records: Sequence[Record],
    keys: Sequence[str],
    journal: Journal,
    out: Path,
    form: Form,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> list[PreparedOutcome | Unreadable]:
    earlier = [journal.find(each) for each in keys]
    if form.size is None:
        copied = [record.origin for record, made in zip(records, earlier, strict=True) if made is None]
        needed = sum(origin.size() for origin in copied if is_written(origin, form))
        free = shutil.disk_usage(out).free
        if needed > free:
            raise UsageError(
                f"{out}: the images need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
                "make room, choose another place, or give --size"
            )
    if None in earlier:  # files may be replaced that the manifest of an earlier run speaks of
        (out / MANIFEST).unlink(missing_ok=True)
    outcomes: list[PreparedOutcome | Unreadable] = []
    tasks = map(ImageToPrepare, records, earlier)
    for name, (_, outcome) in zip(keys, read_each(ImagePreparer(form, out), tasks, workers=workers), strict=True):
        if isinstance(outcome, PreparedOutcome) and not outcome.reused:
            journal.add(name, outcome.image)
        outcomes.append(outcome)
        if progress:
            progress(len(outcomes), len(records))
    return outcomes


def _other_sizes(made: Sequence[tuple[Record, PreparedImage]]) -> list[str]:
    """A remark where images have another size than their source says."""
    odd = [record for record, each in made if record.stated not in (None, (each.source_height, each.source_width))]
    if not odd:
        return []
    return [
        f"{counted(len(odd), 'image has', 'images have')} another size than the source says, so that their objects may "
        f"lie elsewhere, such as "
        f"{odd[0].origin}"
    ]


def _displayed_oddly(made: Sequence[tuple[Record, PreparedImage]]) -> list[str]:
    """A remark where images of the source have remarks; one in doubt is the example, where there is one."""
    odd = [remarked(record.origin, each.remarks) for record, each in made if each.remarks]
    if not odd:
        return []
    what = counted(
        len(odd),
        "image looks wrong or was not taken as its file says",
        "images look wrong or were not taken as their files say",
    )
    return [f"{what} ('cxrlens data check' lists them), such as {min(odd, key=lambda line: isinstance(line, Note))}"]


def _row(record: Record, made: PreparedImage, source: Path, out: Path, options: Options) -> ManifestRow:
    label = record.label
    if label is None:
        label = AFFECTED if made.has_mask or record.shapes else NORMAL
    root = source if source.is_dir() else source.parent
    mask = ""
    if record.mask is not None and made.has_mask:
        mask = made.mask_path or _reference(record.mask, out, relative=options.relative)
    return ManifestRow(
        name=record.name,
        path=made.path or _reference(record.origin, out, relative=options.relative),
        split=record.split,
        label=CLASS_NAMES[label],
        annotation=tuple(_moved(shape, made) for shape in record.shapes),
        mask=mask,
        patient_id=record.patient_id,
        sha256=made.sha256,
        height=made.height,
        width=made.width,
        source=record.origin.below(root),
        source_sha256=made.source_sha256,
    )


def _reference(origin: Origin, out: Path, *, relative: bool) -> str:
    assert isinstance(origin, FileOrigin), "members of archives are written"
    return Path(os.path.relpath(origin.path, out) if relative else origin.path).as_posix()


def _moved(shape: Shape, made: PreparedImage) -> Shape:
    """In pixels of the image in the data set, to a thousandth."""
    geometry = geometry_of(made)
    if (made.height, made.width) == (made.source_height, made.source_width):
        return shape
    return map_points(geometry.forward_shape(shape), lambda x, y: (round(x, 3), round(y, 3)))


def _counts(rows: Sequence[ManifestRow]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        split = counts.setdefault(row.split, dict.fromkeys(CLASS_NAMES, 0))
        split[row.label] += 1
    return counts


def _tidy(out: Path, journal: Journal, keys: set[str]) -> None:
    """Remove files of earlier runs that no row names any more, unless changed since, and what a killed run left."""
    before = journal.files()
    journal.keep(keys)
    kept = journal.files()
    for path, sha256 in before.items():
        is_below = PurePosixPath(path).parts[0] in (IMAGES, MASKS) and ".." not in PurePosixPath(path).parts
        if path not in kept and is_below and (out / path).is_file() and sha256_of(out / path) == sha256:
            (out / path).unlink()
    remove_partials(out, (IMAGES, MASKS))
