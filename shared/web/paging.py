"""Lists: a bounded page and an opaque cursor to the next."""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import orjson
from fastapi import Query
from pydantic import BaseModel

from shared.problems import Malformed

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_CURSOR = 1024

ItemT = TypeVar("ItemT")

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items a page holds.")]
Cursor = Annotated[
    str | None, Query(max_length=MAX_CURSOR, description="`next_cursor` of the page before; opaque.")
]


class InvalidCursor(Malformed):
    slug, title = "invalid-cursor", "The cursor is not one that we gave"


class Page(BaseModel, Generic[ItemT]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[ItemT]
    next_cursor: str | None = None


def encode_cursor(*values: Any) -> str:
    """The position after an item, from the values that the list is sorted by."""
    return base64.urlsafe_b64encode(orjson.dumps(values, default=str)).decode().rstrip("=")


def decode_cursor(cursor: str, *types: Callable[[Any], Any]) -> tuple[Any, ...]:
    """The values of a cursor, each read by its type (UUID, int, datetime.fromisoformat …).

    Raises:
        InvalidCursor: not a cursor of this list.
    """
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(values, list) or len(values) != len(types):
            raise ValueError("another list's cursor")
        return tuple(read(value) for read, value in zip(types, values, strict=True))
    except (binascii.Error, orjson.JSONDecodeError, ValueError, TypeError, AttributeError) as error:
        raise InvalidCursor("Take `next_cursor` as it came, or start without one.") from error
