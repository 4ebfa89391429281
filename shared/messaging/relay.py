"""The relay: carries outbox rows and section marks to the transport.

It runs inside every process. Rows are claimed with FOR UPDATE SKIP LOCKED and deleted in one statement of a
short transaction, which commits once the transport has confirmed them; so a relay that dies gives its claim
back at once. It is woken in-process right after a commit and polls as the safety net. The first event goes
at once; while more keep coming it rests between two batches, so that those of a few milliseconds share the
work of one. No LISTEN/NOTIFY (a global lock at commit), no "id > last" cursor (it skips late commits).
"""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from shared.database import Database, is_away
from shared.messaging import failpoints
from shared.messaging.bus import Bus, BusAway, Outgoing
from shared.messaging.sections import Section, Snapshot, envelope, take
from shared.telemetry import EVENTS_PUBLISHED, OUTBOX_AGE, OUTBOX_ROWS, SECTION_MARKS, logger, safe_error

PAUSE_MAX_S = 5.0
UNROUTABLE_PAUSE = timedelta(seconds=5)

# Both kinds in one statement. What a transport does not take is written again in the same transaction.
_CLAIM = """
    WITH waiting AS (
        SELECT id FROM outbox WHERE available_at <= now() ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED),
    events AS (
        DELETE FROM outbox USING waiting WHERE outbox.id = waiting.id
        RETURNING outbox.id, type, envelope, created_at),
    marked AS (SELECT id FROM section_marks ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED),
    marks AS (
        DELETE FROM section_marks USING marked WHERE section_marks.id = marked.id RETURNING customer_id)
    SELECT id, type, envelope, created_at, NULL::uuid AS customer_id FROM events
    UNION ALL SELECT NULL, NULL, NULL, NULL, customer_id FROM marks
"""
_KEEP_EVENTS = """
    INSERT INTO outbox (id, type, envelope, created_at, available_at)
    SELECT kept.*, now() + $5 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS kept
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
        now = asyncio.get_running_loop().time
        while True:
            self._woken.clear()
            rested_at = now() + self._database.settings.relay_rest_s
            try:
                moved = await self.once()
                pause_s = 0.05
            except Exception as error:
                if not (isinstance(error, BusAway) or is_away(error)):
                    self._log.error("relay failed, trying again", **safe_error(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
                continue
            if moved >= self._batch:
                continue
            try:
                async with asyncio.timeout(self._database.settings.relay_poll_s):
                    await self._woken.wait()
            except TimeoutError:
                await self._measure()
            await asyncio.sleep(rested_at - now())

    async def once(self) -> int:
        """Publish one batch of outbox rows and one of marks' snapshots; returns how many of them left.

        Raises:
            BusAway: nothing left, because the transport took nothing.
        """
        async with self._database.pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_CLAIM, self._batch, self._batch if self._section else 0)
            if not rows:
                return 0
            events = sorted(row[:4] for row in rows if row["customer_id"] is None)
            marked = [row["customer_id"] for row in rows if row["customer_id"] is not None]
            return await self._events(connection, events) + await self._sections(connection, marked)

    async def _events(self, connection: asyncpg.Connection, rows: list[tuple[Any, ...]]) -> int:
        if not rows:
            return 0
        failpoints.reached("relay.before_publish")
        safe = await self._bus.publish([Outgoing(*row[:3]) for row in rows])
        failpoints.reached("relay.before_delete")
        EVENTS_PUBLISHED.labels(self._database.settings.name).inc(len(safe))
        held = [row for row in rows if row[0] not in safe]
        if held:
            # Nobody is bound to these yet; step aside so that they don't hold up the others.
            columns = [list(column) for column in zip(*held, strict=True)]
            await connection.execute(_KEEP_EVENTS, *columns, UNROUTABLE_PAUSE)
        return len(safe)

    async def _sections(self, connection: asyncpg.Connection, marked: list[UUID]) -> int:
        if self._section is None or not marked:
            return 0
        snapshots = await take(connection, self._section, sorted(set(marked)))
        safe = await self._publish_snapshots(self._section, snapshots)
        if not safe:
            raise BusAway("no snapshot could be published")
        held = [customer_id for customer_id in marked if customer_id not in safe]
        if held:
            await connection.execute(_KEEP_MARKS, held)
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
