"""The route that checks an uploaded image."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, File, Form, HTTPException, Request, UploadFile

from cxrlens.errors import UsageError
from cxrlens.inputs.reading import Unreadable
from cxrlens.inspection.map_png import map_png
from cxrlens.inspection.result import ImageResult
from cxrlens.saliency.explain import make_row
from cxrlens.saliency.methods import find_method
from cxrlens.serving.answers import Checked
from cxrlens.serving.batching import BusyError
from cxrlens.serving.decoding import STATUS, DecodedUpload
from cxrlens.serving.problems import RETRY, described
from cxrlens.serving.served_model import ExplanationRequest
from cxrlens.serving.state import ServerState
from cxrlens.serving.uploads import UPLOAD_PATH

_MAX_SMOOTH = 100.0
_FIELDS = frozenset({"file", "method", "layers", "smooth"})


def routes(state: ServerState) -> APIRouter:
    """The route of a server."""
    router = APIRouter(tags=["check"])

    @router.post(UPLOAD_PATH, responses=described(400, 403, 408, 413, 415, 422, 503))
    async def check(
        sent: Request,
        file: Annotated[UploadFile, File(description="JPEG, PNG, TIFF, BMP, WebP or DICOM; its content says which.")],
        method: Annotated[
            str | None,
            Form(description="Id of the map's method, see /api/methods; its default_method where none is given."),
        ] = None,
        layers: Annotated[
            str | None, Form(description="last, combined, or a module's name; default_layers where none is given.")
        ] = None,
        smooth: Annotated[
            float | None,
            Form(ge=0.1, le=_MAX_SMOOTH, description="Sigma in pixels of a Gaussian over the map at input size."),
        ] = None,
    ) -> Checked:
        """Check one radiograph: the probability of a foreign object, the decision, and where the network looks.

        An image that surely is no frontal chest radiograph, or shows nothing, is answered with the triage
        "not_assessable" and the reason, without probability, decision and map.
        Nothing of the upload is kept.
        """
        _refuse_unknown(await sent.form())
        request = _request(state, method, layers, smooth)
        began = time.perf_counter()
        try:
            digest = hashlib.sha256()

            async def content() -> bytes:
                read = await file.read()
                await asyncio.to_thread(digest.update, read)
                return read

            image = await state.decoders.decoded(content)
            if isinstance(image, Unreadable):
                status = STATUS[image.cause]
                state.metrics.refused.labels(str(status)).inc()
                raise HTTPException(status, image.reason)
            answer = state.explainer.submit(image.grey, (image.height, image.width), request)
            given = await asyncio.wrap_future(answer)
            result = given.with_remarks(image.remarks, assess_any=state.settings.assess_any)
            if result.not_assessed:
                state.metrics.not_assessable.inc()
            return await asyncio.to_thread(_answer, digest.hexdigest(), image, smooth, result)
        except (BusyError, MemoryError):  # the server's own memory; a decoder's is told by what it answers
            raise _busy() from None
        except UsageError as error:  # what only the pass finds out, such as a network without activations to guide
            raise HTTPException(422, str(error)) from error
        finally:
            state.metrics.check_seconds.observe(time.perf_counter() - began)

    return router


def _refuse_unknown(fields: Iterable[str]) -> None:
    """A field that this server does not know would change nothing, which nobody would see."""
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise HTTPException(
            422,
            f"unknown field '{unknown[0]}': this route takes {', '.join(sorted(_FIELDS))}; the resize of maps is the "
            "server's (cxrlens serve --grid --interpolation --flip)",
        )


def _request(state: ServerState, method: str | None, layers: str | None, smooth: float | None) -> ExplanationRequest:
    usual = state.maps.default
    try:
        row = make_row(method or usual.method, layers or usual.layers)
        request = ExplanationRequest(row, replace(state.maps.fusion, smooth=smooth))
        if find_method(row.method).reads == "network" and not state.settings.slow_methods:
            raise UsageError(
                f"'{method}' asks the network many times for one map, which this server does not do; "
                "use cxrlens explain, or start the server with --slow-methods"
            )
        state.model.check(request)
    except UsageError as error:
        raise HTTPException(422, str(error)) from error
    return request


def _answer(digest: str, image: DecodedUpload, smooth: float | None, result: ImageResult) -> Checked:
    return Checked(
        key=digest,
        origin=image.origin,
        smooth=smooth,
        picture=_data_address(image.preview, "image/jpeg"),
        map=_data_address(map_png(result.map.values), "image/png") if result.map else "",
        **result.fields(),
    )


def _data_address(content: bytes, media_type: str) -> str:
    """A ``data:`` address that holds the content, so that a browser shows it without asking again."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _busy() -> HTTPException:
    return HTTPException(503, "the server has too much to do; try again in a moment", RETRY)
