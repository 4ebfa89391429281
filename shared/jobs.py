"""Background jobs: what runs by the clock, once across replicas, and catches up after downtime.

The `jobs` table is the clock: whoever finds a job due and gets its row's lock runs it. A few run side by
side, so that a long one does not hold up the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.database import Database, is_away
from shared.telemetry import logger, safe_error

TICK_S = 1.0
AT_ONCE = 3  # each holds a connection of the pool while it runs, and uses another

_ENROL = "INSERT INTO jobs (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
_DUE = "SELECT name FROM jobs WHERE name = ANY ($1) AND next_run_at <= now() ORDER BY next_run_at"
_CLAIM = "SELECT 1 FROM jobs WHERE name = $1 AND next_run_at <= now() FOR UPDATE SKIP LOCKED"
_RAN = """
    UPDATE jobs SET last_run_at = now(), next_run_at = clock_timestamp() + $2, last_error = $3 WHERE name = $1
"""


@dataclass(frozen=True, slots=True)
class Job:
    """Something to run every `every_s` seconds. It does a bounded amount of work and may be repeated."""

    name: str
    every_s: float
    run: Callable[[Database], Awaitable[None]]


async def run_jobs(database: Database, jobs: Sequence[Job], wake: Callable[[], None]) -> None:
    """Run due jobs until cancelled; `wake` is called after each, so that what it emitted leaves at once."""
    log = logger(service=database.settings.name, part="jobs")
    by_name = {job.name: job for job in jobs}
    running: dict[str, asyncio.Task[None]] = {}

    async def run(job: Job) -> None:
        try:
            if await _run_if_due(database, job):
                wake()
        except Exception as error:
            if not is_away(error):
                log.error("job failed", job=job.name, **safe_error(error))
        finally:
            del running[job.name]

    async with asyncio.TaskGroup() as tasks:
        enrolled = False
        while by_name:
            try:
                if not enrolled:
                    await database.pool.execute(_ENROL, sorted(by_name))
                    enrolled = True
                due = await database.pool.fetch(_DUE, [name for name in by_name if name not in running])
            except Exception as error:
                due = []
                if not is_away(error):
                    log.error("jobs paused", **safe_error(error))
            for row in due[: AT_ONCE - len(running)]:
                running[row["name"]] = tasks.create_task(run(by_name[row["name"]]))
            await asyncio.sleep(TICK_S)


async def _run_if_due(database: Database, job: Job) -> bool:
    async with database.pool.acquire() as connection, connection.transaction():
        if await connection.fetchval(_CLAIM, job.name) is None:
            return False
        failure: Exception | None = None
        try:
            await job.run(database)
        except Exception as error:
            failure = error
        await connection.execute(
            _RAN, job.name, timedelta(seconds=job.every_s), type(failure).__name__ if failure else None
        )
    if failure is not None:
        raise failure
    return True
