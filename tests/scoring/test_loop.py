"""The event loop is never held up by computing."""

import asyncio
import time

from services.scoring.churn.service import risk_on
from services.scoring.models.schemas import FitRequest
from services.scoring.models.service import fit
from services.scoring.settings import ScoringSettings
from services.scoring.value.service import walk_on
from shared.database import Database
from tests.scoring.conftest import AS_OF
from tests.scoring.models.serving import serve

CUSTOMERS = 4_000
LONGEST_MS = 20.0

_FILL = """
    INSERT INTO customer_facts (customer_id, purchases, days, first_on, last_on, currency, spend,
                                currency_days, repeat_days, repeat_spend)
    SELECT gen_random_uuid(), d, d, $2::date - age,
           $2::date - age + CASE WHEN d = 1 THEN 0 ELSE age * (n % 89 + 1) / 90 END, 'CNY',
           d * 1000, d, d - 1, (d - 1) * (1000 + n % 777)
    FROM (SELECT n, 1 + (n * 31 % 17) / 2 * (n % 2) AS d, 60 + n * 13 % 300 AS age
          FROM generate_series(1, $1::int) AS n) AS made
"""

_BUY = """
    INSERT INTO purchases (id, customer_id, amount, currency, occurred_at)
    SELECT gen_random_uuid(), customer_id, 1000 + repeat_spend, currency, day
    FROM customer_facts, unnest(ARRAY[first_on, last_on]) AS day
"""


async def held_ms(stop: asyncio.Event) -> list[float]:
    """Time that the loop's thread computed between two turns of this task: what others had to wait for.

    Its own processor time, so that what else the machine does is not counted.
    """
    found, before = [], time.thread_time()
    while not stop.is_set():
        await asyncio.sleep(0.001)
        now = time.thread_time()
        found.append((now - before) * 1000)
        before = now
    return found


async def test_fits_and_walks_over_all_leave_the_loop_free(
    database: Database, settings: ScoringSettings
) -> None:
    await database.pool.execute(_FILL, CUSTOMERS, AS_OF)
    await database.pool.execute(_BUY)
    await serve(database)
    stop = asyncio.Event()
    watching = asyncio.create_task(held_ms(stop))
    await fit(database, settings, "pareto_nbd", FitRequest(unit="day"), AS_OF)
    while await walk_on(database, settings, AS_OF):
        pass
    while await risk_on(database, settings, AS_OF):
        pass
    stop.set()
    held = await watching
    assert max(held) < LONGEST_MS, sorted(held)[-10:]
    assert await database.pool.fetchval("SELECT count(*) FROM customer_scores") > 1000
