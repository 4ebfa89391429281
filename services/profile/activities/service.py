"""Use cases of activities: record one or many. The caller commits."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.profile.activities import store
from services.profile.activities.schemas import ActivityIn
from services.profile.activities.store import Key, Row
from services.profile.batches import (
    NO_SUCH_CUSTOMER,
    BatchOut,
    Entry,
    in_events,
    parse,
    refuse,
    with_customers,
)
from services.profile.settings import ProfileSettings
from services.profile.values import json_text
from shared.clock import utc_now
from shared.contracts import handles
from shared.contracts.profile import ActivityRecorded
from shared.database import raw
from shared.ids import new_id
from shared.messaging import outbox, sections

ENVELOPE_BYTES = 500  # of an event's item besides its details


async def record_batch(session: AsyncSession, items: Sequence[object], settings: ProfileSettings) -> BatchOut:
    """Record every activity that fits, once each where they have a source_id."""
    entries, unfit = await parse(items, ActivityIn, settings)
    outcome = await record(session, entries, settings)
    new = sum(is_new for _, is_new in outcome.values())
    refused = [refuse(e.index, NO_SUCH_CUSTOMER) for e in entries if e.index not in outcome]
    return BatchOut(
        accepted=new,
        duplicates=len(outcome) - new,
        rejected=sorted([*unfit, *refused], key=lambda rejected: rejected.index),
    )


async def record(
    session: AsyncSession, entries: Sequence[Entry[ActivityIn]], settings: ProfileSettings
) -> dict[int, tuple[UUID, bool]]:
    """Record what is new.

    Returns:
        The id of each entry's activity by the entry's index, and whether it was recorded now. Entries whose
        customer does not exist are missing.
    """
    connection = await raw(session)
    now = utc_now()
    first: dict[Key | int, Entry[ActivityIn]] = {}
    for entry in entries:
        first.setdefault(_key(entry), entry)
    named = [key for key in first if isinstance(key, tuple)]
    known = dict(await store.find(connection, named)) if named else {}
    fresh = [entry for key, entry in first.items() if key not in known]
    found = await with_customers(session, fresh, settings)
    rows = {_key(entry): _row(entry.item, customer_id, now) for entry, customer_id in found}
    new = await store.record(connection, list(rows.values()), now) if rows else set()
    lost = [key for key, row in rows.items() if row.id not in new and isinstance(key, tuple)]
    if lost:  # somebody else recorded them since we looked
        known |= await store.find(connection, lost)
    recorded = {key: row for key, row in rows.items() if row.id in new}
    if recorded:
        await _tell(session, list(recorded.values()))
    outcome: dict[int, tuple[UUID, bool]] = {}
    for entry in entries:
        key = _key(entry)
        if key in recorded:
            outcome[entry.index] = recorded[key].id, entry is first[key]
        elif isinstance(key, tuple) and key in known:
            outcome[entry.index] = known[key], False
    return outcome


async def _tell(session: AsyncSession, recorded: Sequence[Row]) -> None:
    """Emit the recorded activities in as few events as may be, and have their customers shown anew."""
    told = ((_event_item(row), len(json_text(row.details)) + ENVELOPE_BYTES) for row in recorded)
    await outbox.emit_all(session, [ActivityRecorded(items=tuple(part)) for part in in_events(told)])
    await sections.mark(session, sorted({row.customer_id for row in recorded}))


def _key(entry: Entry[ActivityIn]) -> Key | int:
    """What makes two activities the same; without a source_id each is one of its own."""
    return (entry.item.source, entry.item.source_id) if entry.item.source_id is not None else entry.index


def _row(item: ActivityIn, customer_id: UUID, now: datetime) -> Row:
    return Row(
        id=new_id(),
        customer_id=customer_id,
        source=item.source,
        source_id=item.source_id,
        kind=item.kind,
        touchpoint=item.touchpoint,
        channel=item.channel,
        stage=item.stage,
        details=item.details,
        occurred_at=item.occurred_at or now,
    )


def _event_item(row: Row) -> handles.Activity:
    return handles.Activity(
        activity_id=row.id,
        customer_id=row.customer_id,
        kind=row.kind,
        touchpoint=row.touchpoint,
        channel=row.channel,
        stage=row.stage,
        occurred_at=row.occurred_at,
        details=row.details,
    )
