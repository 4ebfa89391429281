"""P5: from a webhook's 202 until its ticket is in the 360 view, all five parts running, at a steady rate.

Four events lie between: feedback.received, ticket.opened, identity.resolved, section.feedback. The yardstick
is one hop over the same RabbitMQ, at the same rate, with nothing done on either side of it.
"""

import json
from collections.abc import Sequence
from typing import Any

import asyncpg

from infra.bench import processor
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.beside import run_beside
from infra.bench.figures import Figure, Reach, Wrong, percentile
from infra.bench.partner import Partner
from infra.bench.population import SERVICES, at_rest, populate
from infra.bench.processes import Server
from infra.bench.queued import quorum_queue
from infra.bench.stage import SETTLE_S, Person, Stage

RATE_PER_S = 200
RAW = "raw-latency"
MOST_LATE = 0.95  # of the rate that a loader must keep for its figures to count
_TICKETS = """
    SELECT sum((body::jsonb -> 'tickets' ->> 'mentions')::int) FROM view_sections
    WHERE section = 'feedback' AND customer_id = ANY($1::uuid[])
"""


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    gateway = (await stage.have("gateway", *SERVICES))["gateway"]
    people = await populate(stage, gateway, effort.active)
    partner = await Partner.admitted(gateway, stage.key)
    view = await stage.pool("c360_gateway")
    raw_queue = stage.queue(RAW)
    spent: list[tuple[processor.Used, int]] = []

    async def webhooks() -> list[float]:
        before, used = await _tickets(view, people), await processor.used(stage)
        times_ms = await _send(stage, gateway, partner, people)
        await at_rest(stage)
        spent.append((processor.between(used, await processor.used(stage)), len(people)))
        shown = await _tickets(view, people) - before
        if not len(times_ms) == shown == len(people):
            raise Wrong(
                f"{len(people)} webhooks, {len(times_ms)} seen in time, {shown} in the view at the end"
            )
        return times_ms

    async def raw() -> list[float]:
        arguments = {
            "url": stage.amqp_url,
            "queue": raw_queue,
            "rate": RATE_PER_S,
            "count": len(people),
            "body": partner.feedback(0, people[0].email)[1].decode(),
        }
        said = await run_beside("infra.bench.latency", arguments, within_s=SETTLE_S)
        times_ms: list[float] = said["times_ms"]
        return times_ms

    async with stage.channel() as channel:
        queue = await quorum_queue(channel, raw_queue)
        try:
            await webhooks()  # not counted
            spent.clear()
            seen, hops = await take_turns(effort.repeats, webhooks, raw)
        finally:
            await queue.delete(if_unused=False, if_empty=False)
    p50, p99 = ([percentile(times, percent) for times in seen] for percent in (50, 99))
    return [
        Figure("p50 ms", p50, reach=Reach("≤", 40)),
        Figure("p99 ms", p99, reach=Reach("≤", 200)),
        Figure("p50 ms, to one raw hop", p50, [percentile(times, 50) for times in hops], Reach("≤", 10)),
        *processor.figures(spent, "webhook"),
    ]


async def _send(stage: Stage, gateway: Server, partner: Partner, people: Sequence[Person]) -> list[float]:
    """One webhook for each of them, signed now; the times from accepted to visible."""
    made: list[dict[str, Any]] = []
    for number, person in enumerate(people):
        headers, body = partner.feedback(number, person.email)
        made.append({"customer": person.id, "headers": headers, "body": body.decode()})
    file = stage.folder / "p5.webhooks"
    file.write_text(json.dumps(made), encoding="utf-8")
    arguments = {
        "gateway": gateway.url,
        "path": partner.path,
        "dsn": stage.dsn("c360_gateway"),
        "webhooks": str(file),
        "rate": RATE_PER_S,
    }
    said = await run_beside("infra.bench.visible", arguments, within_s=SETTLE_S)
    if said["refused"] or said["sent_per_s"] < MOST_LATE * RATE_PER_S:
        raise Wrong(
            f"{len(said['refused'])} refused ({said['refused'][:1]}), sent {said['sent_per_s']:.0f} a second"
        )
    times_ms: list[float] = said["times_ms"]
    return times_ms


async def _tickets(view: asyncpg.Pool, people: Sequence[Person]) -> int:
    return int(await view.fetchval(_TICKETS, [person.id for person in people]) or 0)


BENCHMARK = Benchmark(
    "P5",
    f"webhook accepted to visible in the 360 view, all parts, {RATE_PER_S} webhooks/s",
    f"raw aio-pika: publish to consume over one quorum queue, {RATE_PER_S}/s",
    parts=("gateway", *SERVICES),
    broker=True,
    run=run,
)
