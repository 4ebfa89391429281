"""Keeping scores true: after events, after new cuts or models, on a new day, and for a rebuild."""

import time
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import islice
from uuid import UUID

import asyncpg

from services.scoring.facts import families, walks
from services.scoring.facts import store as facts
from services.scoring.models.store import read_serving
from services.scoring.settings import ScoringSettings
from services.scoring.value import store
from services.scoring.value.cluster import Compute, computing, score_here
from services.scoring.value.lifetime import Terms
from shared.clock import utc_now
from shared.database import Database


async def refresh(
    connection: asyncpg.Connection,
    customer_ids: Iterable[UUID],
    *,
    settings: ScoringSettings,
    observed: date,
    reasons: Sequence[str],
) -> bool:
    """Derive these customers' facts from all that happened, and their scores where those changed.

    In the caller's transaction. Returns whether anything changed.
    """
    ids = iter(sorted(customer_ids))
    any_changed = False
    while chunk := list(islice(ids, settings.chunk)):
        changed = await facts.lock(connection, chunk)
        changed |= await facts.derive(connection, chunk, observed)
        if changed:
            await _rescore(connection, sorted(changed), settings, observed, reasons, also_mark=changed)
            any_changed = True
    return any_changed


async def keep_true(database: Database, settings: ScoringSettings) -> None:
    """The background job: notice a new day or setting, cut anew, walk on. Bounded by `walk_s`."""
    observed = settings.observed(utc_now())
    await _follow_basis(database, settings, observed)
    await _cut(database, settings, observed)
    deadline = time.monotonic() + settings.walk_s
    async with computing(settings.scheduler, settings.chunk) as compute:
        while time.monotonic() < deadline and await walk_on(database, settings, observed, compute):
            pass


async def walk_on(
    database: Database, settings: ScoringSettings, observed: date, compute: Compute = score_here
) -> bool:
    """One chunk of the walk in hand, in one transaction; returns whether there was one.

    On a cluster it is as many chunks as are computed there at a time.
    """
    chunks = settings.scheduler_chunks if settings.scheduler else 1
    async with database.pool.acquire() as connection, connection.transaction():
        walk = await walks.claim(connection)
        if walk is None:
            return False
        await families.hold(connection)
        ids = await facts.next_customers(connection, walk.after, settings.chunk * chunks)
        changed: set[UUID] = set()
        if ids:
            changed = await facts.lock(connection, ids)
            if walk.kind == "rebuild":
                changed |= await facts.derive(connection, ids, observed)
            await _rescore(
                connection, ids, settings, observed, [walk.reason], also_mark=changed, compute=compute
            )
        if changed:
            await facts.note_change(connection)
        if not ids:
            await store.typify(connection, observed, settings.horizon_days, settings.margin)
        await walks.advance(connection, walk, ids, len(changed))
        return True


async def _rescore(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    settings: ScoringSettings,
    observed: date,
    reasons: Sequence[str],
    *,
    also_mark: Iterable[UUID] = (),
    compute: Compute = score_here,
) -> None:
    """Score locked customers. Cuts and models are read after the locks: who walks later reads later ones."""
    cuts = await store.read_cuts(connection, observed)
    models = await read_serving(connection)
    columns = await store.read_columns(connection, customer_ids, observed)
    terms = Terms(settings.horizon_days, settings.discount_rate, settings.margin)
    scores = await compute(columns, cuts, models, terms)
    await store.write(
        connection,
        columns.customer_ids,
        scores,
        observed=observed,
        horizon_days=settings.horizon_days,
        reasons=reasons,
        also_mark=also_mark,
    )


async def _follow_basis(database: Database, settings: ScoringSettings, observed: date) -> None:
    """Have everyone scored anew when the observation date or a setting changed."""
    async with database.pool.acquire() as connection:
        before = await store.read_basis(connection)
        if before == (observed, settings.basis):
            return
        if before is not None and before[0] < observed:
            while await _refresh_due(connection, settings, observed):
                pass
        async with connection.transaction():
            if before is None or before[0] > observed:
                # What was left out before may count now and the other way round.
                await walks.ask(connection, "rebuild", f"observed on {observed}")
            else:
                reason = "new day" if before[0] < observed else "new settings"
                await walks.ask(connection, "rescore", reason)
            # The walk begins with cuts as of the new date: they are computed before it.
            await facts.note_change(connection, overdue=True)
            await store.write_basis(connection, observed, settings.basis)


async def _refresh_due(connection: asyncpg.Connection, settings: ScoringSettings, observed: date) -> bool:
    """Derive the next customers anew whose purchases lie ahead no more; returns whether there were any."""
    async with connection.transaction():
        await families.hold(connection)
        due = await facts.due_customers(connection, observed, settings.chunk)
        if due:
            await refresh(connection, due, settings=settings, observed=observed, reasons=["new day"])
    return bool(due)


async def _cut(database: Database, settings: ScoringSettings, observed: date) -> None:
    """Cut anew once the facts have come to rest, or waited long enough; then have everyone scored."""
    async with database.pool.acquire() as connection:
        waiting = await store.changes_waiting(connection)
        if waiting is None:
            return
        last, quiet_s, waited_s = waiting
        if quiet_s < settings.cuts_quiet_s and waited_s < settings.cuts_wait_s:
            return
        async with connection.transaction():
            if await store.cut(connection, observed, settings.quantile_minimum_customers):
                await walks.ask(connection, "rescore", "new cuts")
            await store.forget_changes(connection, last)
