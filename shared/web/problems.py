"""The one place where exceptions become problem documents."""

import re
from typing import Any

import asyncpg
import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.database import is_away
from shared.problems import FieldError, Invalid, Malformed, NotFound, Problem, TooLarge, Unavailable
from shared.telemetry import REQUEST_ID

MEDIA_TYPE = "application/problem+json"


class MethodNotAllowed(Problem):
    slug, title, status = "method-not-allowed", "This path does not take that method", 405


class HttpError(Problem):
    slug, title, status = "http-error", "The request was refused", 400


def problem_response(problem: Problem) -> Response:
    """A problem as an HTTP answer."""
    body = problem.document(REQUEST_ID.get())
    return Response(
        orjson.dumps(body, default=str),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def as_problem(error: Exception) -> Problem:  # noqa: PLR0911 - one line for each family of errors
    """The public meaning of any exception; what is not foreseen is a plain 500 without details."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _validation(error)
    if isinstance(error, HTTPException):
        return _http(error)
    if isinstance(error, RecursionError):
        return Malformed("The body is nested too deeply.")
    if isinstance(error, UnicodeEncodeError):
        return Invalid("The text holds a lone surrogate, which is not a character.")
    if isinstance(error, PoolTimeout) or is_away(error):
        return Unavailable("The database is away or busy; nothing was changed.")
    if _is_data_error(error):
        return Invalid("A value cannot be stored: it is out of range or holds a NUL character.")
    return Problem()


def install_problem_handlers(app: FastAPI) -> None:
    """Answer this app's refusals with problem documents; what else is raised ends in RequestContext."""

    async def answer(_: Request, error: Exception) -> Response:
        return problem_response(as_problem(error))

    for kind in (Problem, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def pointer(location: tuple[Any, ...] | list[Any]) -> str:
    """A validation error's location as a JSON pointer into the body, or `parameter` by its place and name."""
    where, *rest = location or ("",)
    if where == "body":
        return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in rest)
    return ":".join(str(part) for part in location)


def _validation(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return Malformed("The body is not valid JSON.")
    fields = [FieldError(pointer(item["loc"]), _told(item)) for item in found[:100]]
    return Invalid(errors=fields)


def _told(item: Any) -> str:
    if tuple(item["loc"]) == ("body",) and item["type"] == "model_attributes_type":
        return "Send a JSON object, and Content-Type: application/json with it."
    return _plain(item["msg"])


def _plain(message: str) -> str:
    """The reason without the value: a validator's message may repeat what it refused."""
    message = re.sub(r"^Value error, ", "", message)
    return re.sub(r"\(?input(?: value)?[:=].*$", "", message)[:300]


def _http(error: HTTPException) -> Problem:
    if error.status_code == 404:
        return NotFound("There is nothing at this path.")
    if error.status_code == 413:
        return TooLarge("The body is larger than this service takes.")
    if error.status_code == 405:
        return MethodNotAllowed(headers=dict(error.headers or {}))
    if error.status_code == 400:
        return Malformed(str(error.detail)[:300])
    problem = HttpError(str(error.detail)[:300], headers=dict(error.headers or {}))
    problem.status = error.status_code  # type: ignore[misc]
    return problem


def _is_data_error(error: Exception) -> bool:
    """SQLSTATE class 22 and asyncpg's own refusals of an argument."""
    cause: Any = error
    if isinstance(error, DBAPIError):
        cause = getattr(error, "driver_exception", None) or error.orig
        if str(getattr(cause, "sqlstate", "") or "").startswith("22"):
            return True
        cause = cause.__cause__ or cause
    state = str(getattr(cause, "sqlstate", "") or "")
    return state.startswith("22") or (
        isinstance(cause, asyncpg.InterfaceError) and isinstance(cause, ValueError)
    )
