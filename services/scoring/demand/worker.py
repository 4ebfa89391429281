"""Forecasts are computed in a process of their own: histories go in, weeks with their bounds come out."""

import asyncio
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

from services.scoring.demand.rules import Buyers, Estimated, Spends, Totals, forecast, interval
from services.scoring.facts.histories import Floats
from services.scoring.models.catalogue import PurchaseKind, purchases_by
from services.scoring.processes import compute

ALL = "all"


@dataclass(frozen=True, slots=True)
class Parameters:
    """A fitted model's parameters and covariance in the literature's order; no covariance: not known."""

    values: Sequence[float]
    covariance: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, slots=True)
class SpendParameters:
    """A currency's model of spend."""

    parameters: Parameters
    refund_rate: float


@dataclass(frozen=True, slots=True)
class Task:
    """What to forecast: `buyers` lie in cells, numbered by segment and then by currency."""

    kind: PurchaseKind
    purchases: Parameters
    spends: dict[str, SpendParameters]
    segments: Sequence[str]
    currencies: Sequence[str]
    buyers: Buyers
    unit_days: int
    weeks: int


@dataclass(frozen=True, slots=True)
class Foretold:
    """A week of a segment and currency; `week` counts from 0. No bounds: the variance is infinite."""

    segment: str
    currency: str
    measure: str
    week: int
    expected: float
    low: float | None
    high: float | None


async def run(task: Task, *, timeout_s: float) -> list[Foretold]:
    """Forecast in a process of its own.

    Raises:
        TookTooLong: it was stopped after `timeout_s`.
    """
    answer, _ = await compute(__name__, await asyncio.to_thread(_pack, task), {}, timeout_s=timeout_s)
    return await asyncio.to_thread(lambda: [Foretold(*row) for row in answer["weeks"]])


def foretell(task: Task) -> list[Foretold]:
    """Forecast here and now: every segment, and all together, by currency."""
    names = [(segment, currency) for segment in task.segments for currency in task.currencies]
    found = [*names, *((ALL, currency) for currency in task.currencies)]
    sums = np.array([[want in (name, (ALL, name[1])) for name in names] for want in found], dtype=np.float64)
    spends = {
        currency: Spends(_estimated(given.parameters), given.refund_rate)
        for currency, given in task.spends.items()
    }
    totals = forecast(
        purchases_by(task.kind).make,
        _estimated(task.purchases),
        {n: spends[currency] for n, (_, currency) in enumerate(names) if currency in spends},
        task.buyers,
        cells=len(names),
        edges=np.arange(task.weeks + 1, dtype=np.float64) * (7 / task.unit_days),
        sums=sums,
    )
    return [row for place, name in enumerate(found) for row in _weeks(totals, place, *name)]


def _weeks(totals: Totals, place: int, segment: str, currency: str) -> list[Foretold]:
    rows = []
    for measure, expected, variance in (
        ("purchases", totals.purchases[place], totals.purchases_variance[place]),
        ("revenue", totals.revenue[place], totals.revenue_variance[place]),
    ):
        if np.isnan(expected).any():
            continue
        for week, (mean, spread) in enumerate(zip(expected.tolist(), variance.tolist(), strict=True)):
            bounds = interval(mean, spread, counted=measure == "purchases") or (None, None)
            rows.append(Foretold(segment, currency, measure, week, mean, *bounds))
    return rows


def _estimated(given: Parameters) -> Estimated:
    covariance: Floats | None = np.array(given.covariance, dtype=np.float64) if given.covariance else None
    return Estimated(np.array(given.values, dtype=np.float64), covariance)


def _pack(task: Task) -> bytes:
    said = asdict(task)
    arrays: dict[str, Any] = said.pop("buyers")
    packed = io.BytesIO()
    np.savez(packed, said=np.frombuffer(orjson.dumps(said), dtype=np.uint8), **arrays)
    return packed.getvalue()


def _unpack(packed: bytes) -> Task:
    arrays = dict(np.load(io.BytesIO(packed), allow_pickle=False))
    said = orjson.loads(arrays.pop("said").tobytes())
    said["purchases"] = Parameters(**said["purchases"])
    said["spends"] = {
        currency: SpendParameters(Parameters(**given["parameters"]), given["refund_rate"])
        for currency, given in said["spends"].items()
    }
    return Task(**said, buyers=Buyers(**arrays))


def _main() -> None:
    rows = foretell(_unpack(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(orjson.dumps({"weeks": [list(asdict(row).values()) for row in rows]}))


if __name__ == "__main__":
    _main()
