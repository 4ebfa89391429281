"""P4a: postings of the ledger's own SQL function, beside TPC-B on the same server under the same driver."""

from infra.bench import members, pgbench
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.figures import Figure, Reach, Wrong
from infra.bench.stage import Stage

POST = """\
\\set number random(0, :members - 1)
SELECT (post_transfer(
    'redemption', {member}, 'member', 'issuer', 1,
    'bench', 'bench', now(), gen_random_uuid()::text, '\\x00'::bytea)).outcome;
"""


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    await stage.have()
    loyalty = await stage.pool("c360_loyalty")
    await members.enrol(loyalty, effort.members)
    await pgbench.prepare_tpcb(stage, effort.tpcb_scale)
    file = stage.folder / "p4a.sql"
    file.write_text(POST.format(member=members.ID_IN_SQL.format(n=":number")), encoding="utf-8")

    async def post() -> float:
        before = await members.redemptions(loyalty)
        done, per_s = await pgbench.script(
            stage, "c360_loyalty", file, effort.seconds, {"members": effort.members}
        )
        posted = await members.redemptions(loyalty) - before
        told = await loyalty.fetchval("SELECT count(*) FROM outbox")
        if not done == posted == told:
            raise Wrong(f"{done} transactions made {posted} redemptions and {told} events")
        await members.forget_events(loyalty)
        return per_s

    posted, tpcb = await take_turns(effort.repeats, post, lambda: pgbench.tpcb(stage, effort.seconds))
    if wrong := await members.differences(loyalty):
        raise Wrong(f"{wrong} balances differ from their entries or lots")
    return [Figure("postings/s", posted, tpcb, Reach("≥", 0.8))]


BENCHMARK = Benchmark(
    "P4a",
    "ledger postings, lots, entries and outbox rows included, under pgbench",
    f"pgbench TPC-B, prepared, {pgbench.CLIENTS} clients, same server",
    parts=("loyalty",),
    broker=False,
    run=run,
)
