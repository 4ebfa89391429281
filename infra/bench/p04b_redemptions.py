"""P4b: redemptions over HTTP at the loyalty service, beside TPC-B on the same server by as many clients.

The service's relay publishes events and sections to RabbitMQ meanwhile; nobody consumes them.
"""

import itertools
import random
from uuid import uuid4

from infra.bench import members, pgbench, processor
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.figures import Figure, Reach, Wrong
from infra.bench.load import WARM_UP_S, Answers, Load, fire
from infra.bench.requests import http_request, json_body, write_requests
from infra.bench.stage import Stage

CLIENTS = pgbench.CLIENTS
ENOUGH_PER_S = 4_000


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    loyalty = await stage.pool("c360_loyalty")
    await members.enrol(loyalty, effort.members)
    await pgbench.prepare_tpcb(stage, effort.tpcb_scale)
    service = (await stage.have("loyalty"))["loyalty"]
    chance = random.Random(4)
    token = stage.token
    body = json_body({"points": 1, "reason": "voucher"})
    spent: list[tuple[processor.Used, int]] = []

    def redemption() -> bytes:
        member = members.member_id(chance.randrange(effort.members))
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Idempotency-Key": uuid4().hex,
        }
        return http_request("POST", f"/v1/loyalty/{member}/redemptions", headers=headers, body=body)

    async def redeem(seconds: float = effort.seconds) -> Answers:
        load = Load(stage.folder / "p4b.redemptions", 201, '"points":1,', repeat=False)
        made = int(ENOUGH_PER_S * (seconds + 0.5))
        write_requests(load.requests, (redemption() for _ in itertools.repeat(None, made)))
        before, used = await members.redemptions(loyalty), await processor.used(stage)
        answers = await fire(load, service.port, connections=CLIENTS, seconds=seconds)
        await stage.settled("loyalty")
        spent.append((processor.between(used, await processor.used(stage)), answers.count))
        posted = await members.redemptions(loyalty) - before
        if not answers.count <= posted <= answers.count + CLIENTS:
            raise Wrong(f"{answers.count} redemptions were answered, {posted} posted")
        return answers

    await redeem(WARM_UP_S)
    spent.clear()
    redeemed, tpcb = await take_turns(effort.repeats, redeem, lambda: pgbench.tpcb(stage, effort.seconds))
    if wrong := await members.differences(loyalty):
        raise Wrong(f"{wrong} balances differ from their entries or lots")
    return [
        Figure("redemptions/s", [r.per_s for r in redeemed], tpcb, Reach("≥", 0.35)),
        Figure("p99 ms", [r.p99_ms for r in redeemed]),
        *processor.figures(spent, "redemption"),
    ]


BENCHMARK = Benchmark(
    "P4b",
    f"redemptions over HTTP at the loyalty service, {CLIENTS} clients, relay publishing meanwhile",
    f"pgbench TPC-B, prepared, {CLIENTS} clients, same server",
    parts=("loyalty",),
    broker=True,
    run=run,
)
