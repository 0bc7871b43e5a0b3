"""Routes of a screened folder: its worklist, verdicts and audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse

from cxrlens.screening import exporting
from cxrlens.screening.store.marks import MOST_MARKS, UnfitMarkError
from cxrlens.screening.store.review import Show
from cxrlens.screening.store.verdicts import (
    LONGEST_COMMENT,
    SEES_ALL,
    GivenVerdict,
    ReusedNumberError,
    Sight,
    StaleVerdictError,
)
from cxrlens.serving.answers import Audit, News, NewVerdict, ReaderAgreement, ReviewFacts, Verdicts, Worklist
from cxrlens.serving.files import KeyInPath, served_review
from cxrlens.serving.problems import described
from cxrlens.serving.review import Review, UnfitGroundsError
from cxrlens.serving.security import READER
from cxrlens.serving.state import ServerState

_MOST = 1000
_LARGEST = 2**53 - 1  # that JavaScript counts to


def _reader_of(request: Request) -> str:
    """Whose token the request brought, see `Guard`."""
    return str(request.scope.get(READER, ""))


AskingReader = Annotated[str, Depends(_reader_of)]


def routes(state: ServerState) -> APIRouter:
    """The routes of a server."""
    router = APIRouter(tags=["review"])

    def review() -> Review:
        return served_review(state)

    def sight_of(reader: str) -> Sight:
        return Sight(reader) if state.settings.blind else SEES_ALL

    @router.get("/api/review", responses=described(404, 503))
    @state.reading
    def facts(reader: AskingReader) -> ReviewFacts:
        """How the screened folder is reviewed: whom the token names, and the reasons for a retake."""
        return ReviewFacts(
            reader=reader,
            blind=state.settings.blind,
            reasons=review().folder.reasons(),
            longest_comment=LONGEST_COMMENT,
            most_marks=MOST_MARKS,
        )

    @router.get("/api/worklist", responses=described(404, 422, 503))
    @state.reading
    def worklist(
        reader: AskingReader,
        show: Annotated[
            Show,
            Query(
                description='Which images; "open" are those without a verdict of the reader, "conflicts" those whose '
                "readers contradict each other."
            ),
        ] = "all",
        offset: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 200,
    ) -> Worklist:
        """The images of the screened folder, the most probable first."""
        return review().part(show=show, offset=offset, limit=limit, reader=reader, sight=sight_of(reader))

    @router.get(
        "/api/worklist/{key}/picture",
        response_class=FileResponse,
        responses={200: {"content": {"image/jpeg": {}}}, **described(404, 422, 503)},
    )
    @state.reading
    def picture(key: KeyInPath) -> FileResponse:
        """The preview of an image: grey JPEG of at most 1024 px."""
        return _file(review().picture_file(key), "image/jpeg")

    @router.get(
        "/api/worklist/{key}/map",
        response_class=FileResponse,
        responses={200: {"content": {"image/png": {}}}, **described(404, 422, 503)},
    )
    @state.reading
    def map_(key: KeyInPath) -> FileResponse:
        """The map of an image: 8-bit grey PNG of the picture at the network's scale, 255 = highest."""
        return _file(review().map_file(key), "image/png")

    @router.get("/api/verdicts", responses=described(404, 422, 503))
    @state.reading
    def verdicts(
        reader: AskingReader,
        key: Annotated[
            str | None,
            Query(pattern="^[0-9a-f]{64}$", description="Of one image alone: SHA-256 of the file's content."),
        ] = None,
    ) -> Verdicts:
        """The verdicts of all readers that stand; where reading is blind, of others on what this one has judged."""
        return Verdicts(verdicts=tuple(review().store.verdicts.standing(key, sight_of(reader))))

    @router.post("/api/verdicts", responses=described(400, 401, 403, 404, 408, 409, 413, 422, 503))
    @state.writing
    def give(new: NewVerdict, reader: AskingReader) -> GivenVerdict:
        """Give a verdict on an image, or withdraw it ("none"); the answer says what it replaced.

        Where the server knows its readers, the token says whose verdict it is, and those of others are left alone. With
        ``reader``, it is refused (401) where the token is another one's, as in a browser that somebody else has used
        since. With ``seen``, a verdict that has been given in the meantime is not replaced: status 409 names it. With
        ``seen_grounds`` neither is one whose reason, comment or drawn objects have been changed.

        It is on the disk and in the audit log when it is answered. The same verdict again changes nothing, so that a
        request may be repeated when its answer was lost. With ``id`` that is so whatever others
        have said since.
        """
        if new.reader is not None and new.reader != reader:
            raise HTTPException(
                401,
                f"this page was opened by {new.reader or 'a reader without a name'}, and the browser has the token of "
                f"{reader or 'a reader without a name'} now; open it again with the token of whom the verdict is",
            )
        try:
            given = review().give(
                new.key,
                new.verdict,
                new.seen,
                new.id,
                reader=reader,
                grounds=new.grounds,
                seen_grounds=new.seen_grounds,
            )
        except (StaleVerdictError, ReusedNumberError) as error:
            raise HTTPException(409, str(error)) from error
        except (UnfitGroundsError, UnfitMarkError) as error:
            raise HTTPException(422, str(error)) from error
        if given is None:
            raise HTTPException(404, "no image of the worklist has this key")
        if given.changed:
            state.metrics.verdicts.labels(given.verdict).inc()
        return given

    csv_file: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}

    @router.get("/api/verdicts.csv", response_class=Response, responses={**csv_file, **described(404, 503)})
    @state.reading
    def verdicts_csv(reader: AskingReader) -> Response:
        """The verdicts that stand as CSV, which ``cxrlens train --labels`` and ``data prepare`` take.

        Where reading is blind, those that this reader may see.
        """
        return _csv("verdicts.csv", exporting.verdicts_csv(review().store, sight_of(reader)))

    @router.get("/api/objects.csv", response_class=Response, responses={**csv_file, **described(404, 503)})
    @state.reading
    def objects_csv(reader: AskingReader) -> Response:
        """The drawn foreign objects in the format of Object-CXR, which ``pointing-game`` and others take.

        Images whose label is open, or whose object nobody has drawn, are left out.

        Where reading is blind, those that this reader may see.
        """
        return _csv("objects.csv", exporting.objects_csv(review().store, sight_of(reader)))

    @router.get("/api/agreement", responses=described(404, 503))
    @state.reading
    def agreement() -> ReaderAgreement:
        """How far each two readers agree: Cohen's kappa with its interval."""
        return review().agreement()

    @router.get("/api/news", responses=described(404, 503))
    @state.reading
    def news(reader: AskingReader) -> News:
        """Ids of the last entry of the audit log and of the last result; cheap, to be asked for every second or two."""
        entry, result = review().store.verdicts.last_ids()
        return News(entry=entry, result=result, reader=reader)

    @router.get("/api/audit", responses=described(404, 422, 503))
    @state.reading
    def audit(
        reader: AskingReader,
        after: Annotated[int, Query(ge=0, le=_LARGEST, description="Entries with a larger id.")] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 200,
    ) -> Audit:
        """The audit log, oldest entry first; where reading is blind, what this reader may see of it."""
        total, entries = review().store.verdicts.audit(after, limit, sight_of(reader))
        return Audit(total=total, entries=tuple(entries))

    return router


def _csv(name: str, exported: exporting.Exported) -> Response:
    return Response(
        exported.content,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _file(path: Path | None, media_type: str) -> FileResponse:
    if path is None:
        raise HTTPException(404, "there is no such picture")
    return FileResponse(path, media_type=media_type)
