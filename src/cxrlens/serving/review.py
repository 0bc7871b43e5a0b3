"""The worklist of a screened folder, with the readers' verdicts."""

from __future__ import annotations

import math
from pathlib import Path

from cxrlens.errors import CxrlensError
from cxrlens.inputs.origin import KnownOrigin
from cxrlens.screening.agreement import Agreement, agreements
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.roots import origin_of, root_of
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.review import ResultCounts, Show, worklist_part
from cxrlens.screening.store.store import Store
from cxrlens.screening.store.verdicts import NO_GROUNDS, SEES_ALL, GivenVerdict, Grounds, Sight, Verdict
from cxrlens.serving.answers import PairAgreement, ReaderAgreement, Worklist, WorklistImage

_ALL = 2**62


class UnfitGroundsError(CxrlensError):
    """A reason, a comment or drawn objects that do not go with a verdict."""


class Review:
    """A screened folder under review; its results may still grow.

    Args:
        server: see `Store`.

    Attributes:
        folder: the screened folder.
        store: its results and verdicts.

    Raises:
        UsageError: when it is no screened folder, or its store cannot be opened.
    """

    def __init__(self, path: Path, model_name: str, model_sha256: str, server: Server | None = None) -> None:
        self.folder = ScreenedFolder(path)
        self._model = model_name, model_sha256
        self.folder.info()
        self.store = Store(self.folder, server)
        self._counts = ResultCounts()

    def remark(self, info: ScreeningInfo | None = None) -> str:
        """A remark on the folder that a reader must know, "" where there is none."""
        info = info or self.folder.info()
        name, digest = self._model
        if info.model_sha256 == digest:
            return ""
        return (
            f"the folder was screened with another model than {name}, which the server explains uploads with: their "
            f"probabilities cannot be compared ({info.model}, SHA-256 {info.model_sha256[:8]}..., instead of "
            f"{digest[:8]}...)"
        )

    def part(
        self, *, show: Show = "all", offset: int = 0, limit: int = 200, reader: str = "", sight: Sight = SEES_ALL
    ) -> Worklist:
        """A part of the worklist as a reader sees it, see `worklist_part`."""
        part = worklist_part(self.store.database, show, offset, limit, reader, sight, self._counts)
        info = self.folder.info()
        remark = self.remark(info)
        return Worklist(
            folder=self.folder.path.resolve().name,
            model=info.model,
            same_model=not remark,
            created=info.created,
            remark=remark,
            threshold=info.threshold,
            review_threshold=info.review_threshold,
            total=part.total,
            shown=part.shown,
            unreadable=part.unreadable,
            decided=part.decided,
            conflicts=part.conflicts,
            offset=offset,
            images=tuple(_answer(*image) for image in part.images),
        )

    def give(
        self,
        key: str,
        verdict: Verdict,
        seen: Verdict | None = None,
        request: str | None = None,
        *,
        reader: str = "",
        grounds: Grounds = NO_GROUNDS,
        seen_grounds: Grounds | None = None,
    ) -> GivenVerdict | None:
        """Let a verdict on an image stand, see `VerdictTable.give`; None where no image has this key.

        Raises:
            UnfitGroundsError: when they do not go with the verdict, or the folder does not have the reason.
        """
        if grounds != NO_GROUNDS:
            if not self.store.results.has(key):
                return None
            self._check(verdict, grounds)
        return self.store.verdicts.give(
            key,
            verdict,
            lambda: self.folder.info().model_sha256,
            seen,
            request,
            reader=reader,
            grounds=grounds,
            seen_grounds=seen_grounds,
        )

    def _check(self, verdict: Verdict, grounds: Grounds) -> None:
        if verdict == "none" and grounds != NO_GROUNDS:
            raise UnfitGroundsError(
                "a verdict is withdrawn without a reason, a comment and drawn objects; leave them out"
            )
        if not grounds.reason:
            return
        if verdict != "retake":
            raise UnfitGroundsError("a reason goes with a retake alone; write what else is to be said as a comment")
        ids = [reason.id for reason in self.folder.reasons()]
        if grounds.reason not in ids:
            raise UnfitGroundsError(
                f"the reason is none of this folder's, which are {', '.join(ids)}; give one of them"
            )

    def agreement(self) -> ReaderAgreement:
        """How far each two readers agree."""
        return ReaderAgreement(pairs=tuple(map(_pair, agreements(self.store.verdicts.audit(limit=_ALL)[1]))))

    def picture_file(self, key: str) -> Path | None:
        """The preview of the image of a key, None where there is none."""
        return self._file(self.folder.picture_file(key), key)

    def map_file(self, key: str) -> Path | None:
        """The map of the image of a key, None where there is none."""
        return self._file(self.folder.map_file(key), key)

    def sources(self, key: str) -> list[KnownOrigin]:
        """The files of the worklist that have this content, where they were screened; they may be gone."""
        root = root_of(self.folder.info().root)
        images = self.store.results.newest(key=key, status="ok")
        return [KnownOrigin(origin_of(image.name, root), image.name, key) for image in images]

    def _file(self, path: Path, key: str) -> Path | None:
        return path if path.is_file() and self.store.results.has(key) else None


def _answer(image: ScreenedImage, verdict: Verdict, conflict: bool) -> WorklistImage:
    fields = image.model_dump(exclude={"tags", "picture", "map"})
    address = f"/api/worklist/{image.key}"
    return WorklistImage(
        **fields,
        picture=f"{address}/picture" if image.picture else "",
        map=f"{address}/map" if image.map else "",
        verdict=verdict,
        conflict=conflict,
    )


def _pair(found: Agreement) -> PairAgreement:
    counts = found.both_accept, found.both_retake, found.first_retakes, found.second_retakes
    numbers = found.kappa, found.interval.low, found.interval.high
    kappa, low, high = (None if math.isnan(number) else number for number in numbers)
    return PairAgreement(
        readers=found.readers,
        images=sum(counts),
        both_accept=found.both_accept,
        both_retake=found.both_retake,
        first_retakes=found.first_retakes,
        second_retakes=found.second_retakes,
        kappa=kappa,
        low=low,
        high=high,
    )
