"""The relay: carries outbox rows and section marks to the transport.

It runs inside every process. Rows are claimed with FOR UPDATE SKIP LOCKED and deleted in one statement of a
short transaction, which commits once the transport has confirmed them; so a relay that dies gives its claim
back at once. It is woken in-process right after a commit and polls as the safety net. No LISTEN/NOTIFY (a
global lock at commit), no "id > last" cursor (it skips late commits).
"""

import asyncio
from datetime import timedelta
from uuid import UUID

from shared.database import Database, is_away
from shared.messaging import failpoints
from shared.messaging.bus import Bus, BusAway, Outgoing
from shared.messaging.sections import Section, Snapshot, envelope, take
from shared.telemetry import EVENTS_PUBLISHED, OUTBOX_AGE, OUTBOX_ROWS, SECTION_MARKS, logger, safe_error

PAUSE_MAX_S = 5.0
UNROUTABLE_PAUSE = timedelta(seconds=5)

_WAITING = """
    SELECT EXISTS (SELECT FROM outbox WHERE available_at <= now()) AS events,
           EXISTS (SELECT FROM section_marks) AS marks
"""
_CLAIM_EVENTS = """
    WITH claimed AS (
        SELECT id FROM outbox WHERE available_at <= now() ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
    DELETE FROM outbox USING claimed WHERE outbox.id = claimed.id
    RETURNING outbox.id, type, envelope, created_at
"""
_KEEP_EVENTS = """
    INSERT INTO outbox (id, type, envelope, created_at, available_at)
    SELECT kept.*, now() + $5 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS kept
"""
_CLAIM_MARKS = """
    WITH claimed AS (SELECT id FROM section_marks ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
    DELETE FROM section_marks USING claimed WHERE section_marks.id = claimed.id RETURNING customer_id
"""
_KEEP_MARKS = "INSERT INTO section_marks (customer_id) SELECT unnest($1::uuid[])"


class Relay:
    """Publishes one database's events; `wake` after every commit that wrote some."""

    def __init__(self, database: Database, bus: Bus, section: Section | None) -> None:
        self._database = database
        self._bus = bus
        self._section = section
        self._woken = asyncio.Event()
        self._batch = database.settings.relay_batch
        self._log = logger(service=database.settings.name, part="relay")

    def wake(self) -> None:
        """Publish now rather than at the next poll."""
        self._woken.set()

    async def run(self) -> None:
        """Relay until cancelled; a transport or database that is away is waited for."""
        pause_s = 0.05
        while True:
            self._woken.clear()
            try:
                more = await self._once()
                pause_s = 0.05
            except Exception as error:
                if not (isinstance(error, BusAway) or is_away(error)):
                    self._log.error("relay failed, trying again", **safe_error(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
                continue
            if more:
                continue
            try:
                async with asyncio.timeout(self._database.settings.relay_poll_s):
                    await self._woken.wait()
            except TimeoutError:
                await self._measure()

    async def _once(self) -> bool:
        """Publish one batch of what is there; whether a full batch left, so that more may wait."""
        waiting = await self._database.pool.fetchrow(_WAITING)
        events = await self.events_once() if waiting["events"] else 0
        marks = await self.sections_once() if waiting["marks"] else 0
        return max(events, marks) >= self._batch

    async def events_once(self) -> int:
        """Publish one batch of outbox rows; returns how many left."""
        async with self._database.pool.acquire() as connection, connection.transaction():
            rows = sorted(await connection.fetch(_CLAIM_EVENTS, self._batch))
            if not rows:
                return 0
            failpoints.reached("relay.before_publish")
            safe = await self._bus.publish([Outgoing(r["id"], r["type"], r["envelope"]) for r in rows])
            failpoints.reached("relay.before_delete")
            held = [tuple(row) for row in rows if row["id"] not in safe]
            if held:
                # Nobody is bound to these yet; step aside so that they don't hold up the others.
                columns = [list(column) for column in zip(*held, strict=True)]
                await connection.execute(_KEEP_EVENTS, *columns, UNROUTABLE_PAUSE)
        EVENTS_PUBLISHED.labels(self._database.settings.name).inc(len(safe))
        return len(safe)

    async def sections_once(self) -> int:
        """Publish snapshots for one batch of marks; returns how many marks left."""
        if self._section is None:
            return 0
        async with self._database.pool.acquire() as connection, connection.transaction():
            marked = [row["customer_id"] for row in await connection.fetch(_CLAIM_MARKS, self._batch)]
            if not marked:
                return 0
            snapshots = await take(connection, self._section, sorted(set(marked)))
            safe = await self._publish_snapshots(self._section, snapshots)
            if not safe:
                raise BusAway("no snapshot could be published")
            held = set(marked) - safe
            if held:
                await connection.execute(_KEEP_MARKS, sorted(held))
        return len(marked) - len(held)

    async def _publish_snapshots(self, section: Section, snapshots: list[Snapshot]) -> set[UUID]:
        outgoing = {snapshot.customer_id: envelope(section, snapshot) for snapshot in snapshots}
        safe = await self._bus.publish(list(outgoing.values()))
        EVENTS_PUBLISHED.labels(self._database.settings.name).inc(len(safe))
        return {customer_id for customer_id, event in outgoing.items() if event.id in safe}

    async def _measure(self) -> None:
        name = self._database.settings.name
        try:
            row = await self._database.pool.fetchrow(
                """SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 999) AS n) AS rows,
                          coalesce(extract(epoch FROM now() - (SELECT min(created_at) FROM
                              (SELECT created_at FROM outbox ORDER BY id LIMIT 1) AS oldest)), 0) AS age,
                          (SELECT count(*) FROM (SELECT 1 FROM section_marks LIMIT 999) AS n) AS marks"""
            )
        except Exception as error:
            if is_away(error):
                return
            raise
        OUTBOX_ROWS.labels(name).set(row["rows"])
        OUTBOX_AGE.labels(name).set(float(row["age"]))
        SECTION_MARKS.labels(name).set(row["marks"])
