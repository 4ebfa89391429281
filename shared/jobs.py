"""Background jobs: what runs by the clock, once across replicas, and catches up after downtime.

The `jobs` table is the clock: whoever finds a job due and gets its row's lock runs it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.database import Database, is_away
from shared.telemetry import logger, safe_error

TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """Something to run every `every_s` seconds. It does a bounded amount of work and may be repeated."""

    name: str
    every_s: float
    run: Callable[[Database], Awaitable[None]]


async def run_jobs(database: Database, jobs: Sequence[Job], wake: Callable[[], None]) -> None:
    """Run due jobs until cancelled; `wake` is called after each, so that what it emitted leaves at once."""
    log = logger(service=database.settings.name, part="jobs")
    if not jobs:
        return
    while True:
        for job in jobs:
            try:
                if await _run_if_due(database, job):
                    wake()
            except Exception as error:
                if not is_away(error):
                    log.error("job failed", job=job.name, **safe_error(error))
        await asyncio.sleep(TICK_S)


async def _run_if_due(database: Database, job: Job) -> bool:
    async with database.pool.acquire() as connection:
        await connection.execute("INSERT INTO jobs (name) VALUES ($1) ON CONFLICT DO NOTHING", job.name)
        async with connection.transaction():
            due = await connection.fetchval(
                "SELECT 1 FROM jobs WHERE name = $1 AND next_run_at <= now() FOR UPDATE SKIP LOCKED", job.name
            )
            if due is None:
                return False
            failure: Exception | None = None
            try:
                await job.run(database)
            except Exception as error:
                failure = error
            await connection.execute(
                """UPDATE jobs SET last_run_at = now(), next_run_at = clock_timestamp() + $2, last_error = $3
                   WHERE name = $1""",
                job.name,
                timedelta(seconds=job.every_s),
                type(failure).__name__ if failure else None,
            )
    if failure is not None:
        raise failure
    return True
