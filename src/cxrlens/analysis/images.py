"""The images of many screened folders, each counted once, with what the model suggested and what readers said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from filelock import FileLock, Timeout

from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES
from cxrlens.models.calibration import Calibration
from cxrlens.outputs import LOCK
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.labels import label_of, resolved
from cxrlens.screening.reasons import Reasons
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.store import Store
from cxrlens.screening.store.verdicts import KeptVerdict
from cxrlens.screening.tags import iso_date


@dataclass(frozen=True)
class AnalysedImage:
    """One radiograph, however often it was screened.

    Attributes:
        suggestion: "retake", "review" or "pass" of a calibrated model, "affected" or "normal" of another;
            "not assessable", or "unreadable".
        probability: of *affected*; None of the last two.
        tags: of the file's header, those that were kept, by their names in `TAGS`.
        verdicts: that stand, one a reader, in the order of time.
        label: what they say of foreign objects, "affected" or "normal"; "" where they say nothing, contradict each
            other, or ask for a retake for another reason.
        reason: for the retake, as readers see it, of the last one who wants it; "" where none was given.
    """

    suggestion: str
    probability: float | None
    tags: Mapping[str, str]
    verdicts: tuple[KeptVerdict, ...] = ()
    label: str = ""
    reason: str = ""

    @property
    def is_assessed(self) -> bool:
        """The model has said something of it."""
        return self.probability is not None

    @property
    def is_suggested(self) -> bool:
        """The model suggests a retake."""
        return self.suggestion in ("retake", CLASS_NAMES[AFFECTED])

    @property
    def is_judged(self) -> bool:
        """Readers have judged it, and do not contradict each other."""
        return bool(self.verdicts) and not self.is_conflict

    @property
    def is_conflict(self) -> bool:
        """As many readers want a retake as accept it."""
        return bool(self.verdicts) and resolved(self.verdicts) == "conflict"

    @property
    def is_retaken(self) -> bool:
        """Readers, or most of them, want a retake."""
        return bool(self.verdicts) and resolved(self.verdicts) == "retake"

    @property
    def day(self) -> date | None:
        """When the image was taken, as far as that was kept."""
        text = iso_date(self.tags.get("date", ""))
        return date.fromisoformat(text) if text else None


@dataclass(frozen=True)
class ModelImages:
    """The images that one model has seen.

    Attributes:
        info: with what the newest of the folders was screened.
        calibration: of the model; None where it has none, or no folder tells.
        folders: that were screened with it.
        images: each content once.
    """

    info: ScreeningInfo
    calibration: Calibration | None
    folders: Sequence[str]
    images: Sequence[AnalysedImage]

    @property
    def name(self) -> str:
        """Tells models apart: the file's name, and the beginning of its digest."""
        return f"{self.info.model} ({self.info.model_sha256[:8]})"


@dataclass
class Found:
    """What the folders hold.

    Attributes:
        models: what each model has seen, that of the most images first.
        copies: images that were left out, as their content is counted already.
        replaced: verdicts that were left out, as their reader has said otherwise of the same content later, in another
            folder.
        without_day: images that were left out, as days were asked for and theirs is not known.
        out_of_range: images that were left out, as they were taken on another day.
        at_work: folders that are being screened at the moment.
        unstored: folders with results that their store does not hold yet.
    """

    models: list[ModelImages] = field(default_factory=list)
    copies: int = 0
    replaced: int = 0
    without_day: int = 0
    out_of_range: int = 0
    at_work: list[str] = field(default_factory=list)
    unstored: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Days:
    """The days of which images are wanted, both ends included; None = no end."""

    first: date | None = None
    last: date | None = None

    @property
    def is_limited(self) -> bool:
        return self.first is not None or self.last is not None

    def __contains__(self, day: date) -> bool:
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)


EVERY_DAY = Days()


@dataclass(frozen=True)
class _Opened:
    """A folder that was read: by content (or by name, where that could not be read) its images."""

    path: str
    info: ScreeningInfo
    calibration: Calibration | None
    images: Mapping[str, AnalysedImage]
    copies: int
    verdicts: Sequence[KeptVerdict]
    reasons: Reasons


