"""Requests that are not answered: a status and one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse

from cxrlens.serving.answers import Problem
from cxrlens.validation import fault_of

RETRY = {"Retry-After": "2"}
"""The header of an answer to who may come again in a moment."""

_WHY = {
    400: "The request is damaged, or calls the server by a name that it does not have.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another server.",
    404: "There is nothing under this address, or the file is no longer where it was screened.",
    408: "The upload took too long to arrive.",
    409: "Another verdict stands by now than the one that was seen, or its id is of another one; or a file of the "
    "worklist has changed since it was screened.",
    413: "The upload, or the picture in it, is too large.",
    415: "The upload is no kind of file that can be read.",
    422: "A value does not fit, or the upload is damaged.",
    500: "A method that an installed package has brought failed; the server's log says more.",
    503: "The server has too much to do, or its store does not answer; try again after the seconds of Retry-After.",
}


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer to a request that is not fulfilled."""
    return JSONResponse(Problem(detail=sentence).model_dump(), status, dict(headers or {}))


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The statuses as an operation of the OpenAPI document lists them."""
    return {status: {"model": Problem, "description": _WHY[status]} for status in statuses}


def sentence_of(errors: Sequence[Any]) -> str:
    """The faults that pydantic found, as one sentence, without the values that were sent."""
    return "; ".join(fault_of(error, error["loc"][1:] or ("the body",), shown=False) for error in errors)
