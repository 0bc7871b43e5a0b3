"""The route that checks an uploaded image."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Annotated

from fastapi import APIRouter, File, Form, HTTPException, UploadFile

from cxrlens.errors import UsageError
from cxrlens.inputs.reading import Unreadable
from cxrlens.inspection.contours import half_maximum_contours
from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD
from cxrlens.inspection.reasons import reason_of
from cxrlens.inspection.runtime import Seen
from cxrlens.saliency.explain import Fusion, make_row
from cxrlens.saliency.methods import find_method
from cxrlens.serving.about import is_offered
from cxrlens.serving.answers import Checked
from cxrlens.serving.batching import BusyError, Question
from cxrlens.serving.decoding import STATUS, DecodedUpload
from cxrlens.serving.pictures import data_address, map_png
from cxrlens.serving.problems import described
from cxrlens.serving.served import Served

RETRY = {"Retry-After": "2"}
_MAX_SMOOTH = 100.0


def routes(served: Served) -> APIRouter:
    """The route of a server."""
    router = APIRouter(tags=["check"])

    @router.post("/api/check", responses=described(400, 403, 408, 413, 415, 422, 503))
    async def check(
        file: Annotated[UploadFile, File(description="JPEG, PNG, TIFF, BMP, WebP or DICOM; its content says which.")],
        method: Annotated[str, Form(description="Id of the map's method, see /api/methods.")] = DEFAULT_METHOD,
        layers: Annotated[str, Form(description="last, combined, or a module's name.")] = DEFAULT_LAYERS,
        smooth: Annotated[
            float | None,
            Form(ge=0.1, le=_MAX_SMOOTH, description="Sigma in pixels of a Gaussian over the map at input size."),
        ] = None,
    ) -> Checked:
        """Check one radiograph: the probability of a foreign object, the decision, and where the network looks.

        Nothing of the upload is kept.
        """
        question = _question(served, method, layers, smooth)
        if served.checks >= served.settings.queue:
            raise _busy()
        served.checks += 1
        began = time.perf_counter()
        try:
            digest = hashlib.sha256()

            async def content() -> bytes:
                read = await file.read()
                await asyncio.to_thread(digest.update, read)
                return read

            picture = await served.decoders.decoded(content)
            if isinstance(picture, Unreadable):
                status = STATUS[picture.cause]
                served.metrics.refused.labels(str(status)).inc()
                raise HTTPException(status, picture.reason)
            answer = served.explainer.submit(picture.grey, (picture.height, picture.width), question)
            seen = await asyncio.wrap_future(answer)
            return await asyncio.to_thread(_checked, served, digest.hexdigest(), picture, question, seen)
        except BusyError:
            raise _busy() from None
        except UsageError as error:  # what only the pass finds out, such as a network without activations to guide
            raise HTTPException(422, str(error)) from error
        finally:
            served.checks -= 1
            served.metrics.check_seconds.observe(time.perf_counter() - began)

    return router


def _question(served: Served, method: str, layers: str, smooth: float | None) -> Question:
    try:
        if not is_offered(find_method(method), served):
            raise UsageError(
                f"'{method}' asks the network many times for one map, which this server does not do; "
                "use cxrlens explain, or start the server with --slow-methods"
            )
        row = make_row(method, layers)
        served.model.check_rows([row], Fusion(smooth=smooth))
    except UsageError as error:
        raise HTTPException(422, str(error)) from error
    return Question(row, smooth)


def _checked(served: Served, key: str, picture: DecodedUpload, question: Question, seen: Seen) -> Checked:
    assert seen.map is not None
    geometry = served.model.preprocessing.geometry(picture.height, picture.width).without_padding()
    return Checked(
        key=key,
        probability=seen.probability,
        decision=served.served_model.card.decision(seen.probability),
        triage=served.served_model.card.triage(seen.probability),
        reason=reason_of(served.served_model.card, seen.probability),
        origin=picture.origin,
        height=picture.height,
        width=picture.width,
        method=question.row.method,
        layers=question.row.layers,
        smooth=question.smooth,
        flat=seen.flat,
        peak=seen.peak,
        contours=() if seen.flat else half_maximum_contours(seen.map, geometry),
        picture=data_address(picture.preview, "image/jpeg"),
        map=data_address(map_png(seen.map), "image/png"),
    )


def _busy() -> HTTPException:
    return HTTPException(503, "the server has too much to do; try again in a moment", RETRY)
