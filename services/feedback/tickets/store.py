"""All SQL of the tickets. Single tickets go through the session; what comes in batches is one statement."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, Uuid, any_, bindparam, text, tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.feedback.tables import Ticket, TicketMessage, TicketStep
from shared.messaging.outbox import Letter

# Tickets with their first step, their receipt and the events that tell of them, in one statement. A receipt
# that is known makes no ticket. Sorted, so that two batches that meet take their unique keys in one order.
_OPEN = text("""
    WITH fresh AS (
        SELECT (given.ticket ->> 'id')::uuid AS ticket_id, given.*
          FROM jsonb_to_recordset(CAST(:openings AS jsonb))
               AS given (ticket jsonb, step jsonb, receipt_id uuid, event_id uuid, type text, envelope text)
         WHERE NOT EXISTS (SELECT FROM ticket_receipts AS known WHERE known.receipt_id = given.receipt_id)
    ), opened AS (
        INSERT INTO tickets
        SELECT new.* FROM fresh, jsonb_populate_record(NULL::tickets, fresh.ticket) AS new
         ORDER BY new.partner, new.source_id
        ON CONFLICT (partner, source_id) DO NOTHING RETURNING id AS ticket_id, customer_id
    ), steps AS (
        INSERT INTO ticket_history
        SELECT step.* FROM fresh JOIN opened USING (ticket_id),
               jsonb_populate_record(NULL::ticket_history, fresh.step) AS step
    ), receipts AS (
        INSERT INTO ticket_receipts SELECT receipt_id, ticket_id FROM fresh JOIN opened USING (ticket_id)
         WHERE receipt_id IS NOT NULL
    ), events AS (
        INSERT INTO outbox (id, type, envelope)
        SELECT event_id, type, envelope FROM fresh JOIN opened USING (ticket_id)
    ), marks AS (
        INSERT INTO section_marks (customer_id)
        SELECT DISTINCT customer_id FROM opened WHERE customer_id IS NOT NULL
    )
    SELECT ticket_id, ticket_id IN (SELECT ticket_id FROM opened) AS is_new FROM fresh
""")
_INSERT_STEPS = text("""
    INSERT INTO ticket_history
    SELECT * FROM jsonb_populate_recordset(NULL::ticket_history, CAST(:steps AS jsonb))
""")
_TELL = text("""
    WITH steps AS (
        INSERT INTO ticket_history
        SELECT * FROM jsonb_populate_recordset(NULL::ticket_history, CAST(:steps AS jsonb))
    ), events AS (
        INSERT INTO outbox (id, type, envelope)
        SELECT * FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS event (id uuid, type text, envelope text)
    )
    INSERT INTO section_marks (customer_id) SELECT unnest(CAST(:customers AS uuid[]))
""")
_INSERT_RECEIPTS = text("""
    INSERT INTO ticket_receipts SELECT * FROM unnest(CAST(:receipts AS uuid[]), CAST(:tickets AS uuid[]))
    ON CONFLICT DO NOTHING RETURNING receipt_id
""")
# One array whatever the number of ids, so that the statement is prepared once.
_IDS = bindparam("ids", type_=ARRAY(Uuid))

RowT = TypeVar("RowT", TicketStep, TicketMessage)


@dataclass(frozen=True, slots=True)
class Step:
    """A line to add to a ticket's history, by its columns; a TicketStep takes far longer to make."""

    id: UUID
    ticket_id: UUID
    at: datetime
    actor: str
    what: str
    from_status: str | None
    to_status: str | None
    comment: str | None
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tickets a list shows; empty or None means all."""

    status: Collection[str] = ()
    category: str | None = None
    kind: str | None = None
    customer_id: UUID | None = None


async def open_all(
    session: AsyncSession, openings: Sequence[tuple[Ticket, Step, UUID | None, Letter]]
) -> dict[UUID, bool]:
    """Store new tickets, each with its first step, its receipt and the event that tells of it.

    Returns:
        By ticket: whether it is new, or its partner's source id has a ticket already and nothing was stored.
        A ticket is left out when its receipt is known.
    """
    rows = [
        {
            "ticket": ticket.model_dump(),
            "step": step,
            "receipt_id": receipt_id,
            "event_id": letter.id,
            "type": letter.type,
            "envelope": letter.envelope,
        }
        for ticket, step, receipt_id, letter in openings
    ]
    found = await session.execute(_OPEN, {"openings": _json(rows)})
    session.info["emitted"] = True
    return {row.ticket_id: row.is_new for row in found}


async def insert_steps(session: AsyncSession, steps: Sequence[Step]) -> None:
    """Add to the tickets' histories."""
    if steps:
        await session.execute(_INSERT_STEPS, {"steps": _json(steps)})


async def tell(
    session: AsyncSession, steps: Sequence[Step], events: Sequence[Letter], customers: Collection[UUID]
) -> None:
    """Add to many tickets' histories, with the events that tell of it and the customers who show it."""
    if steps or events or customers:
        parameters = {
            "steps": _json(steps),
            "events": _json(events),
            "customers": sorted(customers),
        }
        await session.execute(_TELL, parameters)
        session.info["emitted"] = True


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


def _json(rows: Sequence[Any]) -> str:
    # asyncpg's own UUID class is none that orjson knows, hence the default.
    return orjson.dumps(rows, default=str).decode()
