"""What can be done with a ticket: link, talk about, assign, move. Nothing here commits."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.feedback.tables import Ticket, TicketMessage
from services.feedback.tickets import store
from services.feedback.tickets.rules import DONE, Progress, Sender, Status, Visibility, after_message
from services.feedback.tickets.rules import transition as next_progress
from shared.contracts.feedback import (
    TicketEvent,
    TicketLinked,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)
from shared.ids import new_id
from shared.messaging.outbox import emit, letters
from shared.messaging.sections import mark
from shared.problems import NotFound

GIVEN = "given"

EventT = TypeVar("EventT", bound=TicketEvent)


@dataclass(frozen=True, slots=True)
class Resolution:
    """Whose ticket it is, as profile found out at `at`."""

    ticket_id: UUID
    customer_id: UUID
    rule: str
    confidence: float
    at: datetime


async def link_tickets(session: AsyncSession, resolutions: Sequence[Resolution]) -> None:
    """Write down whose tickets they are. The latest resolution stands, in whatever order they come.

    A customer named by the caller is never replaced. A ticket that is not here is none of ours: its id was
    made in the transaction that announced it.
    """
    tickets = {t.id: t for t in await store.lock(session, {r.ticket_id for r in resolutions})}
    steps, linked, customers = [], {}, set()
    for resolution in sorted(resolutions, key=lambda r: r.at):
        ticket = tickets.get(resolution.ticket_id)
        if ticket is None or ticket.linked_by == GIVEN:
            continue
        if ticket.linked_at is not None and resolution.at <= ticket.linked_at:
            continue
        before, ticket.customer_id = ticket.customer_id, resolution.customer_id
        ticket.linked_by, ticket.linked_confidence = resolution.rule, resolution.confidence
        ticket.linked_at = resolution.at
        if before == resolution.customer_id:
            continue
        changed(ticket, resolution.at)
        customers |= {c for c in (before, resolution.customer_id) if c is not None}
        linked[ticket.id] = ticket
        details = {"customer_id": str(resolution.customer_id), "rule": resolution.rule}
        steps.append(step(ticket, "linked", actor="profile", at=resolution.at, **details))
    await session.flush()
    told = letters([event_of(TicketLinked, ticket) for ticket in linked.values()])
    await store.tell(session, steps, told, customers)


async def post_message(
    session: AsyncSession,
    ticket: Ticket,
    *,
    text: str,
    sender: Sender,
    visibility: Visibility,
    actor: str,
    now: datetime,
    reopen_within: timedelta,
) -> TicketMessage:
    """Add a message and what follows from it."""
    message = TicketMessage(
        id=new_id(),
        ticket_id=ticket.id,
        author=actor,
        sender=sender,
        visibility=visibility,
        text=text,
        sent_at=now,
    )
    session.add(message)
    changed(ticket, now)
    before = ticket.status
    after = after_message(_progress(ticket), sender, visibility, now=now, reopen_within=reopen_within)
    await _move(session, ticket, after)
    details = {"message_id": str(message.id), "sender": sender, "visibility": visibility}
    moved = {"from_status": before, "to_status": ticket.status} if before != ticket.status else {}
    await store.insert_steps(session, [step(ticket, "message", actor=actor, at=now, **moved, **details)])
    return message


async def assign(
    session: AsyncSession, ticket: Ticket, changes: dict[str, str | None], *, actor: str, now: datetime
) -> None:
    """Set assignee or department; what is already so is no change."""
    new = {name: value for name, value in changes.items() if getattr(ticket, name) != value}
    if not new:
        return
    for name, value in new.items():
        setattr(ticket, name, value)
    changed(ticket, now)
    await session.flush()
    await store.insert_steps(session, [step(ticket, "assigned", actor=actor, at=now, **new)])
    await emit(session, event_of(TicketUpdated, ticket))
    if ticket.customer_id is not None:
        await mark(session, [ticket.customer_id])


async def transition(
    session: AsyncSession,
    ticket: Ticket,
    to: Status,
    *,
    comment: str | None,
    actor: str,
    now: datetime,
    reopen_within: timedelta,
) -> None:
    """Take one step in the ticket's life.

    Raises:
        TransitionRefused: there is no such step.
        ReopenPeriodOver: it was resolved too long ago.
    """
    before = ticket.status
    after = next_progress(_progress(ticket), to, now=now, reopen_within=reopen_within)
    changed(ticket, now)
    await _move(session, ticket, after)
    taken = step(
        ticket,
        "transition",
        actor=actor,
        at=now,
        from_status=before,
        to_status=ticket.status,
        comment=comment,
    )
    await store.insert_steps(session, [taken])


async def require(session: AsyncSession, ticket_id: UUID) -> Ticket:
    """The ticket, locked.

    Raises:
        NotFound: there is none.
    """
    found = await store.lock(session, [ticket_id])
    if not found:
        raise NotFound("There is no ticket with this id.")
    return found[0]


def event_of(kind: type[EventT], ticket: Ticket, **more: Any) -> EventT:
    """An event about the ticket as it stands."""
    return kind(
        ticket_id=ticket.id,
        customer_id=ticket.customer_id,
        kind=ticket.kind,
        category=ticket.category,
        severity=ticket.severity,
        mood=ticket.mood or 0.0,
        status=ticket.status,
        department=ticket.department,
        channel=ticket.channel,
        occurred_at=ticket.occurred_at,
        **more,
    )


def step(
    ticket: Ticket,
    what: str,
    *,
    actor: str,
    at: datetime,
    from_status: str | None = None,
    to_status: str | None = None,
    comment: str | None = None,
    **details: Any,
) -> store.Step:
    """A line of the ticket's history."""
    return store.Step(
        id=new_id(),
        ticket_id=ticket.id,
        at=at,
        actor=actor,
        what=what,
        from_status=from_status,
        to_status=to_status,
        comment=comment,
        details=details,
    )


def changed(ticket: Ticket, at: datetime) -> None:
    """Count a change of the ticket."""
    ticket.version += 1
    ticket.updated_at = max(ticket.updated_at, at)


async def _move(session: AsyncSession, ticket: Ticket, after: Progress) -> None:
    """Store the ticket as it stands now; tell everyone if its status changed."""
    before = _progress(ticket)
    for name, value in asdict(after).items():
        setattr(ticket, name, value)
    await session.flush()
    if after.status == before.status:
        return
    await emit(session, event_of(_event_type(before.status, after.status), ticket))
    if ticket.customer_id is not None:
        await mark(session, [ticket.customer_id])


def _event_type(before: Status, after: Status) -> type[TicketEvent]:
    if after == "resolved":
        return TicketResolved
    return TicketReopened if before in DONE and after not in DONE else TicketUpdated


def _progress(ticket: Ticket) -> Progress:
    return Progress(
        status=ticket.status,  # type: ignore[arg-type]  # the database checks it
        first_response_at=ticket.first_response_at,
        resolved_at=ticket.resolved_at,
        closed_at=ticket.closed_at,
    )
