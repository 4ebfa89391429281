"""All SQL of the tickets. Single tickets go through the session; what comes in batches is one statement."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, Uuid, any_, bindparam, text, tuple_
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.feedback.tables import Ticket, TicketMessage, TicketStep

# Sorted, so that two batches that meet take their unique keys in the same order.
_INSERT = text("""
    INSERT INTO tickets SELECT * FROM jsonb_populate_recordset(NULL::tickets, CAST(:tickets AS jsonb)) AS new
    ORDER BY new.partner, new.source_id
    ON CONFLICT (partner, source_id) DO NOTHING RETURNING id
""")
_INSERT_STEPS = text("""
    INSERT INTO ticket_history
    SELECT * FROM jsonb_populate_recordset(NULL::ticket_history, CAST(:steps AS jsonb))
""")
_INSERT_RECEIPTS = text("""
    INSERT INTO ticket_receipts SELECT * FROM unnest(CAST(:receipts AS uuid[]), CAST(:tickets AS uuid[]))
    ON CONFLICT DO NOTHING RETURNING receipt_id
""")
_KNOWN_RECEIPTS = text(
    "SELECT receipt_id FROM ticket_receipts WHERE receipt_id = ANY (CAST(:receipts AS uuid[]))"
)
# One array whatever the number of ids, so that the statement is prepared once.
_IDS = bindparam("ids", type_=ARRAY(Uuid))

RowT = TypeVar("RowT", TicketStep, TicketMessage)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tickets a list shows; empty or None means all."""

    status: Collection[str] = ()
    category: str | None = None
    kind: str | None = None
    customer_id: UUID | None = None


async def insert(session: AsyncSession, tickets: Sequence[Ticket]) -> set[UUID]:
    """Store new tickets; returns the ids of those whose partner and source id were not here before."""
    rows = await session.execute(_INSERT, {"tickets": _json(tickets)})
    return set(rows.scalars())


async def insert_steps(session: AsyncSession, steps: Sequence[TicketStep]) -> None:
    """Add to the tickets' histories."""
    if steps:
        await session.execute(_INSERT_STEPS, {"steps": _json(steps)})


async def known_receipts(session: AsyncSession, receipt_ids: Collection[UUID]) -> set[UUID]:
    """Which of these webhooks became a ticket before."""
    rows = await session.execute(_KNOWN_RECEIPTS, {"receipts": list(receipt_ids)})
    return set(rows.scalars())


async def insert_receipts(session: AsyncSession, ticket_by_receipt: dict[UUID, UUID]) -> set[UUID]:
    """Keep which webhook became which ticket; returns the receipts that were not here before."""
    receipts = sorted(ticket_by_receipt)
    tickets = [ticket_by_receipt[receipt] for receipt in receipts]
    rows = await session.execute(_INSERT_RECEIPTS, {"receipts": receipts, "tickets": tickets})
    return set(rows.scalars())


async def lock_by_source(
    session: AsyncSession, sources: Collection[tuple[str | None, str | None]]
) -> dict[tuple[str | None, str | None], Ticket]:
    """The tickets of these partners' source ids, locked in the order of their ids."""
    found = await session.exec(
        select(Ticket)
        .where(tuple_(col(Ticket.partner), col(Ticket.source_id)).in_(sources))
        .order_by(col(Ticket.id))
        .with_for_update()
    )
    return {(ticket.partner, ticket.source_id): ticket for ticket in found}


async def lock(session: AsyncSession, ticket_ids: Collection[UUID]) -> list[Ticket]:
    """These tickets, those that exist, locked in the order of their ids."""
    found = await session.exec(
        select(Ticket).where(col(Ticket.id) == any_(_IDS)).order_by(col(Ticket.id)).with_for_update(),
        params={"ids": list(ticket_ids)},
    )
    return list(found)


async def exists(session: AsyncSession, ticket_id: UUID) -> bool:
    """Whether there is such a ticket."""
    return (await session.exec(select(Ticket.id).where(Ticket.id == ticket_id))).first() is not None


async def page(session: AsyncSession, wanted: Filter, *, below: UUID | None, limit: int) -> list[Ticket]:
    """Tickets, newest first, from below an id.

    Indexes: tickets_by_status, tickets_by_category, tickets_by_kind, tickets_by_customer, tickets_pkey.
    """
    query = select(Ticket).order_by(col(Ticket.id).desc()).limit(limit)
    if wanted.status:
        query = query.where(col(Ticket.status).in_(wanted.status))
    if wanted.category is not None:
        query = query.where(Ticket.category == wanted.category)
    if wanted.kind is not None:
        query = query.where(Ticket.kind == wanted.kind)
    if wanted.customer_id is not None:
        query = query.where(Ticket.customer_id == wanted.customer_id)
    if below is not None:
        query = query.where(col(Ticket.id) < below)
    return list(await session.exec(query))


async def newest(session: AsyncSession, rows: type[RowT], ticket_id: UUID, limit: int) -> list[RowT]:
    """A ticket's newest steps or messages, oldest first.

    Indexes: ticket_history_of_ticket, ticket_messages_of_ticket.
    """
    found = await session.exec(
        select(rows).where(rows.ticket_id == ticket_id).order_by(col(rows.id).desc()).limit(limit)
    )
    return list(reversed(found.all()))


def _json(rows: Sequence[SQLModel]) -> str:
    # asyncpg's own UUID class is none that orjson knows, hence the default.
    return orjson.dumps([row.model_dump() for row in rows], default=str).decode()
