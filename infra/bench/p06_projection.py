"""P6: section events applied to the view, beside a raw consumer of the same messages.

The gateway's own consumer runs throughout. A lock on the view holds it while the queue fills; the clock runs
from the lock's release until the last event is in the view.
"""

import time
from uuid import UUID

import asyncpg

from infra.bench import made
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.beside import run_beside
from infra.bench.figures import Figure, Reach, Wrong
from infra.bench.processes import until
from infra.bench.queued import publish_all, quorum_queue
from infra.bench.stage import SETTLE_S, Stage
from shared.contracts.sections import SECTIONS
from shared.messaging.sections import Section, Snapshot, envelope

RAW = "raw"
_VERSION = "SELECT version FROM view_sections WHERE customer_id = $1 AND section = $2"
_APPLIED = """
    SELECT count(*) FROM view_sections
    WHERE customer_id = ANY($1::uuid[]) AND version = $2 AND body IS NOT NULL
"""
_TROUBLE = "SELECT count(*) FROM dead_letters"


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    gateway = await stage.pool("c360_gateway")
    customers = [made.customer_id(number) for number in range(effort.section_events // len(SECTIONS))]
    bodies = [[made.body_of(section, number) for section in SECTIONS] for number in range(len(customers))]
    newest = await gateway.fetchval("SELECT coalesce(max(version), 0) FROM view_sections")
    await stage.have("gateway")
    raw_queue = stage.queue(RAW)

    async def project() -> float:
        nonlocal newest
        newest += 1
        messages = _messages(customers, bodies, newest)
        async with stage.channel() as channel, gateway.acquire() as connection:
            exchange = await channel.get_exchange(f"{stage.prefix}.events", ensure=False)
            async with connection.transaction():
                await connection.execute("LOCK TABLE view_sections IN SHARE ROW EXCLUSIVE MODE")
                await publish_all(exchange, messages)
            started = time.perf_counter()
        await until(
            lambda: _is_applied(gateway, customers[-1], SECTIONS[-1], newest),
            "the last event was not applied",
            within_s=SETTLE_S,
        )
        took_s = time.perf_counter() - started
        applied = await gateway.fetchval(_APPLIED, customers, newest)
        if applied != len(messages) or await gateway.fetchval(_TROUBLE):
            raise Wrong(f"{applied} of {len(messages)} events were applied")
        return len(messages) / took_s

    async def consume() -> float:
        messages = [(raw_queue, body) for _, body in _messages(customers, bodies, newest)]
        async with stage.channel() as channel:
            await publish_all(channel.default_exchange, messages)
        arguments = {"url": stage.amqp_url, "queue": raw_queue, "count": len(messages)}
        said = await run_beside("infra.bench.consume", arguments, within_s=SETTLE_S)
        if (said["messages"], said["bytes"]) != (len(messages), sum(len(body) for _, body in messages)):
            raise Wrong(f"the raw consumer got {said['messages']} of {len(messages)} messages")
        return float(said["per_s"])

    async with stage.channel() as channel:
        queue = await quorum_queue(channel, raw_queue)
        try:
            await project()  # not counted: from here on every event is about a section that is known
            projected, consumed = await take_turns(effort.repeats, project, consume)
        finally:
            await queue.delete(if_unused=False, if_empty=False)
    return [Figure("section events/s", projected, consumed, Reach("≥", 0.5))]


async def _is_applied(gateway: asyncpg.Pool, customer: UUID, section: str, version: int) -> bool:
    return bool(await gateway.fetchval(_VERSION, customer, section) == version)


def _messages(customers: list[UUID], bodies: list[list[str]], version: int) -> list[tuple[str, bytes]]:
    """Type and envelope of one event for each customer and section, as the services' relays write them."""
    events = [
        envelope(Section(section, _never, ""), Snapshot(customer, version, made.AS_OF, body))
        for customer, own in zip(customers, bodies, strict=True)
        for section, body in zip(SECTIONS, own, strict=True)
    ]
    return [(event.type, event.envelope.encode()) for event in events]


async def _never(connection: asyncpg.Connection, ids: list[UUID]) -> dict[UUID, str]:
    raise NotImplementedError("these sections are made beforehand")


BENCHMARK = Benchmark(
    "P6",
    "section events applied to the view: decoded, checked, in the inbox and upserted",
    "raw aio-pika: the same messages consumed from a quorum queue and acknowledged",
    parts=("gateway",),
    broker=True,
    run=run,
)