def read_folders(
    paths: Iterable[Path],
    server: Server | None = None,
    days: Days = EVERY_DAY,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Read screened folders; nothing in them is changed, but for the store of an earlier version, which is brought up.

    The result of the folder that was screened last counts for an image that is in several; tags and verdicts of all
    of them are put together.

    Args:
        server: the database of folders whose reviews are in one.
        days: of which images are wanted.
        progress: called with the folders that were read, and all of them.

    Raises:
        UsageError: when one is no screened folder, or its store cannot be opened.
        StoreError: when a store cannot be read.
    """
    found, opened = Found(), list[_Opened]()
    chosen = {path.resolve(): path for path in paths}.values()
    for path in chosen:
        folder = ScreenedFolder(path)
        opened.append(_read(folder, server))
        if _is_at_work(path):
            found.at_work.append(str(path))
        if folder.unstored_file.exists():
            found.unstored.append(str(path))
        if progress:
            progress(len(opened), len(chosen))
    opened.sort(key=lambda one: one.info.created)
    verdicts = _merged_verdicts(opened, found)
    reasons = tuple({reason.id: reason for one in opened for reason in one.reasons}.values())
    by_model: dict[str, list[_Opened]] = {}
    for one in opened:
        by_model.setdefault(one.info.model_sha256, []).append(one)
    for group in by_model.values():
        images = _merged(group, found)
        judged = [_judged(image, verdicts.get(key, ()), reasons) for key, image in images.items()]
        found.models.append(_of_model(group, list(_on_days(judged, days, found))))
    found.models.sort(key=lambda model: -len(model.images))
    return found


def _of_model(group: Sequence[_Opened], images: list[AnalysedImage]) -> ModelImages:
    calibration = next((one.calibration for one in reversed(group) if one.calibration), None)
    return ModelImages(group[-1].info, calibration, [one.path for one in group], images)


def _read(folder: ScreenedFolder, server: Server | None) -> _Opened:
    info = folder.info()
    images, copies = dict[str, AnalysedImage](), 0
    with Store(folder, server if is_in_database(folder) else None, keep_connections=True) as store:
        verdicts = store.verdicts.standing()
        for image in store.results.newest():
            key = image.key or f"{folder.path.resolve()}\0{image.name}"
            copies += key in images
            known = images.get(key)
            made = AnalysedImage(_suggestion(image), image.probability, image.tags)
            images[key] = made if known is None else replace(known, tags={**made.tags, **known.tags})
    return _Opened(str(folder.path), info, folder.calibration(), images, copies, verdicts, folder.reasons())


def is_in_database(folder: ScreenedFolder) -> bool:
    """Whether a folder's reviews have been moved into a database; to open them there would move those of others."""
    place = folder.database()
    return place is not None and bool(place.place)


def _suggestion(image: ScreenedImage) -> str:
    if image.status == "unreadable":
        return "unreadable"
    return "not assessable" if image.probability is None else image.triage or image.decision or ""


def _merged(group: Sequence[_Opened], found: Found) -> dict[str, AnalysedImage]:
    """The images of folders that one model has screened, the one that was screened last being last."""
    images = dict[str, AnalysedImage]()
    for one in group:
        found.copies += one.copies + len(images.keys() & one.images.keys())
        for key, image in one.images.items():
            known = images.get(key)
            images[key] = image if known is None else replace(image, tags={**known.tags, **image.tags})
    return images


def _merged_verdicts(opened: Sequence[_Opened], found: Found) -> dict[str, list[KeptVerdict]]:
    """The last verdict of each reader on each content, whatever model it was screened with, in the order of time."""
    last = dict[tuple[str, str], KeptVerdict]()
    for kept in sorted((kept for one in opened for kept in one.verdicts), key=lambda kept: kept.time):
        place = kept.key, kept.reader
        found.replaced += place in last and last[place].verdict != kept.verdict
        last.pop(place, None)
        last[place] = kept
    verdicts = dict[str, list[KeptVerdict]]()
    for kept in last.values():
        verdicts.setdefault(kept.key, []).append(kept)
    return verdicts


def _judged(image: AnalysedImage, verdicts: Sequence[KeptVerdict], reasons: Reasons) -> AnalysedImage:
    if not verdicts:
        return image
    titles = {reason.id: reason.title for reason in reasons}
    last = next((kept.reason for kept in reversed(verdicts) if kept.verdict == "retake"), "")
    label = label_of(verdicts, reasons)
    return replace(image, verdicts=tuple(verdicts), label=label, reason=titles.get(last, last))


def _on_days(images: Iterable[AnalysedImage], days: Days, found: Found) -> Iterator[AnalysedImage]:
    for image in images:
        day = image.day
        if not days.is_limited or (day is not None and day in days):
            yield image
        elif day is None:
            found.without_day += 1
        else:
            found.out_of_range += 1


def _is_at_work(path: Path) -> bool:
    """True where a process screens into the folder at the moment."""
    if not (path / LOCK).exists():
        return False
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # a folder that may only be read, or a share without locks
        return False
    lock.release()
    return False
