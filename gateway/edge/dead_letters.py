"""/v1/admin/dead-letters: the dead letters of all services and of the gateway itself, in one list."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request

from gateway.edge.everywhere import TIMEOUT_S, Part, ask_all, token, upstreams
from gateway.edge.schemas import DeadLetter, DeadLetters
from shared.problems import NotFound, Unavailable
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor
from shared.web.security import Caller, scope

router = APIRouter(prefix="/v1/admin/dead-letters", tags=["admin"])
Admin = Annotated[Caller, scope("admin")]


@router.get("")
async def list_dead_letters(
    _: Admin,
    request: Request,
    service: Part | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> DeadLetters:
    """Events that were given up or wait for another try, from the newest on."""
    if cursor is not None:
        decode_cursor(cursor, UUID)  # ids begin with their time, so one position serves every service
    query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    names = [service] if service else list(upstreams(request))
    answers = await ask_all(request, names, "/internal/dead-letters", query)
    items = [DeadLetter(service=part, **item) for part, items in answers.items() for item in items or []]
    items.sort(key=lambda item: item.id, reverse=True)
    more = len(items) > limit or any(len(found or []) == limit for found in answers.values())
    return DeadLetters(
        items=items[:limit],
        next_cursor=encode_cursor(items[limit - 1].id) if more else None,
        unavailable=[part for part, found in answers.items() if found is None],
    )


@router.get("/{service}/{dead_letter_id}", dependencies=[scope("admin", "pii:read")])
async def show(service: Part, dead_letter_id: UUID, request: Request) -> dict[str, Any]:
    """One dead letter with its event and traceback."""
    answer = await _ask(request, service, "GET", f"/internal/dead-letters/{dead_letter_id}")
    return {"service": service} | answer


@router.post("/{service}/{dead_letter_id}/replay", status_code=202, dependencies=[scope("admin")])
async def replay(service: Part, dead_letter_id: UUID, request: Request) -> dict[str, Any]:
    """Have the service try it again, at once and from the first attempt."""
    answer = await _ask(request, service, "POST", f"/internal/dead-letters/{dead_letter_id}/replay")
    return {"service": service} | answer


async def _ask(request: Request, service: str, method: str, path: str) -> dict[str, Any]:
    answer = await upstreams(request)[service].call(method, path, token=token(request), timeout_s=TIMEOUT_S)
    if answer.status_code == 404:
        raise NotFound("There is no such dead letter.")
    if answer.status_code >= 300:
        raise Unavailable(f"The {service} service answered {answer.status_code}.")
    found: dict[str, Any] = orjson.loads(answer.content)
    return found
