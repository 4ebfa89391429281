"""Moving members between the tiers: after what they bought was counted, and by the clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.store import Connection
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tiers import rules, store
from services.loyalty.tiers.rules import Change, Ladder
from services.loyalty.tiers.store import Kept, Moved
from shared.clock import utc_now
from shared.database import Database
from shared.jobs import Job
from shared.telemetry import logger

REVIEW_S = 3600.0
BATCH = 500  # members in one transaction
BATCHES = 200  # in one run; the rest waits for the next
AT_LEAST_EVERY = timedelta(days=30)  # so that the projection does not grow old

_log = logger(part="tiers")


async def ladder(connection: Connection, settings: LoyaltySettings) -> Ladder:
    """The tiers, what counts on them, and how time moves members."""
    grace = timedelta(days=settings.tier_grace_days)
    basis, period = await store.terms(connection) or (settings.tier_basis, settings.tier_period)
    return Ladder(await store.tables(connection), period, grace, basis)


def moved(kept: Kept, ladder: Ladder, now: datetime, *, since: datetime, changes: Sequence[Change]) -> Moved:
    """A standing to be saved: what it is now, and when it is to be looked at again.

    Args:
        since: the changes after this moment are told anew, by `changes` and by what time brought since.
    """
    present = kept.standing.copy()
    later = rules.advance(present, ladder, max(now, present.clock))
    turn = rules.next_turn(present, ladder)
    table = ladder.at(present.clock)
    before, kept.tier_now = kept.tier_now, present.tier
    return Moved(
        kept,
        since,
        [*changes, *later],
        before,
        rules.shown(present, ladder),
        min(turn, present.clock + AT_LEAST_EVERY) if turn else None,
        table.version,
    )


async def review(database: Database, settings: LoyaltySettings, now: datetime) -> int:
    """Move members whose grace period ended or whose purchases left the period; returns how many."""
    await store.keep_terms(database.pool, settings.tier_basis, settings.tier_period)
    kept = await store.terms(database.pool)
    if kept != (settings.tier_basis, settings.tier_period):
        _log.warning("members were counted before tier_basis or tier_period was changed: it stays", kept=kept)
    reviewed = 0
    for _ in range(BATCHES):
        async with database.pool.acquire() as connection, connection.transaction():
            steps = await ladder(connection, settings)
            due = await store.due(connection, now, steps.at(now).version, BATCH)
            await _review(connection, steps, due, now)
        reviewed += len(due)
        if len(due) < BATCH:
            break
    return reviewed


async def _review(connection: asyncpg.Connection, steps: Ladder, due: Sequence[UUID], now: datetime) -> None:
    await ledger.lock_members(connection, due)
    kept = await store.load(connection, due)
    await store.save(
        connection,
        [moved(each, steps, now, since=each.standing.clock, changes=[]) for each in kept.values()],
    )


def review_job(settings: LoyaltySettings) -> Job:
    """The review by the clock."""

    async def run(database: Database) -> None:
        await review(database, settings, utc_now())

    return Job("tier review", REVIEW_S, run)
