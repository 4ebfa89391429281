"""Asking all parts at once, the gateway itself included, for what each keeps for its operators."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson
from fastapi import Request

from gateway.edge.upstreams import Upstream
from shared.problems import TimedOut, Unavailable

Part = Literal["profile", "feedback", "loyalty", "scoring", "gateway"]
TIMEOUT_S = 5.0


async def ask_all(
    request: Request, parts: Sequence[str], path: str, query: Mapping[str, str] | None = None
) -> dict[str, list[Any] | None]:
    """The items that each of these parts answers with; None from one that does not answer well."""
    answers = await asyncio.gather(*(_items(request, part, path, query or {}) for part in parts))
    return dict(zip(parts, answers, strict=True))


def upstreams(request: Request) -> Mapping[str, Upstream]:
    """Every part by its name."""
    found: Mapping[str, Upstream] = request.app.state.everywhere
    return found


def token(request: Request) -> str:
    """The caller's internal token, which the door put in place of the key."""
    return request.headers["authorization"].partition(" ")[2]


async def _items(request: Request, part: str, path: str, query: Mapping[str, str]) -> list[Any] | None:
    try:
        answer = await upstreams(request)[part].call(
            "GET", path, token=token(request), timeout_s=TIMEOUT_S, query=query
        )
    except (Unavailable, TimedOut):
        return None
    if answer.status_code != 200:
        return None
    items: list[Any] = orjson.loads(answer.content)["items"]
    return items
