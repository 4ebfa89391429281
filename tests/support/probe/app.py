"""The probe service: hears customers' registrations as `profile.reactions` hears tickets."""

from collections.abc import Awaitable, Callable
from typing import ClassVar
from uuid import UUID

import asyncpg
from fastapi import APIRouter, FastAPI, Request
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from shared.contracts import Event
from shared.contracts.feedback import TicketOpened
from shared.messaging import sections
from shared.messaging.bus import Bus
from shared.messaging.outbox import emit
from shared.messaging.reactions import Reactions
from shared.messaging.sections import Section
from shared.problems import Conflict
from shared.settings import ServiceSettings
from shared.web.app import create_service_app
from shared.web.dependencies import Pool, Session
from shared.web.etag import IfMatch, require_version, set_etag
from shared.web.idempotency import IdempotencyKey, idempotent
from shared.web.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.schemas import SafeInt, Schema
from shared.web.security import scope

PACKAGE = "tests.support.probe"


class ProbeSettings(ServiceSettings):
    name: ClassVar[str] = "profile"


class Thing(Schema):
    name: str
    size: SafeInt = 0


class NameTaken(Conflict):
    slug, title = "name-taken", "Another thing has this name"


Hook = Callable[[Event[TicketOpened]], Awaitable[None]]


def create_app(settings: ProbeSettings, bus: Bus | None = None, hook: Hook | None = None) -> FastAPI:
    """The probe; `hook` runs inside the reaction, before its effect."""
    reactions = Reactions("profile.reactions")

    @reactions.on(TicketOpened)
    async def on_ticket_opened(session: AsyncSession, event: Event[TicketOpened]) -> None:
        if hook is not None:
            await hook(event)
        await session.execute(
            text("INSERT INTO heard VALUES (:event, :kind, :customer)"),
            {"event": event.id, "kind": event.type, "customer": event.data.ticket_id},
        )

    return create_service_app(
        settings,
        title="probe",
        routers=[_routes()],
        reactions=[reactions],
        section=Section(
            "profile",
            _build,
            "SELECT customer_id FROM things WHERE customer_id > $1 ORDER BY customer_id LIMIT $2",
        ),
        bus=bus,
    )


async def _build(connection: asyncpg.Connection, ids: list[UUID]) -> dict[UUID, str]:
    rows = await connection.fetch(
        """SELECT customer_id, jsonb_build_object('name', name)::text AS body
           FROM things WHERE customer_id = ANY($1::uuid[])""",
        ids,
    )
    return {row["customer_id"]: row["body"] for row in rows}


def _routes() -> APIRouter:
    router = APIRouter()

    @router.put("/v1/things/{customer_id}", dependencies=[scope("customers:write")])
    async def put_thing(customer_id: UUID, thing: Thing, session: Session, response: Response) -> Thing:
        await session.execute(
            text(
                "INSERT INTO things VALUES (:id, :name) ON CONFLICT (customer_id) DO UPDATE SET name = :name"
            ),
            {"id": customer_id, "name": thing.name},
        )
        await sections.mark(session, [customer_id])
        set_etag(response, thing.size)
        return thing

    @router.patch("/v1/things/{customer_id}", dependencies=[scope("customers:write")])
    async def patch_thing(customer_id: UUID, thing: Thing, if_match: IfMatch) -> Thing:
        require_version(7, if_match)
        return thing

    @router.post("/v1/things", dependencies=[scope("customers:write")])
    async def post_thing(thing: Thing, session: Session, request: Request, key: IdempotencyKey) -> Response:
        async def run() -> tuple[int, Thing]:
            if thing.name == "taken":
                raise NameTaken("Choose another.")
            await session.execute(text("INSERT INTO things VALUES (uuid7(), :name)"), {"name": thing.name})
            return 201, thing

        return await idempotent(session, request, key, thing, run)

    @router.post("/v1/tickets/{ticket_id}:open", dependencies=[scope("tickets:write")])
    async def open_ticket(ticket_id: UUID, session: Session) -> dict[str, str]:
        event = TicketOpened(
            ticket_id=ticket_id,
            kind="complaint",
            category="other",
            severity="low",
            mood=0.0,
            status="new",
            channel="api",
            occurred_at="2026-03-01T10:00:00Z",
        )
        return {"event_id": str(await emit(session, event))}

    @router.get("/v1/things", dependencies=[scope("customers:read")])
    async def list_things(pool: Pool, limit: Limit = 50, cursor: Cursor = None) -> Page[str]:
        after = decode_cursor(cursor, UUID)[0] if cursor else UUID(int=0)
        rows = await pool.fetch(
            "SELECT customer_id, name FROM things WHERE customer_id > $1 ORDER BY 1 LIMIT $2", after, limit
        )
        more = encode_cursor(rows[-1]["customer_id"]) if len(rows) == limit else None
        return Page(items=[row["name"] for row in rows], next_cursor=more)

    @router.post("/v1/faults/{kind}", dependencies=[scope("admin")])
    async def fault(kind: str, pool: Pool) -> None:
        if kind == "bug":
            raise RuntimeError("lilei@example.com")
        await pool.execute("SELECT 1/0")

    return router
