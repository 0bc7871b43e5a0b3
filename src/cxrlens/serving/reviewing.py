"""Routes of a screened folder: its worklist, verdicts and audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import FileResponse

from cxrlens.screening.store.review import Show
from cxrlens.screening.store.verdicts import GivenVerdict, ReusedNumberError, StaleVerdictError
from cxrlens.serving.answers import Audit, NewVerdict, Verdicts, Worklist
from cxrlens.serving.files import KeyInPath, served_review
from cxrlens.serving.problems import described
from cxrlens.serving.review import Review
from cxrlens.serving.state import ServerState

_MOST = 1000
_LARGEST = 2**53 - 1  # that JavaScript counts to


def routes(state: ServerState) -> APIRouter:
    """The routes of a server."""
    router = APIRouter(tags=["review"])

    def review() -> Review:
        return served_review(state)

    @router.get("/api/worklist", responses=described(404, 422, 503))
    @state.reading
    def worklist(
        show: Annotated[Show, Query(description='Which images; "open" are those without a verdict.')] = "all",
        offset: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 200,
    ) -> Worklist:
        """The images of the screened folder, the most probable first."""
        return review().part(show=show, offset=offset, limit=limit)

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

    @router.get("/api/verdicts", responses=described(404, 503))
    @state.reading
    def verdicts() -> Verdicts:
        """The verdicts that stand."""
        return Verdicts(verdicts=tuple(review().store.verdicts.standing()))

    @router.post("/api/verdicts", responses=described(400, 403, 404, 408, 409, 413, 422, 503))
    @state.writing
    def give(new: NewVerdict) -> GivenVerdict:
        """Give a verdict on an image, or withdraw it ("none"); the answer says what it replaced.

        With ``seen``, a verdict that another reader has given in the meantime is not replaced: status 409 names it.

        It is on the disk and in the audit log when it is answered. The same verdict again changes nothing, so that a
        request may be repeated when its answer was lost. With ``id`` that is so whatever others
        have said since.
        """
        try:
            given = review().give(new.key, new.verdict, new.seen, new.id)
        except (StaleVerdictError, ReusedNumberError) as error:
            raise HTTPException(409, str(error)) from error
        if given is None:
            raise HTTPException(404, "no image of the worklist has this key")
        if given.changed:
            state.metrics.verdicts.labels(given.verdict).inc()
        return given

    @router.get(
        "/api/verdicts.csv",
        response_class=Response,
        responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **described(404, 503)},
    )
    @state.reading
    def verdicts_csv() -> Response:
        """The verdicts that stand as CSV, which ``cxrlens train --labels`` and ``data prepare`` take."""
        return Response(
            review().verdicts_csv(),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="verdicts.csv"'},
        )

    @router.get("/api/audit", responses=described(404, 422, 503))
    @state.reading
    def audit(
        after: Annotated[int, Query(ge=0, le=_LARGEST, description="Entries with a larger id.")] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 200,
    ) -> Audit:
        """The audit log, oldest entry first."""
        total, entries = review().store.verdicts.audit(after, limit)
        return Audit(total=total, entries=tuple(entries))

    return router


def _file(path: Path | None, media_type: str) -> FileResponse:
    if path is None:
        raise HTTPException(404, "there is no such picture")
    return FileResponse(path, media_type=media_type)
