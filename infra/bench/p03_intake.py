"""P3: signed webhooks accepted and on disk, beside single-row INSERTs of the same bytes by as many clients.

The services are not running, as when a partner's burst meets a stopped system; RabbitMQ is, and the gateway's
relay publishes to it while the load goes on.
"""

import itertools

import asyncpg

from infra.bench import inserts, processor
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.beside import run_beside
from infra.bench.figures import Figure, Reach, Wrong
from infra.bench.load import WARM_UP_S, Answers, Load, fire
from infra.bench.partner import Partner
from infra.bench.requests import write_requests
from infra.bench.stage import Stage

CLIENTS = 16
ENOUGH_PER_S = 8_000
START_S = 30.0
SETTINGS = "fsync", "synchronous_commit", "full_page_writes"


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    gateway = (await stage.have("gateway"))["gateway"]
    pool = await stage.pool("c360_gateway")
    await _assert_durable(pool)
    rows = await stage.create_database("bench_inserts")
    await rows.execute(inserts.TABLE)
    partner = await Partner.admitted(gateway, stage.key)
    numbers = itertools.count()
    spent: list[tuple[processor.Used, int]] = []

    async def accept(seconds: float = effort.seconds) -> Answers:
        load = Load(stage.folder / "p3.webhooks", 202, '"status":"accepted"', repeat=False)
        made = int(ENOUGH_PER_S * (seconds + 0.5))
        write_requests(load.requests, (partner.request(number) for number in itertools.islice(numbers, made)))
        before, used = await _stored(stage, pool), await processor.used(stage)
        answers = await fire(load, gateway.port, connections=CLIENTS, seconds=seconds)
        await stage.settled("gateway")  # the relay's backlog is not left to the other side's turn
        spent.append((processor.between(used, await processor.used(stage)), answers.count))
        receipts, published = (
            after - earlier for after, earlier in zip(await _stored(stage, pool), before, strict=True)
        )
        # What was in flight when the load ended may be stored without having been counted as answered.
        if not answers.count <= receipts <= answers.count + CLIENTS or published != receipts:
            raise Wrong(f"{answers.count} accepted, {receipts} receipts, {published} published")
        return answers

    async def insert() -> dict[str, float]:
        arguments = {"dsn": stage.dsn("bench_inserts"), "clients": CLIENTS, "seconds": effort.seconds}
        arguments["body"] = partner.feedback(0, "c0@example.com")[1].decode()
        return await run_beside("infra.bench.inserts", arguments, within_s=START_S + effort.seconds)

    await accept(WARM_UP_S)
    spent.clear()
    accepted, inserted = await take_turns(effort.repeats, accept, insert)
    return [
        Figure("webhooks/s", [a.per_s for a in accepted], [i["per_s"] for i in inserted], Reach("≥", 0.4)),
        Figure("p99 ms", [a.p99_ms for a in accepted], [i["p99_ms"] for i in inserted]),
        *processor.figures(spent, "webhook"),
    ]


async def _stored(stage: Stage, gateway: asyncpg.Pool) -> tuple[int, int]:
    """Receipts, and events of theirs in the queue of the service that would read them."""
    receipts = await gateway.fetchval("SELECT count(*) FROM receipts WHERE status = 'accepted'")
    return receipts, (await stage.queue_lengths())["feedback.reactions"]


async def _assert_durable(pool: asyncpg.Pool) -> None:
    off = [name for name in SETTINGS if await pool.fetchval("SELECT current_setting($1)", name) != "on"]
    if off:
        raise Wrong(f"PostgreSQL is not durable: {', '.join(off)} off")


BENCHMARK = Benchmark(
    "P3",
    f"signed webhooks accepted and committed, {CLIENTS} clients, relay publishing meanwhile",
    f"asyncpg single-row INSERTs of the same bytes, committed, {CLIENTS} clients",
    parts=("gateway",),
    broker=True,
    run=run,
)
