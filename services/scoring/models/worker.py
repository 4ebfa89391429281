"""Fits run in their own process: arrays go in, and the estimate and its quality come out, or a refusal."""

import asyncio
import io
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import orjson

from services.scoring.facts.histories import Floats, Histories, Spending
from services.scoring.models import gamma_gamma, purchasing
from services.scoring.models.catalogue import ModelKind, purchases_by
from services.scoring.models.estimation import (
    Estimate,
    NoRepeatBuyers,
    NotConverged,
    NoVariance,
    TooFewCustomers,
)
from services.scoring.models.evaluation import HoldOut, SpendHoldOut, evaluate, evaluate_spend
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.release import SelfTestFailed, self_test
from services.scoring.processes import compute
from shared.problems import Conflict, Problem

REFUSALS: dict[str, type[Problem]] = {
    refusal.slug: refusal
    for refusal in (TooFewCustomers, NoRepeatBuyers, NoVariance, NotConverged, SelfTestFailed)
}


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The model that serves now; its times are `rescale` times those of the new one."""

    kind: ModelKind
    params: Mapping[str, float]
    rescale: float = 1.0


@dataclass(frozen=True, slots=True)
class Task:
    """What to fit, and what to judge it by: a hold-out, and the model that serves."""

    kind: ModelKind
    data: Histories | Spending
    minimum_customers: int
    hold_out: HoldOut | SpendHoldOut | None = None
    incumbent: Incumbent | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """The estimate from all data; the quality of one from the calibration window alone, None when that
    determines no model; the root mean squared error of the model that serves."""

    estimate: Estimate
    quality: dict[str, Any] | None
    serving_error: float | None


async def run(task: Task, *, timeout_s: float) -> Fitted:
    """Fit a model in a process of its own.

    Raises:
        TooFewCustomers, NoRepeatBuyers, NoVariance, NotConverged: the model refuses these customers.
        SelfTestFailed: the model does not give its known numbers.
        TookTooLong: it was stopped after `timeout_s`.
    """
    if isinstance(task.data, Histories):
        purchasing.check(task.data, task.minimum_customers)
    else:
        gamma_gamma.check(task.data, task.minimum_customers)
    answer, _ = await compute(__name__, await asyncio.to_thread(_pack, task), REFUSALS, timeout_s=timeout_s)
    return Fitted(Estimate(**answer["estimate"]), answer["quality"], answer["serving_error"])


def fit(task: Task) -> Fitted:
    """Fit and judge a model here and now."""
    self_test(task.kind)
    return Fitted(
        _estimate(task.kind, task.data, task.minimum_customers), _quality(task), _serving_error(task)
    )


def _estimate(kind: ModelKind, data: Histories | Spending, minimum_customers: int) -> Estimate:
    if isinstance(data, Spending):
        return gamma_gamma.fit(data, minimum_customers=minimum_customers)
    return purchases_by(kind).fit(data, minimum_customers=minimum_customers)


def _quality(task: Task) -> dict[str, Any] | None:
    if task.hold_out is None:
        return None
    seen = task.hold_out.folded() if isinstance(task.hold_out, HoldOut) else task.hold_out.spending
    try:
        params = _estimate(task.kind, seen, task.minimum_customers).params
        return _judge(task.kind, params, task.hold_out)
    except Conflict:
        return None


def _serving_error(task: Task) -> float | None:
    if task.hold_out is None or task.incumbent is None:
        return None
    hold_out = task.hold_out
    if isinstance(hold_out, HoldOut):
        hold_out = hold_out.rescaled(task.incumbent.rescale)
    try:
        error: float = _judge(task.incumbent.kind, task.incumbent.params, hold_out)["rms_error"]
    except Conflict:
        return None
    return error


def _judge(kind: ModelKind, params: Mapping[str, float], hold_out: HoldOut | SpendHoldOut) -> dict[str, Any]:
    if isinstance(hold_out, SpendHoldOut):
        return asdict(evaluate_spend(GammaGamma(**params), hold_out))
    return asdict(evaluate(purchases_by(kind).make(**params), hold_out))


def _pack(task: Task) -> bytes:
    arrays: dict[str, Floats] = {f"data.{f.name}": getattr(task.data, f.name) for f in fields(task.data)}
    horizon = None
    if isinstance(task.hold_out, HoldOut):
        seen = task.hold_out.histories
        arrays |= {f"seen.{f.name}": getattr(seen, f.name) for f in fields(seen)}
        arrays["bought"], horizon = task.hold_out.bought, task.hold_out.horizon
    elif task.hold_out is not None:
        arrays |= {f"later.{f.name}": getattr(task.hold_out, f.name) for f in fields(task.hold_out)}
    said = {
        "kind": task.kind,
        "minimum_customers": task.minimum_customers,
        "horizon": horizon,
        "incumbent": asdict(task.incumbent) if task.incumbent else None,
    }
    packed = io.BytesIO()
    np.savez(packed, said=np.frombuffer(orjson.dumps(said), dtype=np.uint8), **arrays)  # type: ignore[arg-type]
    return packed.getvalue()


def _unpack(packed: bytes) -> Task:
    arrays = np.load(io.BytesIO(packed), allow_pickle=False)
    said = orjson.loads(arrays["said"].tobytes())

    def part(name: str) -> dict[str, Floats]:
        return {key.removeprefix(name): arrays[key] for key in arrays if key.startswith(name)}

    hold_out: HoldOut | SpendHoldOut | None = None
    if "bought" in arrays:
        hold_out = HoldOut(Histories(**part("seen.")), arrays["bought"], said["horizon"])
    elif later := part("later."):
        hold_out = SpendHoldOut(**later)
    data = (Spending if said["kind"] == "gamma_gamma" else Histories)(**part("data."))
    incumbent = Incumbent(**said["incumbent"]) if said["incumbent"] else None
    return Task(said["kind"], data, said["minimum_customers"], hold_out, incumbent)


def _main() -> None:
    try:
        answer: object = fit(_unpack(sys.stdin.buffer.read()))
    except (Conflict, SelfTestFailed) as refusal:
        answer = {"refused": refusal.slug, "detail": refusal.detail}
    sys.stdout.buffer.write(orjson.dumps(answer))


if __name__ == "__main__":
    _main()
