"""What services show the gateway only: sections, dead letters and jobs. Not in the public document."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from shared.messaging.sections import Section, Snapshot, take
from shared.problems import NotFound
from shared.web.dependencies import Pool, wake
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor
from shared.web.schemas import Schema
from shared.web.security import scope

BATCH_LIMIT = 200
REPUBLISH_LIMIT = 10_000


class Ids(Schema):
    ids: list[UUID] = Field(min_length=1, max_length=BATCH_LIMIT)


def internal_router(section: Section | None) -> APIRouter:
    """Routes under /internal: the section, if this service has one, the dead letters and the jobs."""
    router = APIRouter(prefix="/internal", include_in_schema=False)
    _add_dead_letters(router)
    _add_jobs(router)
    if section is not None:
        _add_sections(router, section)
        _add_customers(router, section)
        _add_republish(router, section)
    return router


def _add_sections(router: APIRouter, section: Section) -> None:
    @router.get("/sections/{customer_id}", dependencies=[scope("view:read")])
    async def read_section(customer_id: UUID, pool: Pool) -> Response:
        async with pool.acquire() as connection:
            (snapshot,) = await take(connection, section, [customer_id])
        if snapshot.body is None:
            raise NotFound("Nothing is known of this customer here.")
        return Response(
            snapshot.body.encode(),
            media_type="application/json",
            headers={"X-Section-Version": str(snapshot.version), "X-Section-As-Of": _stamp(snapshot.as_of)},
        )

    @router.post("/sections:batch", dependencies=[scope("view:read")])
    async def read_sections(wanted: Ids, pool: Pool) -> Response:
        async with pool.acquire() as connection:
            snapshots = await take(connection, section, sorted(set(wanted.ids)))
        return Response(
            b'{"items":[' + b",".join(map(_snapshot_json, snapshots)) + b"]}", media_type="application/json"
        )


def _add_customers(router: APIRouter, section: Section) -> None:
    @router.get("/sections", dependencies=[scope("view:read")])
    async def list_customers(
        pool: Pool,
        after: UUID = UUID(int=0),
        limit: Annotated[int, Query(ge=1, le=REPUBLISH_LIMIT)] = BATCH_LIMIT,
    ) -> dict[str, Any]:
        """The next customers whose section this service has, for comparing with the view."""
        return {"ids": [row["customer_id"] for row in await pool.fetch(section.customers, after, limit)]}


def _add_republish(router: APIRouter, section: Section) -> None:
    @router.post("/sections:republish", dependencies=[scope("admin")])
    async def republish(
        request: Request,
        pool: Pool,
        cursor: Cursor = None,
        limit: Annotated[int, Query(ge=1)] = REPUBLISH_LIMIT,
    ) -> dict[str, Any]:
        """Mark the next customers, so that their sections are published anew; called page by page."""
        after = decode_cursor(cursor, UUID)[0] if cursor else UUID(int=0)
        limit = min(limit, REPUBLISH_LIMIT)
        async with pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(section.customers, after, limit)
            ids = [row["customer_id"] for row in rows]
            await connection.execute("INSERT INTO section_marks (customer_id) SELECT unnest($1::uuid[])", ids)
        wake(request)
        return {"marked": len(ids), "next_cursor": encode_cursor(ids[-1]) if len(ids) == limit else None}


def _add_dead_letters(router: APIRouter) -> None:
    @router.get("/dead-letters", dependencies=[scope("admin")])
    async def list_dead_letters(
        pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> dict[str, Any]:
        after = decode_cursor(cursor, UUID)[0] if cursor else None
        rows = await pool.fetch(
            """SELECT id, consumer, event_id, type, status, attempts, error, failed_at, next_attempt_at
               FROM dead_letters WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2""",
            after,
            limit,
        )
        items = [dict(row) | {"error": row["error"].split(":", 1)[0]} for row in rows]
        return {
            "items": items,
            "next_cursor": encode_cursor(items[-1]["id"]) if len(items) == limit else None,
        }

    @router.get("/dead-letters/{dead_letter_id}", dependencies=[scope("admin")])
    async def show_dead_letter(dead_letter_id: UUID, pool: Pool) -> dict[str, Any]:
        row = await pool.fetchrow("SELECT * FROM dead_letters WHERE id = $1", dead_letter_id)
        if row is None:
            raise NotFound("There is no such dead letter.")
        return dict(row) | {"envelope": _readable(row["envelope"])}

    @router.post("/dead-letters/{dead_letter_id}/replay", status_code=202, dependencies=[scope("admin")])
    async def replay_dead_letter(dead_letter_id: UUID, pool: Pool) -> dict[str, Any]:
        """Try it again from the first attempt, at once."""
        row = await pool.fetchrow(
            """UPDATE dead_letters SET status = 'retrying', attempts = 0, next_attempt_at = now()
               WHERE id = $1 RETURNING id, status""",
            dead_letter_id,
        )
        if row is None:
            raise NotFound("There is no such dead letter.")
        return dict(row)


def _add_jobs(router: APIRouter) -> None:
    @router.get("/jobs", dependencies=[scope("admin")])
    async def list_jobs(pool: Pool) -> dict[str, Any]:
        rows = await pool.fetch("SELECT name, last_run_at, next_run_at, last_error FROM jobs ORDER BY name")
        return {"items": [dict(row) for row in rows]}


def _readable(envelope: str) -> Any:
    try:
        return orjson.loads(envelope)
    except orjson.JSONDecodeError:
        return envelope


def _snapshot_json(snapshot: Snapshot) -> bytes:
    return (
        f'{{"customer_id":"{snapshot.customer_id}","version":{snapshot.version},'
        f'"as_of":"{_stamp(snapshot.as_of)}","body":{snapshot.body or "null"}}}'
    ).encode()


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
