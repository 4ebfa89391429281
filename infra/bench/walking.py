"""The scoring service's background job alone, for P7c: `python -m infra.bench.walking` prints JSON.

A process of its own, so that its greatest resident size is that of the walk.
"""

import asyncio
import json
import resource
import time
from datetime import date

from services.scoring.facts import walks
from services.scoring.settings import ScoringSettings
from services.scoring.value.service import keep_true
from services.scoring.value.store import write_basis
from shared.clock import utc_now
from shared.database import Database

WAITING = "SELECT count(*) FROM walks WHERE finished_at IS NULL"


async def walk() -> dict[str, float]:
    """Have everybody scored once; how long it took and the most memory it needed."""
    settings = ScoringSettings(as_of=date(2026, 7, 1))
    database = Database(settings)
    await database.open()
    try:
        async with database.pool.acquire() as connection:
            # What scores stand on is known already, so the job asks for no walk of its own.
            await write_basis(connection, settings.observed(utc_now()), settings.basis)
            await walks.ask(connection, "rescore", "bench")
        started = time.perf_counter()
        while await database.pool.fetchval(WAITING):
            await keep_true(database, settings)
        seconds = time.perf_counter() - started
    finally:
        await database.close()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak_mb}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(walk())))
