"""P7c: a million customers scored in the service: read, computed, written, and told only when new."""

import asyncio
import json
import sys
from datetime import date

from infra.bench import shoppers
from infra.bench.benchmark import Benchmark, Effort
from infra.bench.figures import Figure, Wrong
from infra.bench.stage import Stage
from services.scoring.models.estimation import Estimate
from services.scoring.models.store import add_version

WALK_S = 1800.0
# Facts of customers who bought 1 to 8 times over up to 273 days.
_FACTS = """
    INSERT INTO customer_facts (customer_id, purchases, days, first_on, last_on, currency, spend,
                                currency_days, repeat_days, repeat_spend)
    SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, d, d, date '2026-07-01' - age,
           date '2026-07-01' - age + CASE WHEN d = 1 THEN 0 ELSE age * (n % 97 + 1) / 98 END,
           'CNY', d * money, d, d - 1, (d - 1) * money
    FROM (SELECT n, 1 + ((n * 31) % 17) / 2 AS d, 189 + (n * 13) % 85 AS age, 1000 + (n * 101) % 9000 AS money
          FROM generate_series(1, $1::int) AS n) AS made
"""
# Also what happened to others: a walk meets the customers whom it names, and cuts anew for them.
_CLEAR = """
    TRUNCATE customer_facts, customer_scores, models, walks, fact_changes, rfm_cuts, outbox, section_marks,
             purchases, refunds, tickets, survey_answers, due CASCADE
"""


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    await stage.have()
    scoring = await stage.pool("c360_scoring")
    customers = 10 * effort.customers
    await scoring.execute(_CLEAR)
    await scoring.execute(_FACTS, customers)
    window = (date(2026, 1, 1), date(2026, 7, 1))
    purchases, spend = (Estimate(p, {}, -1.0, customers, 1) for p in (shoppers.PARAMS, shoppers.SPEND))
    async with scoring.acquire() as connection, connection.transaction():
        await add_version(connection, "bg_nbd", purchases, unit="week", currency=None, window=window)
        await add_version(connection, "gamma_gamma", spend, unit=None, currency="CNY", window=window)
    await scoring.execute("VACUUM ANALYZE customer_facts")
    first = await _walk(stage)
    scored = await scoring.fetchval("SELECT count(*) FROM customer_scores WHERE clv IS NOT NULL")
    told = await scoring.fetchval("SELECT count(*) FROM outbox")
    if not customers == scored == told:
        raise Wrong(f"of {customers} customers {scored} were scored and {told} told about")
    await scoring.execute("TRUNCATE outbox, section_marks")
    second = await _walk(stage)
    again = await scoring.fetchval(
        "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM section_marks)"
    )
    if again:
        raise Wrong(f"{again} events or marks about scores that did not change")
    await scoring.execute(_CLEAR)
    return [
        Figure("customers scored/s", [customers / first["seconds"]], note=f"{first['seconds']:.0f} s in all"),
        Figure("customers found unchanged/s", [customers / second["seconds"]]),
        Figure("peak memory MB", [max(first["peak_mb"], second["peak_mb"])]),
    ]


async def _walk(stage: Stage) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "infra.bench.walking",
        env=stage.environment({}), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(WALK_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Wrong(f"the walk failed: {errors.decode(errors='replace')[-400:]}")
    answer: dict[str, float] = json.loads(output.splitlines()[-1])
    return answer


BENCHMARK = Benchmark(
    "P7c",
    "everybody scored by the service's background job: read, computed, written, told",
    "nothing: absolute figures",
    parts=("scoring",),
    broker=False,
    run=run,
)
