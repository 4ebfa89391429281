"""Long work in the background: one process at a time does it, and it is begun again when that one died."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncpg

from shared.database import Database, is_away
from shared.problems import Problem
from shared.telemetry import logger, safe_error

LEAST_REST_S = 30.0
REST_TIMES = 10  # such work takes a tenth of a core's time at most

_BEGIN = """
    UPDATE background_turns SET not_before = clock_timestamp() + make_interval(secs => $2)
    WHERE name = $1 AND not_before <= clock_timestamp() RETURNING true
"""
_REST = """
    UPDATE background_turns SET not_before = clock_timestamp() + make_interval(secs => $2) WHERE name = $1
"""


class Background:
    """A job that begins its work when it is due, and lets the other jobs go on meanwhile."""

    def __init__(
        self,
        name: str,
        *,
        within_s: float,
        due: Callable[[asyncpg.Connection], Awaitable[bool]],
        work: Callable[[Database], Awaitable[object]],
    ) -> None:
        """`name` is a row of background_turns; work that takes longer than `within_s` may be begun twice."""
        self._name = name
        self._within_s = within_s
        self._due = due
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, database: Database) -> None:
        """Begin when it is time."""
        if self._task is not None and not self._task.done():
            return
        async with database.pool.acquire() as connection:
            begun = await self._due(connection) and await connection.fetchval(
                _BEGIN, self._name, self._within_s
            )
        if begun:
            self._task = asyncio.create_task(self._run(database), name=f"scoring {self._name}")

    async def _run(self, database: Database) -> None:
        began = time.monotonic()
        log = logger(service="scoring", part=self._name)
        try:
            try:
                await self._work(database)
            except Problem as refusal:
                log.info("not done", why=refusal.slug)
            rest_s = max(LEAST_REST_S, REST_TIMES * (time.monotonic() - began))
            async with database.pool.acquire() as connection:
                await connection.execute(_REST, self._name, rest_s)
        except Exception as error:  # its turn comes again when the time for it is over
            if not is_away(error):
                log.error("failed", **safe_error(error))
