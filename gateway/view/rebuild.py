"""Rebuilding the view from the services, and comparing it with them.

A rebuild asks each service to publish every customer's section anew; the snapshots come as events and are
kept like any other, beside live traffic. Comparing asks the services for the sections as they stand and holds
the stored bodies against them, byte for byte in the one form that the view keeps.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Protocol
from uuid import UUID

import asyncpg
import httpx
import orjson
from fastapi import APIRouter, Query, Request

from gateway.edge.plain import bearer
from gateway.view import store
from gateway.view.projection import canonical
from gateway.view.schemas import Difference, Rebuild, RebuildOutcome, Verification
from shared.contracts.sections import SECTIONS
from shared.problems import TimedOut, Unavailable
from shared.web.dependencies import Pool
from shared.web.paging import Cursor, decode_cursor, encode_cursor
from shared.web.security import scope

PAGE_LIMIT = 200  # customers compared in one request; what the services take in one
PATIENCE_S = (0.1, 0.3, 1.0, 2.0)  # what is on its way when the comparison begins, arrives meanwhile

router = APIRouter(tags=["view"])


class Service(Protocol):
    """What is needed of a service's upstream client (gateway/edge/upstreams.py)."""

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str,
        timeout_s: float,
        query: Mapping[str, str] = ...,
        content: bytes = ...,
    ) -> httpx.Response: ...


@router.post(
    "/v1/admin/view:rebuild",
    status_code=202,
    response_model=Rebuild,
    dependencies=[scope("admin")],
)
async def rebuild_view(request: Request) -> Rebuild:
    """Have every service publish all its customers' sections anew.

    The answer comes when all are marked; the snapshots follow within the next moments, or minutes for
    millions. Nothing is emptied first, so readers notice nothing. A service that is away is named, and the
    rebuild can simply be asked for again.
    """
    upstreams, timeout_s = request.app.state.upstreams, request.app.state.settings.forward_bulk_timeout_s
    outcomes = await asyncio.gather(
        *(republish(upstreams[section], bearer(request.scope), timeout_s) for section in SECTIONS)
    )
    return Rebuild(services=dict(zip(SECTIONS, outcomes, strict=True)))


@router.post("/v1/admin/view:verify", response_model=Verification, dependencies=[scope("admin")])
async def verify_view(
    request: Request,
    pool: Pool,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = PAGE_LIMIT,
    cursor: Cursor = None,
) -> Verification:
    """Compare one page of customers with the services; follow `next_cursor` for all of them."""
    services = Services(
        request.app.state.upstreams,
        token=bearer(request.scope),
        timeout_s=request.app.state.settings.forward_timeout_s,
    )
    after = decode_cursor(cursor, UUID)[0] if cursor else UUID(int=0)
    return await compare_page(pool, services, after=after, limit=limit)


async def republish(service: Service, token: str, timeout_s: float) -> RebuildOutcome:
    """Have one service mark all its customers, page by page."""
    marked, cursor = 0, ""
    while True:
        query = {"cursor": cursor} if cursor else {}
        try:
            response = await service.call(
                "POST", "/internal/sections:republish", token=token, timeout_s=timeout_s, query=query
            )
        except (Unavailable, TimedOut):
            return RebuildOutcome(status="unavailable", marked=marked)
        if response.status_code != HTTPStatus.OK:
            return RebuildOutcome(status="unavailable", marked=marked)
        page = orjson.loads(response.content)
        marked += page["marked"]
        cursor = page["next_cursor"]
        if not cursor:
            return RebuildOutcome(status="ok", marked=marked)


class Services:
    """The four services as a comparison sees them; `away` are those that did not answer once."""

    def __init__(self, upstreams: Mapping[str, Service], *, token: str, timeout_s: float) -> None:
        self._upstreams = upstreams
        self._token = token
        self._timeout_s = timeout_s
        self.away: set[str] = set()

    async def customers_after(self, after: UUID, limit: int) -> list[list[UUID]]:
        """The next customers that each service knows, in the order of their ids."""
        query = {"after": str(after), "limit": str(limit)}
        answers = await asyncio.gather(
            *(self._ask(name, "GET", "/internal/sections", query=query) for name in SECTIONS)
        )
        return [[UUID(value) for value in answer["ids"]] for answer in answers if answer is not None]

    async def bodies(self, section: str, ids: Sequence[UUID]) -> dict[UUID, str | None] | None:
        """What a service shows of these customers, in the view's form; None when it does not answer."""
        content = orjson.dumps({"ids": [str(customer_id) for customer_id in ids]})
        answer = await self._ask(section, "POST", "/internal/sections:batch", content=content)
        if answer is None:
            return None
        bodies: dict[UUID, str | None] = dict.fromkeys(ids)
        return bodies | {UUID(item["customer_id"]): canonical(item["body"]) for item in answer["items"]}

    async def _ask(
        self,
        name: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: bytes = b"",
    ) -> Any:
        try:
            response = await self._upstreams[name].call(
                method, path, token=self._token, timeout_s=self._timeout_s, query=query or {}, content=content
            )
        except (Unavailable, TimedOut):
            response = None
        if response is None or response.status_code != HTTPStatus.OK:
            self.away.add(name)
            return None
        return orjson.loads(response.content)


async def compare_page(pool: asyncpg.Pool, services: Services, *, after: UUID, limit: int) -> Verification:
    """Compare the next customers after `after`, whom the view or any service knows, with the services.

    A difference counts only if it stays: what is still on its way is waited for, a few seconds in all.
    """
    known = [await store.customers_after(pool, after, limit), *await services.customers_after(after, limit)]
    more = any(len(ids) == limit for ids in known)
    page = sorted(set().union(*known))[:limit]
    differences = await _differences(pool, services, page)
    for pause_s in PATIENCE_S:
        if not differences:
            break
        await asyncio.sleep(pause_s)
        doubtful = sorted({difference.customer_id for difference in differences})
        differences = await _differences(pool, services, doubtful)
    return Verification(
        checked=len(page),
        differences=differences,
        unavailable=[section for section in SECTIONS if section in services.away],
        next_cursor=encode_cursor(page[-1]) if more else None,
    )


async def _differences(pool: asyncpg.Pool, services: Services, ids: Sequence[UUID]) -> list[Difference]:
    """Sections of these customers that are not as their services say."""
    if not ids:
        return []
    # The services first: what they say then is in the view by now, or on its way.
    said = await asyncio.gather(*(services.bodies(section, ids) for section in SECTIONS))
    stored = dict(zip(ids, await store.read_many(pool, ids), strict=True))
    found = []
    for section, bodies in zip(SECTIONS, said, strict=True):
        for customer_id in ids if bodies is not None else ():
            kept = {row[0]: row for row in stored[customer_id]}.get(section)
            version, body = (kept[1], kept[3]) if kept else (None, None)
            if bodies is not None and body != bodies[customer_id]:
                found.append(Difference(customer_id=customer_id, section=section, stored_version=version))
    return found
