"""Background jobs: due ones run, once across replicas, and none holds up the others."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from shared import jobs
from shared.database import Database
from shared.jobs import Job, run_jobs
from tests.conftest import MakeDatabase
from tests.support.apps import eventually
from tests.support.probe.app import PACKAGE, ProbeSettings


@pytest.fixture
async def database(fresh: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr(jobs, "TICK_S", 0.02)
    database = Database(await fresh(ProbeSettings, PACKAGE))
    await database.open()
    yield database
    await database.close()


@asynccontextmanager
async def replica(database: Database, *wanted: Job) -> AsyncIterator[None]:
    task = asyncio.create_task(run_jobs(database, wanted, lambda: None))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


class Noted:
    """A job that notes its runs, and ends when it may."""

    def __init__(self, name: str, every_s: float = 3600, fails: bool = False) -> None:
        self.runs, self.fails, self.may_end = 0, fails, asyncio.Event()
        self.may_end.set()
        self.job = Job(name, every_s, self._run)

    async def _run(self, _: Database) -> None:
        self.runs += 1
        await self.may_end.wait()
        if self.fails:
            raise ValueError("lilei@example.com")


async def errors(database: Database, names: Sequence[str]) -> dict[str, str | None]:
    rows = await database.pool.fetch(
        "SELECT name, last_error FROM jobs WHERE name = ANY ($1) AND last_run_at IS NOT NULL", names
    )
    return {row["name"]: row["last_error"] for row in rows}


async def test_long_jobs_do_not_hold_up_the_others_until_too_many_are_long(database: Database) -> None:
    long = [Noted(f"long {n}") for n in range(jobs.AT_ONCE - 1)]
    for one in long:
        one.may_end.clear()
    short = Noted("short", every_s=0)
    async with replica(database, *(one.job for one in long), short.job):
        await eventually(lambda: short.runs >= 3)
        assert [one.runs for one in long] == [1] * len(long)
    assert await errors(database, ["long 0"]) == {}


async def test_a_job_runs_once_across_replicas_and_again_when_it_is_due(database: Database) -> None:
    held, often = Noted("held"), Noted("often", every_s=0)
    held.may_end.clear()
    async with replica(database, held.job, often.job), replica(database, held.job, often.job):
        await eventually(lambda: held.runs and often.runs >= 5)
        assert held.runs == 1
        held.may_end.set()
        await eventually(lambda: errors(database, ["held"]))
        seen = often.runs
        await eventually(lambda: often.runs >= seen + 5)
    assert held.runs == 1


async def test_a_failure_is_kept_by_its_kind_and_tried_again(database: Database) -> None:
    failing, other = Noted("failing", every_s=0, fails=True), Noted("other", every_s=0)
    async with replica(database, failing.job, other.job):
        await eventually(lambda: failing.runs >= 2 and other.runs >= 2)
    assert await errors(database, ["failing", "other"]) == {"failing": "ValueError", "other": None}
