"""P9: postings on ledgers that have grown, and reads of views that have, each beside a small one.

A view's read is measured as P1's query alone, under pgbench: the rest of P1 does not grow, and would hide it.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from gateway.view.store import READ_MANY
from infra.bench import ledgers, made, members, pgbench
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.figures import Figure, Reach
from infra.bench.p04a_postings import POST
from infra.bench.stage import Stage

SLOWER = 1.2
SOMEBODY = "ARRAY(SELECT id FROM bench_ids WHERE number = :number)"
READ = "\\set number random(0, :customers - 1)\n" + READ_MANY.replace("$1::uuid[]", SOMEBODY)


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
    file = stage.folder / "p9-read.sql"
    file.write_text(READ, encoding="utf-8")
    for size in effort.sizes:
        await made.make_view(stage, _view(size), size)

    async def read(size: int) -> float:
        return (await pgbench.script(stage, _view(size), file, effort.seconds, {"customers": size}))[1]

    return await _beside_the_smallest(effort, read, lambda size: f"views read/s with {size:,} customers")


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


def _view(size: int) -> str:
    return f"bench_view_{size}"


BENCHMARK = Benchmark(
    "P9",
    "ledger postings and reads of the view as they grow",
    "the same on the smallest",
    parts=("loyalty", "gateway"),
    broker=False,
    run=run,
)
