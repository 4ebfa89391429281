"""The consumer: inbox, one transaction per batch, durable retries, dead letters.

A batch of events is one transaction: the inbox refuses what was dealt with before, the reactions run, all
commits together, and only then does the transport acknowledge. If the batch fails it is split: each event
gets its own transaction, and one that still fails is written down for a later try. So one bad event
neither blocks nor rolls back the others, and no try is forgotten in a crash.
"""

import asyncio
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from shared.clock import utc_now
from shared.contracts import Event, EventData, decode
from shared.database import Database, is_away, raw
from shared.ids import new_id
from shared.messaging.reactions import Reactions
from shared.telemetry import EVENTS_HANDLED, TRACEPARENT, continue_trace, logger, safe_error

PAUSE_MAX_S = 5.0
GROWTH = 4
RETRY_BATCH = 50

# The trace context is for SQL functions that emit events; it goes along to save a round trip.
_CLAIM_IDS = """
    INSERT INTO inbox (event_id, consumer)
    SELECT id, $2 FROM set_config('c360.traceparent', coalesce($3, ''), true), unnest($1::uuid[]) AS id
    ORDER BY id
    ON CONFLICT DO NOTHING RETURNING event_id
"""
_TAKE_UP = (
    "DELETE FROM dead_letters WHERE id = $1 RETURNING set_config('c360.traceparent', coalesce($2, ''), true)"
)
_KEEP = """
    INSERT INTO dead_letters
        (consumer, event_id, type, envelope, status, attempts, error, traceback, next_attempt_at)
    VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8) ON CONFLICT (consumer, event_id) DO NOTHING
"""


class Consumer:
    """Runs one group's reactions on one database."""

    def __init__(self, reactions: Reactions, database: Database) -> None:
        self._reactions = reactions
        self._database = database
        self._settings = database.settings
        self._log = logger(consumer=reactions.group)

    @property
    def group(self) -> str:
        return self._reactions.group

    @property
    def emits(self) -> bool:
        return self._reactions.emits

    async def deliver(self, envelopes: Sequence[bytes]) -> None:
        """Deal with a batch for good: done, repeated, or written down for a later try.

        Waits as long as the database is away; only cancellation ends it early.
        """
        readable: list[tuple[Event[EventData], bytes]] = []
        for envelope in envelopes:
            try:
                readable.append((decode(envelope), envelope))
            except ValueError as error:
                await self._patiently(self._keep_unreadable, envelope, error)
        if readable:
            await self._patiently(self._handle, readable)

    async def retry_due(self) -> int:
        """Try again what is due; returns how many events were tried."""
        pool = self._database.pool
        due = await pool.fetch(
            """UPDATE dead_letters SET next_attempt_at = now() + interval '1 minute'
               WHERE id IN (SELECT id FROM dead_letters
                            WHERE consumer = $1 AND status = 'retrying' AND next_attempt_at <= now()
                            ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
               RETURNING id, envelope, attempts""",
            self.group,
            RETRY_BATCH,
        )
        for row in due:
            await self._retry(row)
        return len(due)

    async def _retry(self, row: asyncpg.Record) -> None:
        try:
            event = decode(row["envelope"])
            async with self._transaction() as (work, connection):
                # The row and the effects go together, so a crash in between repeats nothing.
                await connection.execute(_TAKE_UP, row["id"], event.traceparent)
                await self._react(work, [event])
            EVENTS_HANDLED.labels(self.group, "done").inc()
        except Exception as error:
            if is_away(error):
                raise
            attempts = row["attempts"] + 1
            dead = attempts >= self._settings.reaction_attempts
            await self._database.pool.execute(
                """UPDATE dead_letters SET attempts = $2, status = $3, next_attempt_at = $4, error = $5,
                   traceback = $6, failed_at = now() WHERE id = $1""",
                row["id"],
                attempts,
                "dead" if dead else "retrying",
                None if dead else utc_now() + self._delay(attempts),
                _message(error),
                _traceback(error),
            )
            EVENTS_HANDLED.labels(self.group, "dead" if dead else "retried").inc()
            self._log.error("event failed again", dead=dead, attempts=attempts, **safe_error(error))

    async def _handle(self, readable: list[tuple[Event[EventData], bytes]]) -> None:
        try:
            await self._commit([event for event, _ in readable])
        except Exception as error:
            if is_away(error):
                raise
            for event, envelope in readable:
                await self._patiently(self._handle_alone, event, envelope)

    async def _handle_alone(self, event: Event[EventData], envelope: bytes) -> None:
        try:
            await self._commit([event])
        except Exception as error:
            if is_away(error):
                raise
            await self._keep(event.id, event.type, envelope, error, retry=True)

    async def _commit(self, events: list[Event[EventData]]) -> None:
        async with self._transaction() as (work, connection):
            ids = [event.id for event in events]
            rows = await connection.fetch(_CLAIM_IDS, ids, self.group, events[0].traceparent)
            fresh = {row["event_id"] for row in rows}
            unseen = []
            for event in events:
                if event.id in fresh:
                    fresh.discard(event.id)
                    unseen.append(event)
            if unseen:
                await self._react(work, unseen)
        EVENTS_HANDLED.labels(self.group, "done").inc(len(unseen))
        EVENTS_HANDLED.labels(self.group, "repeated").inc(len(events) - len(unseen))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[tuple[Any, asyncpg.Connection]]:
        """One transaction: what the reactions work with, and the connection beneath it."""
        if self._reactions.plain:
            async with self._database.pool.acquire() as connection, connection.transaction():
                yield connection, connection
        else:
            async with self._database.session() as session:
                yield session, await raw(session)

    async def _react(self, work: Any, events: list[Event[EventData]]) -> None:
        token = TRACEPARENT.set(None)
        try:
            continue_trace(events[0].traceparent)
            await self._reactions.run(work, events)
        finally:
            TRACEPARENT.reset(token)

    async def _keep_unreadable(self, envelope: bytes, error: Exception) -> None:
        """An envelope that this version cannot read is kept as dead; no retry would mend it."""
        await self._keep(new_id(), "unreadable", envelope, error, retry=False)

    async def _keep(
        self, event_id: UUID, kind: str, envelope: bytes, error: Exception, *, retry: bool
    ) -> None:
        again = retry and self._settings.reaction_attempts > 1
        async with self._database.pool.acquire() as connection, connection.transaction():
            await connection.execute(_CLAIM_IDS, [event_id], self.group, None)
            await connection.execute(
                _KEEP,
                self.group,
                event_id,
                kind,
                envelope.decode("utf-8", "replace").replace("\x00", ""),
                "retrying" if again else "dead",
                _message(error),
                _traceback(error),
                utc_now() + self._delay(1) if again else None,
            )
        EVENTS_HANDLED.labels(self.group, "retried" if again else "dead").inc()
        self._log.error("event failed", event_id=str(event_id), type=kind, **safe_error(error))

    async def _patiently(self, function: Any, *arguments: Any) -> None:
        """Call until the database is there; nothing is counted while it is away."""
        pause_s = 0.05
        while True:
            try:
                await function(*arguments)
                return
            except Exception as error:
                if not is_away(error):
                    raise
                self._log.warning("database away, pausing", pause_s=pause_s, **safe_error(error))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _delay(self, attempts: int) -> timedelta:
        return timedelta(seconds=self._settings.retry_base_s * GROWTH ** (attempts - 1))


def _message(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".replace("\x00", "")[:2000]


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).replace("\x00", "")[-8000:]
