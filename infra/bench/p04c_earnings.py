"""P4c: earnings posted by the batch, as an import's purchases are, beside as many plain rows inserted."""

import random
import time
from decimal import Decimal
from uuid import UUID

import asyncpg

from infra.bench import members
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.figures import Figure, Reach, Wrong
from infra.bench.stage import Stage
from services.loyalty.ledger.store import Cause, Earning, post_earnings
from shared.ids import new_id

BATCH = 2_000  # the most that the service posts in one statement
_TABLE = """
    CREATE TABLE inserted (id uuid PRIMARY KEY, customer_id uuid NOT NULL, points bigint NOT NULL,
                           reason text NOT NULL, occurred_at timestamptz NOT NULL)
"""
_INSERT = "INSERT INTO inserted (id, customer_id, points, reason, occurred_at) VALUES ($1, $2, $3, $4, $5)"


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    await stage.have()
    loyalty = await stage.pool("c360_loyalty")
    await members.enrol(loyalty, effort.members)
    yardstick = await stage.create_database("bench_inserted")
    await yardstick.execute(_TABLE)
    chance = random.Random(4)

    def earning() -> Earning:
        number = chance.randrange(effort.members)
        cause = Cause(
            "Purchase O-1 at shop",
            "bench",
            members.CAUSE.occurred_at,
            "purchase",
            "floor(129.00 CNY × 1) = 129",
        )
        return Earning(members.member_id(number), 129, f"purchase/{new_id()}", cause, None)

    async def earn() -> float:
        before = await _earnings(loyalty)
        done, spent_s = 0, 0.0
        while spent_s < effort.seconds:
            batch = [earning() for _ in range(BATCH)]
            started = time.perf_counter()
            await post_earnings(loyalty, batch, "bench", Decimal(1))
            spent_s += time.perf_counter() - started
            done += BATCH
        posted, told = (
            await _earnings(loyalty) - before,
            await loyalty.fetchval("SELECT count(*) FROM outbox"),
        )
        if not done == posted == told:
            raise Wrong(f"{done} earnings made {posted} transfers and {told} events")
        await members.forget_events(loyalty)
        return done / spent_s

    async def insert() -> float:
        done, spent_s = 0, 0.0
        while spent_s < effort.seconds:
            rows = [_row(earning()) for _ in range(BATCH)]
            started = time.perf_counter()
            await yardstick.executemany(_INSERT, rows)
            spent_s += time.perf_counter() - started
            done += BATCH
        return done / spent_s

    earned, inserted = await take_turns(effort.repeats, earn, insert)
    if wrong := await members.differences(loyalty):
        raise Wrong(f"{wrong} balances differ from their entries or lots")
    return [Figure("earnings/s", earned, inserted, Reach("≥", 0.25))]


def _row(earning: Earning) -> tuple[UUID, UUID, int, str, object]:
    return new_id(), earning.customer_id, earning.points, earning.cause.reason, earning.cause.occurred_at


async def _earnings(loyalty: asyncpg.Pool) -> int:
    return int(await loyalty.fetchval("SELECT count(*) FROM transfers WHERE kind = 'earning'"))


BENCHMARK = Benchmark(
    "P4c",
    f"earnings in batches of {BATCH:,}: accounts, lots, entries, balances and outbox rows included",
    "asyncpg executemany: one plain row for each earning, the same batches",
    parts=("loyalty",),
    broker=False,
    run=run,
)
