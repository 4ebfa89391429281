"""Entity tags over a version number, and the preconditions that go with them (RFC 9110, section 13)."""

import re
from typing import Annotated

from fastapi import Depends, Header
from starlette.responses import Response

from shared.problems import PreconditionFailed, PreconditionRequired

_TAG = re.compile(r'(?:W/)?"v(\d{1,18})"')


def tag(version: int) -> str:
    """The entity tag of a version."""
    return f'"v{version}"'


def set_etag(response: Response, version: int) -> None:
    """Put the version's entity tag on an answer."""
    response.headers["ETag"] = tag(version)


async def _optional_if_match(
    if_match: Annotated[str | None, Header(description="The ETag that was read.")] = None,
) -> int | None:
    if if_match is None:
        return None
    match = _TAG.fullmatch(if_match.strip())
    if match is None:
        raise PreconditionFailed("If-Match does not hold an ETag of this thing.")
    return int(match[1])


# The version that the caller read, for changes that are safe without one.
OptionalIfMatch = Annotated[int | None, Depends(_optional_if_match)]


async def _if_match(version: OptionalIfMatch) -> int:
    if version is None:
        raise PreconditionRequired("Send If-Match with the ETag that you read.")
    return version


# The version that the caller read; 428 when the header is missing.
IfMatch = Annotated[int, Depends(_if_match)]


def require_version(current: int, if_match: int) -> None:
    """Refuse a change that was made to an older state.

    Raises:
        PreconditionFailed: the thing has moved on.
    """
    if current != if_match:
        raise PreconditionFailed("Read it again, then send the change with its new ETag.")
