"""Answers made of JSON text as the database wrote it: joined, never parsed."""

from collections.abc import Sequence
from typing import Any, Protocol

import orjson
from starlette.responses import Response

from shared.web.etag import tag
from shared.web.paging import encode_cursor


class Placed(Protocol):
    """One item of a list: its place in the list's order, and its JSON text."""

    @property
    def place(self) -> tuple[Any, ...]: ...
    @property
    def json(self) -> str: ...


def page(found: Sequence[Placed], limit: int) -> Response:
    """One page of a list that was read one item too far, which tells whether there is a next page."""
    items = found[:limit]
    cursor = encode_cursor(*items[-1].place) if len(found) > limit else None
    body = f'{{"items":[{",".join(item.json for item in items)}],"next_cursor":'.encode()
    return Response(body + orjson.dumps(cursor) + b"}", media_type="application/json")


def one(json: str, *, status: int = 200, version: int | None = None, location: str | None = None) -> Response:
    """One thing, with its entity tag and place where it has them."""
    headers = {"ETag": tag(version)} if version is not None else {}
    if location is not None:
        headers["Location"] = location
    return Response(json.encode(), status, headers=headers, media_type="application/json")
