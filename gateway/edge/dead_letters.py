"""/v1/admin/dead-letters: the dead letters of all services and of the gateway itself, in one list."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Request

from gateway.edge.schemas import DeadLetter, DeadLetters
from gateway.edge.upstreams import Upstream
from shared.problems import NotFound, TimedOut, Unavailable
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor
from shared.web.security import Caller, scope

router = APIRouter(prefix="/v1/admin/dead-letters", tags=["admin"])
Service = Literal["profile", "feedback", "loyalty", "scoring", "gateway"]
Admin = Annotated[Caller, scope("admin")]
TIMEOUT_S = 5.0


@router.get("")
async def list_dead_letters(
    _: Admin,
    request: Request,
    service: Service | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> DeadLetters:
    """Events that were given up or wait for another try, from the newest on."""
    if cursor is not None:
        decode_cursor(cursor, UUID)  # ids begin with their time, so one position serves every service
    upstreams: Mapping[str, Upstream] = request.app.state.dead_letters_of
    names = [service] if service else list(upstreams)
    query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    answers = await asyncio.gather(*(_page(request, upstreams[name], query) for name in names))
    items = [
        DeadLetter(service=name, **item)
        for name, answer in zip(names, answers, strict=True)
        for item in answer or []
    ]
    items.sort(key=lambda item: item.id, reverse=True)
    more = len(items) > limit or any(len(answer or []) == limit for answer in answers)
    return DeadLetters(
        items=items[:limit],
        next_cursor=encode_cursor(items[limit - 1].id) if more else None,
        unavailable=[name for name, answer in zip(names, answers, strict=True) if answer is None],
    )


@router.get("/{service}/{dead_letter_id}", dependencies=[scope("admin", "pii:read")])
async def show(service: Service, dead_letter_id: UUID, request: Request) -> dict[str, Any]:
    """One dead letter with its event and traceback."""
    answer = await _ask(request, service, "GET", f"/internal/dead-letters/{dead_letter_id}")
    return {"service": service} | answer


@router.post("/{service}/{dead_letter_id}/replay", status_code=202, dependencies=[scope("admin")])
async def replay(service: Service, dead_letter_id: UUID, request: Request) -> dict[str, Any]:
    """Have the service try it again, at once and from the first attempt."""
    answer = await _ask(request, service, "POST", f"/internal/dead-letters/{dead_letter_id}/replay")
    return {"service": service} | answer


async def _page(request: Request, upstream: Upstream, query: Mapping[str, str]) -> list[Any] | None:
    """One service's page, or None when it does not answer well."""
    try:
        answer = await upstream.call(
            "GET", "/internal/dead-letters", token=_token(request), timeout_s=TIMEOUT_S, query=query
        )
    except (Unavailable, TimedOut):
        return None
    if answer.status_code != 200:
        return None
    items: list[Any] = orjson.loads(answer.content)["items"]
    return items


async def _ask(request: Request, service: str, method: str, path: str) -> dict[str, Any]:
    upstream: Upstream = request.app.state.dead_letters_of[service]
    answer = await upstream.call(method, path, token=_token(request), timeout_s=TIMEOUT_S)
    if answer.status_code == 404:
        raise NotFound("There is no such dead letter.")
    if answer.status_code >= 300:
        raise Unavailable(f"The {service} service answered {answer.status_code}.")
    found: dict[str, Any] = orjson.loads(answer.content)
    return found


def _token(request: Request) -> str:
    """The caller's internal token, which the door put in place of the key."""
    return request.headers["authorization"].partition(" ")[2]
