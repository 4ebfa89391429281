"""P7b: P(alive), expected purchases and lifetime value of a million customers, beside lifetimes."""

from typing import Any

import numpy as np

from infra.bench import shoppers
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.figures import Figure, Reach, Wrong
from infra.bench.stage import Stage

CLOSE = 1e-6  # relative, of each answer


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    await stage.have()
    file = stage.folder / "shoppers.npz"
    customers = 10 * effort.customers
    shoppers.make(file, customers)

    async def theirs() -> dict[str, Any]:
        return await shoppers.theirs(stage, "predict", file)

    mine, others = await take_turns(effort.repeats, lambda: shoppers.ours("predict", file), theirs)
    ours_file, theirs_file = np.load(file.with_name("ours.npz")), np.load(file.with_name("theirs.npz"))
    for name in ("alive", "expected", "value"):
        answers, known = ours_file[name], theirs_file[name]
        if not np.isfinite(answers).all():
            raise Wrong(f"{name} is not finite for {int((~np.isfinite(answers)).sum())} customers")
        off = ~np.isclose(answers, known, rtol=CLOSE, atol=1e-9) & np.isfinite(known)
        if off.any():
            raise Wrong(f"{name} differs for {int(off.sum())} of {customers} customers")
    return [
        Figure(
            "customers/s",
            [customers / m["seconds"] for m in mine],
            [customers / o["seconds"] for o in others],
            Reach("≥", 8),
            f"{customers:,} customers, 12 monthly steps; every answer equals that of lifetimes to 1e-6",
        )
    ]


BENCHMARK = Benchmark(
    "P7b",
    "P(alive), expected purchases and discounted lifetime value",
    "lifetimes 0.11.3 on the same data",
    parts=(),
    broker=False,
    run=run,
)
