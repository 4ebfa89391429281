"""Uplift models are learnt in a process of its own: arrays go in, rankings come out, or a refusal."""

import asyncio
import io
import sys
from dataclasses import asdict, dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from services.scoring.experiments.uplift import FOLDS, Floats, rank
from services.scoring.processes import compute
from shared.problems import Conflict, Problem

LEAST_CUSTOMERS = 200  # of each arm


class TooFewToModel(Conflict):
    slug, title = "too-few-to-model", "There is too little to learn from"


REFUSALS: dict[str, type[Problem]] = {TooFewToModel.slug: TooFewToModel}


@dataclass(frozen=True, slots=True)
class Observed:
    """n customers of two arms: x of shape (n, features), who was treated, who converted."""

    x: Floats
    treated: NDArray[np.bool_]
    y: NDArray[np.bool_]


async def run(observed: Observed, *, timeout_s: float) -> list[dict[str, object]]:
    """The rankings of all models, the best first.

    Raises:
        TooFewToModel: an arm has too few customers, or too few who converted or did not.
        TookTooLong: it was stopped after `timeout_s`.
    """
    for name, arm in (("treated", observed.treated), ("control", ~observed.treated)):
        converted = int(observed.y[arm].sum())
        if arm.sum() < LEAST_CUSTOMERS or min(converted, int(arm.sum()) - converted) < FOLDS * 4:
            raise TooFewToModel(
                f"The {name} arm has {arm.sum()} customers, {converted} of whom converted; "
                f"it takes {LEAST_CUSTOMERS}, and {FOLDS * 4} each who did and did not."
            )
    answer, _ = await compute(
        __name__, await asyncio.to_thread(_pack, observed), REFUSALS, timeout_s=timeout_s
    )
    rankings: list[dict[str, object]] = answer["rankings"]
    return rankings


def _pack(observed: Observed) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, x=observed.x, treated=observed.treated, y=observed.y)
    return packed.getvalue()


def _main() -> None:
    arrays = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    rankings = rank(arrays["x"], arrays["treated"], arrays["y"])
    sys.stdout.buffer.write(orjson.dumps({"rankings": [asdict(ranking) for ranking in rankings]}))


if __name__ == "__main__":
    _main()
