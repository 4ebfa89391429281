"""P9, the ledger's part: P4a's postings on ledgers that have grown, beside a small one on the same server."""

from functools import partial

from infra.bench import ledgers, members, pgbench
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.figures import Figure, Reach
from infra.bench.p04a_postings import POST
from infra.bench.stage import Stage

SLOWER = 1.2


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    await stage.have()
    file = stage.folder / "p9.sql"
    file.write_text(POST.format(member=members.ID_IN_SQL.format(n=":number")), encoding="utf-8")
    names = {}
    for size in effort.ledgers:
        names[size] = f"bench_ledger_{size}"
        await ledgers.make(stage, names[size], size)

    async def post(size: int) -> float:
        _, per_s = await pgbench.script(stage, names[size], file, effort.seconds, {"members": size})
        await members.forget_events(await stage.pool(names[size]))
        return per_s

    smallest, *others = effort.ledgers
    figures = []
    for size in others:
        grown, small = await take_turns(effort.repeats, partial(post, size), partial(post, smallest))
        entries = size * ledgers.EARNINGS * 2
        what = f"postings/s with {size:,} members and {entries:,} entries"
        figures.append(Figure(what, grown, small, Reach("≥", round(1 / SLOWER, 3))))
    return figures


BENCHMARK = Benchmark(
    "P9",
    "ledger postings as the ledger grows",
    "the same postings on the smallest ledger",
    parts=("loyalty",),
    broker=False,
    run=run,
)
