"""P9: postings on ledgers that have grown, and 360 views of more customers, each beside a small one."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from infra.bench import ledgers, made, members, pgbench
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.figures import Figure, Reach
from infra.bench.load import fire
from infra.bench.p01_view import CONNECTIONS, in_any_order, view_load
from infra.bench.p04a_postings import POST
from infra.bench.stage import Stage

SLOWER = 1.2
ASKED_FOR = 100_000  # customers at most: as many as P1 asks for, drawn from all there are


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    await stage.have()
    return await _ledgers(stage, effort) + await _views(stage, effort)


async def _ledgers(stage: Stage, effort: Effort) -> list[Figure]:
    file = stage.folder / "p9-post.sql"
    file.write_text(POST.format(member=members.ID_IN_SQL.format(n=":number")), encoding="utf-8")
    for size in effort.sizes:
        await ledgers.make(stage, _ledger(size), size)

    async def post(size: int) -> float:
        _, per_s = await pgbench.script(stage, _ledger(size), file, effort.seconds, {"members": size})
        await members.forget_events(await stage.pool(_ledger(size)))
        return per_s

    def what(size: int) -> str:
        return f"postings/s with {size:,} members and {size * ledgers.EARNINGS * 2:,} entries"

    return await _beside_the_smallest(effort, post, what)


async def _views(stage: Stage, effort: Effort) -> list[Figure]:
    async with AsyncExitStack() as running:
        gateways, loads = {}, {}
        for size in effort.sizes:
            database = f"bench_view_{size}"
            await made.fill_view(await stage.another("gateway", database), size)
            loads[size] = view_load(stage, f"p9.views.{size}", in_any_order(size)[:ASKED_FOR])
            gateways[size] = await running.enter_async_context(stage.gateway_on(database))

        async def read(size: int) -> float:
            answers = await fire(
                loads[size], gateways[size].port, connections=CONNECTIONS, seconds=effort.seconds
            )
            return answers.per_s

        return await _beside_the_smallest(effort, read, lambda size: f"360 views/s with {size:,} customers")


async def _beside_the_smallest(
    effort: Effort, measure: Callable[[int], Awaitable[float]], what: Callable[[int], str]
) -> list[Figure]:
    smallest, *others = effort.sizes
    figures = []
    for size in others:
        grown, small = await take_turns(effort.repeats, partial(measure, size), partial(measure, smallest))
        figures.append(Figure(what(size), grown, small, Reach("≥", round(1 / SLOWER, 3))))
    return figures


def _ledger(size: int) -> str:
    return f"bench_ledger_{size}"


BENCHMARK = Benchmark(
    "P9",
    "ledger postings and 360 views as they grow",
    "the same on the smallest",
    parts=("loyalty", "gateway"),
    broker=False,
    run=run,
)
