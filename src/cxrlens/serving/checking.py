"""The routes that check an image: an upload, or one of the worklist anew."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, File, Form, HTTPException, Request, UploadFile

from cxrlens.errors import UsageError
from cxrlens.inputs.origin import ContentOrigin, Origin
from cxrlens.inputs.reading import Unreadable
from cxrlens.inspection.map_png import map_png
from cxrlens.inspection.result import ImageResult
from cxrlens.plugins import PluginError
from cxrlens.report.html import data_address
from cxrlens.saliency.explain import make_row
from cxrlens.saliency.methods import find_method
from cxrlens.serving.answers import Checked
from cxrlens.serving.batching import BusyError
from cxrlens.serving.decoding import STATUS, DecodedUpload
from cxrlens.serving.files import KeyInPath, held, of_first_file, sources
from cxrlens.serving.problems import RETRY, described
from cxrlens.serving.served_model import ExplanationRequest
from cxrlens.serving.state import ServerState
from cxrlens.serving.uploads import CHECK_PATH

UPLOAD = "the upload"
"""Stands for an uploaded file in messages; its own name may be a patient's."""

_MAX_SMOOTH = 100.0
_FIELDS = frozenset({"file", "method", "layers", "smooth"})

_Method = Annotated[
    str | None,
    Form(
        description="Id of the map's method, see /api/methods; its default_method where none is given.",
        examples=["normgrad_conv1x1"],
    ),
]
_Layers = Annotated[
    str | None,
    Form(description="last, combined, or a module's name; default_layers where none is given.", examples=["combined"]),
]
_Smooth = Annotated[
    float | None,
    Form(
        ge=0.1,
        le=_MAX_SMOOTH,
        description="Sigma in pixels of a Gaussian over the map at input size.",
        examples=[1.0],
    ),
]


def routes(state: ServerState) -> APIRouter:
    """The routes of a server."""
    router = APIRouter(tags=["check"])

    @router.post(CHECK_PATH, responses=described(400, 403, 408, 413, 415, 422, 500, 503))
    async def check(
        sent: Request,
        file: Annotated[UploadFile, File(description="JPEG, PNG, TIFF, BMP, WebP or DICOM; its content says which.")],
        method: _Method = None,
        layers: _Layers = None,
        smooth: _Smooth = None,
    ) -> Checked:
        """Check one radiograph: the probability of a foreign object, the decision, and where the network looks.

        An image that surely is no frontal chest radiograph, or shows nothing, is answered with the triage
        "not_assessable" and the reason, without probability, decision and map.
        Nothing of the upload is kept.
        """
        _refuse_unknown(await sent.form(), _FIELDS)
        request = _request(state, method, layers, smooth)
        began = time.perf_counter()
        try:
            digest = hashlib.sha256()

            async def upload() -> Origin:
                read = await file.read()
                await asyncio.to_thread(digest.update, read)
                return ContentOrigin(UPLOAD, read)

            with _busy_where_full():
                image = await state.decoders.decoded(upload)
            if isinstance(image, Unreadable):
                status = STATUS[image.cause]
                state.metrics.refused.labels(str(status)).inc()
                raise HTTPException(status, image.reason)
            result = await _explained(state, image, request)
            if result.not_assessed:
                state.metrics.not_assessable.inc()
            return await asyncio.to_thread(_answer, digest.hexdigest(), image, smooth, result)
        finally:
            state.metrics.check_seconds.observe(time.perf_counter() - began)

    @router.post("/api/worklist/{key}/check", responses=described(400, 403, 404, 408, 409, 413, 415, 422, 500, 503))
    async def check_again(
        sent: Request,
        key: KeyInPath,
        method: _Method = None,
        layers: _Layers = None,
        smooth: _Smooth = None,
    ) -> Checked:
        """Check an image of the worklist anew, by its file, with this server's model: for another map of it.

        The worklist stays as it was screened. The file has to be where it was screened, and as it was.
        """
        _refuse_unknown(await sent.form(), _FIELDS - {"file"})
        request = _request(state, method, layers, smooth)
        async with held(state.pictures):
            with _busy_where_full():
                image = await of_first_file(await sources(state, key), state.decoders.decoded)
            result = await _explained(state, image, request)
            return await asyncio.to_thread(_answer, key, image, smooth, result)

    return router


async def _explained(state: ServerState, image: DecodedUpload, request: ExplanationRequest) -> ImageResult:
    try:
        with _busy_where_full():
            answer = state.explainer.submit(image.grey, (image.height, image.width), request)
            given = await asyncio.wrap_future(answer)
    except PluginError:
        raise
    except UsageError as error:  # what only the pass finds out, such as a network without activations to guide
        raise HTTPException(422, str(error)) from error
    return given.with_remarks(image.remarks, assess_any=state.settings.assess_any)


def _refuse_unknown(fields: Iterable[str], known: frozenset[str]) -> None:
    """A field that this server does not know would change nothing, which nobody would see."""
    unknown = sorted(set(fields) - known)
    if unknown:
        raise HTTPException(
            422,
            f"unknown field '{unknown[0]}': this route takes {', '.join(sorted(known))}; the resize of maps is the "
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
    except PluginError:
        raise
    except UsageError as error:
        raise HTTPException(422, str(error)) from error
    return request


def _answer(digest: str, image: DecodedUpload, smooth: float | None, result: ImageResult) -> Checked:
    return Checked(
        key=digest,
        origin=image.origin,
        smooth=smooth,
        picture=data_address(image.preview, "image/jpeg"),
        map=data_address(map_png(result.map.values), "image/png") if result.map else "",
        **result.fields(),
    )


@contextlib.contextmanager
def _busy_where_full() -> Iterator[None]:
    """Whoever asks is told to come again where the queue, or the server's own memory, is full."""
    try:
        yield
    except (BusyError, MemoryError):  # a decoder's memory is told by what it answers
        raise HTTPException(503, "the server has too much to do; try again in a moment", RETRY) from None
