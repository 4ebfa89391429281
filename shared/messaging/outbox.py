"""The outbox: an event is written in the caller's transaction and leaves once it is safe elsewhere."""

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
    event_id = new_id()
    envelope = encode(data, event_id=event_id, time=utc_now(), traceparent=current_traceparent())
    await session.execute(_INSERT, {"id": event_id, "type": data.type, "envelope": envelope})
    session.info["emitted"] = True
    return event_id
