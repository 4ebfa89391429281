"""How feedback becomes a ticket: read, stored once, announced. Nothing here commits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.feedback.tables import Ticket
from services.feedback.text.reading import Reading, read
from services.feedback.tickets import store
from services.feedback.tickets.rules import Kind
from services.feedback.tickets.service import GIVEN, changed, event_of, post_message, step
from shared.contracts.feedback import TicketOpened
from shared.contracts.handles import Handle
from shared.ids import new_id
from shared.messaging.outbox import letters
from shared.messaging.sections import mark
from shared.problems import FieldError, Invalid


@dataclass(frozen=True, slots=True)
class Opening:
    """Feedback that is to become a ticket. `partner`, `source_id` and `receipt_id` are a webhook's."""

    kind: Kind
    channel: str
    text: str
    occurred_at: datetime
    actor: str
    rating: float | None = None
    contact: tuple[Handle, ...] = ()
    contact_name: str | None = None
    customer_id: UUID | None = None
    partner: str | None = None
    source_id: str | None = None
    receipt_id: UUID | None = None
    department: str | None = None
    assignee: str | None = None
    follow_up_of: UUID | None = None


async def open_tickets(
    session: AsyncSession, openings: Sequence[Opening], *, now: datetime, reopen_within: timedelta
) -> list[Ticket]:
    """Make tickets of feedback and tell everyone; returns the new ones.

    What a partner sent before, by receipt or by source id, makes no second ticket: a new receipt of a known
    source id is counted as a mention, and a new text is the customer's message.
    """
    if not openings:
        return []
    readings = await asyncio.to_thread(_read_all, openings)
    made = [(o, _ticket(o, reading, now)) for o, reading in zip(openings, readings, strict=True)]
    told = letters([_opened_event(o, ticket) for o, ticket in made])
    is_new = await store.open_all(
        session,
        [
            (ticket, _opened_step(o, ticket), o.receipt_id, letter)
            for (o, ticket), letter in zip(made, told, strict=True)
        ],
    )
    # New is False for a second mention of a source id, and None for a receipt that was here before.
    repeated = [o for o, ticket in made if is_new.get(ticket.id) is False]
    await _mention(session, repeated, now=now, reopen_within=reopen_within)
    return [ticket for _, ticket in made if is_new.get(ticket.id)]


async def require_earlier(session: AsyncSession, ticket_id: UUID) -> None:
    """Check the ticket that a new one continues.

    Raises:
        Invalid: there is none.
    """
    if not await store.exists(session, ticket_id):
        raise Invalid(errors=[FieldError("/follow_up_of", "there is no ticket with this id")])


async def _mention(
    session: AsyncSession, repeated: Sequence[Opening], *, now: datetime, reopen_within: timedelta
) -> None:
    """Count feedback whose source id already has a ticket, once per receipt."""
    if not repeated:
        return
    tickets = await store.lock_by_source(session, {(o.partner, o.source_id) for o in repeated})
    by_receipt = {o.receipt_id: o for o in repeated if o.receipt_id is not None}
    new = await store.insert_receipts(
        session, {receipt: tickets[o.partner, o.source_id].id for receipt, o in by_receipt.items()}
    )
    for receipt in sorted(new):
        opening = by_receipt[receipt]
        ticket = tickets[opening.partner, opening.source_id]
        ticket.mentions += 1
        changed(ticket, now)
        await session.flush()
        if ticket.customer_id is not None:
            await mark(session, [ticket.customer_id])
        mentioned = step(ticket, "mentioned", actor=opening.actor, at=now, receipt_id=str(receipt))
        await store.insert_steps(session, [mentioned])
        if opening.text != ticket.text:
            await post_message(
                session,
                ticket,
                text=opening.text,
                sender="customer",
                visibility="public",
                actor=opening.actor,
                now=now,
                reopen_within=reopen_within,
            )


def _read_all(openings: Sequence[Opening]) -> list[Reading]:
    return [read(o.text, kind=o.kind, rating=o.rating) for o in openings]


def _ticket(opening: Opening, reading: Reading, now: datetime) -> Ticket:
    given = opening.customer_id is not None
    return Ticket(
        id=new_id(),
        customer_id=opening.customer_id,
        follow_up_of=opening.follow_up_of,
        partner=opening.partner,
        source_id=opening.source_id,
        channel=opening.channel,
        kind=opening.kind,
        text=opening.text,
        rating=opening.rating,
        contact=[handle.model_dump() for handle in opening.contact],
        contact_name=opening.contact_name,
        language=reading.language,
        category=reading.category,
        severity=reading.severity,
        mood=None if reading.mood_source == "none" else reading.mood,
        reading={
            "version": reading.version,
            "mood_source": reading.mood_source,
            "category_confidence": reading.category_confidence,
            "severity_reasons": list(reading.severity_reasons),
            "terms": list(reading.terms),
        },
        department=opening.department,
        assignee=opening.assignee,
        occurred_at=opening.occurred_at,
        opened_at=now,
        updated_at=now,
        linked_by=GIVEN if given else None,
        linked_confidence=1.0 if given else None,
        linked_at=now if given else None,
    )


def _opened_event(opening: Opening, ticket: Ticket) -> TicketOpened:
    """With a customer there is nothing to resolve, so the contact stays here."""
    unknown = ticket.customer_id is None
    return event_of(
        TicketOpened,
        ticket,
        contact=opening.contact if unknown else (),
        contact_name=opening.contact_name if unknown else None,
        receipt_id=opening.receipt_id,
    )


def _opened_step(opening: Opening, ticket: Ticket) -> store.Step:
    details = {} if opening.receipt_id is None else {"receipt_id": str(opening.receipt_id)}
    return step(
        ticket, "opened", actor=opening.actor, at=ticket.opened_at, to_status=ticket.status, **details
    )
