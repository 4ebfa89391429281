"""P7a: a BG/NBD fitted to a million customers, beside lifetimes on the same file."""

from typing import Any

from infra.bench import shoppers
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.figures import Figure, Reach, Wrong
from infra.bench.stage import Stage

CLOSE = 1e-6  # relative, of log-likelihoods


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    await stage.have()
    file = stage.folder / "shoppers.npz"
    shoppers.make(file, 10 * effort.customers)

    async def theirs() -> dict[str, Any]:
        return await shoppers.theirs(stage, "fit", file)

    mine, others = await take_turns(effort.repeats, lambda: shoppers.ours("fit", file), theirs)
    reached, known = mine[0]["log_likelihood"], others[0]["log_likelihood"]
    if abs(reached - known) > CLOSE * abs(known):
        raise Wrong(f"the log-likelihood is {reached}, that of lifetimes {known}")
    note = f"{10 * effort.customers:,} customers; log-likelihood {reached:.2f}, lifetimes {known:.2f}"
    return [
        Figure(
            "fits/s",
            [1 / m["seconds"] for m in mine],
            [1 / o["seconds"] for o in others],
            Reach("≥", 20),
            note,
        )
    ]


BENCHMARK = Benchmark(
    "P7a",
    "a BG/NBD fit, identical histories folded and standard errors included",
    "lifetimes 0.11.3 on the same data",
    parts=(),
    broker=False,
    run=run,
)
