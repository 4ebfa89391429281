"""Bootstrap intervals of a lifetime value: the models are fitted often, in a process of their own."""

import asyncio
import io
import sys
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import orjson

from services.scoring.facts.histories import DAYS_PER_UNIT, Floats, Histories, Spending, Unit
from services.scoring.models import gamma_gamma
from services.scoring.models.catalogue import ModelKind, purchases_by
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.worker import REFUSALS
from services.scoring.processes import compute
from services.scoring.value.lifetime import Terms
from services.scoring.value.worth import Buyers, bootstrap_interval, lifetime_values
from shared.problems import Conflict


@dataclass(frozen=True, slots=True)
class Drawing:
    """One buyer, everybody whom the models are fitted to, and how often customers are drawn anew."""

    kind: ModelKind
    unit: Unit
    buyer: Buyers
    histories: Histories
    spending: Spending
    terms: Terms
    repeats: int


async def run(drawing: Drawing, *, timeout_s: float) -> tuple[float, float]:
    """The 95 % interval of the buyer's lifetime value, in the unit of the spending.

    Raises:
        TooFewCustomers, NoRepeatBuyers, NoVariance, NotConverged: too many draws determine no model.
        TookTooLong: it was stopped after `timeout_s`.
    """
    packed = await asyncio.to_thread(_pack, drawing)
    answer, _ = await compute(__name__, packed, REFUSALS, timeout_s=timeout_s)
    return answer["low"], answer["high"]


def draw(drawing: Drawing) -> tuple[float, float]:
    """The interval, here and now."""
    kind = purchases_by(drawing.kind)

    def valued(histories: Histories, spending: Spending) -> Floats:
        purchasing = kind.make(**kind.fit(histories).params)
        spend = GammaGamma(**gamma_gamma.fit(spending).params)
        return lifetime_values(purchasing, spend, drawing.buyer, drawing.terms, DAYS_PER_UNIT[drawing.unit])

    low, high = bootstrap_interval(drawing.histories, drawing.spending, valued, drawing.repeats)
    return float(low[0]), float(high[0])


def _pack(drawing: Drawing) -> bytes:
    arrays: dict[str, Floats] = {}
    for name in ("buyer", "histories", "spending"):
        part = getattr(drawing, name)
        arrays |= {f"{name}.{field.name}": getattr(part, field.name) for field in fields(part)}
    said = {
        "kind": drawing.kind,
        "unit": drawing.unit,
        "terms": asdict(drawing.terms),
        "repeats": drawing.repeats,
    }
    packed = io.BytesIO()
    np.savez(packed, said=np.frombuffer(orjson.dumps(said), dtype=np.uint8), **arrays)  # type: ignore[arg-type]
    return packed.getvalue()


def _unpack(packed: bytes) -> Drawing:
    arrays = np.load(io.BytesIO(packed), allow_pickle=False)
    said: dict[str, Any] = orjson.loads(arrays["said"].tobytes())

    def part(name: str) -> dict[str, Floats]:
        return {key.removeprefix(name): arrays[key] for key in arrays if key.startswith(name)}

    return Drawing(
        said["kind"],
        said["unit"],
        Buyers(**part("buyer.")),
        Histories(**part("histories.")),
        Spending(**part("spending.")),
        Terms(**said["terms"]),
        said["repeats"],
    )


def _main() -> None:
    answer: dict[str, object]
    try:
        low, high = draw(_unpack(sys.stdin.buffer.read()))
        answer = {"low": low, "high": high}
    except Conflict as refusal:
        answer = {"refused": refusal.slug, "detail": refusal.detail}
    sys.stdout.buffer.write(orjson.dumps(answer))


if __name__ == "__main__":
    _main()
