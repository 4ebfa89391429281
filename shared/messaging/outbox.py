"""The outbox: an event is written in the caller's transaction and leaves once it is safe elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.clock import utc_now
from shared.contracts import EventData, encode
from shared.ids import new_id
from shared.telemetry import current_traceparent

_INSERT = text("INSERT INTO outbox (id, type, envelope) VALUES (:id, :type, :envelope)")


@dataclass(frozen=True, slots=True)
class Letter:
    """An event as a row of the outbox: for statements of one's own that write it beside their other rows."""

    id: UUID
    type: str
    envelope: str


def letters(events: Sequence[EventData]) -> list[Letter]:
    """Events ready for the outbox; whoever writes them sets `session.info["emitted"]`."""
    now, traceparent = utc_now(), current_traceparent()
    written = []
    for data in events:
        event_id = new_id()
        envelope = encode(data, event_id=event_id, time=now, traceparent=traceparent)
        written.append(Letter(event_id, data.type, envelope))
    return written


async def emit(session: AsyncSession, data: EventData) -> UUID:
    """Write an event that is published after the session's transaction has committed; returns its id."""
    (event_id,) = await emit_all(session, [data])
    return event_id


async def emit_all(session: AsyncSession, events: Sequence[EventData]) -> list[UUID]:
    """Write many events in one round trip; returns their ids in the same order."""
    if not events:
        return []
    written = letters(events)
    rows = [{"id": letter.id, "type": letter.type, "envelope": letter.envelope} for letter in written]
    await session.execute(_INSERT, rows)
    session.info["emitted"] = True
    return [letter.id for letter in written]
