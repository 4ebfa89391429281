"""The outbox: an event is written in the caller's transaction and leaves once it is safe elsewhere."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.clock import utc_now
from shared.contracts import EventData, encode
from shared.ids import new_id
from shared.telemetry import current_traceparent

_INSERT = text("INSERT INTO outbox (id, type, envelope) VALUES (:id, :type, :envelope)")


async def emit(session: AsyncSession, data: EventData) -> UUID:
    """Write an event that is published after the session's transaction has committed; returns its id."""
    (event_id,) = await emit_all(session, [data])
    return event_id


async def emit_all(session: AsyncSession, events: Sequence[EventData]) -> list[UUID]:
    """Write many events in one round trip; returns their ids in the same order."""
    if not events:
        return []
    now, traceparent = utc_now(), current_traceparent()
    ids = [new_id() for _ in events]
    rows = []
    for event_id, data in zip(ids, events, strict=True):
        envelope = encode(data, event_id=event_id, time=now, traceparent=traceparent)
        rows.append({"id": event_id, "type": data.type, "envelope": envelope})
    await session.execute(_INSERT, rows)
    session.info["emitted"] = True
    return ids
