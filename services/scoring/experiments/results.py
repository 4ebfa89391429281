"""The results of an experiment: arms, effects with intervals, what the spending brought, and words."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import numpy as np
from pydantic import BaseModel, Field

from services.scoring.experiments.assignment import widths
from services.scoring.experiments.outcomes import Counts
from services.scoring.experiments.reading import (
    MISMATCH_P,
    Effect,
    Moments,
    customers_needed,
    effect,
    fixed_spread,
    mismatch,
    relative,
    spread,
)
from services.scoring.experiments.rules import METRICS, SHARES, ArmKind, Comparison, Metric, verdict
from services.scoring.experiments.schemas import ArmIn, ExperimentIn
from services.scoring.experiments.sizing import MOST_CUSTOMERS

MOMENTS = dict[tuple[int, Metric], Moments]


class IntervalOut(BaseModel):
    """From where to where the truth is; null while it cannot be told."""

    low: float | None
    high: float | None


class FixedOut(IntervalOut):
    """An interval that holds for one reading only."""

    holds: bool = Field(description="Whether this is the planned end; before it, leave this interval be.")


class RelativeOut(IntervalOut):
    """The difference as a share of the control's mean."""

    value: float | None


class ComparisonOut(BaseModel):
    """An arm against the control: the interval may be read at any time, as often as one likes."""

    arm: str
    against: str
    difference: float = Field(description="In the metric's unit, adjusted by what was spent before.")
    interval: IntervalOut
    fixed_horizon: FixedOut
    relative: RelativeOut
    variance_reduced: float = Field(description="Share of variance that spend before exposure explains.")
    shown: Literal["higher", "lower"] | None
    needs_customers: int | None = Field(
        description="Until the smallest effect would mostly be seen; null once one is shown."
    )
    verdict: str


class MeanOut(BaseModel):
    """A metric in an arm."""

    arm: str
    customers: int
    mean: float
    deviation: float


class MetricOut(BaseModel):
    """A metric: by arm, and each arm against the control."""

    metric: Metric
    meaning: str
    arms: list[MeanOut]
    comparisons: list[ComparisonOut]


class ArmCountOut(BaseModel):
    """How many customers an arm has. `waiting`: their outcome takes longer yet."""

    arm: str
    kind: ArmKind
    share: float
    assigned: int
    waiting: int


class EfficiencyOut(BaseModel):
    """What contacting an arm brought over the control; money in minor units."""

    arm: str
    contacts: int
    conversions_per_contact: float
    extra_conversions: float
    extra_conversions_interval: IntervalOut
    cost: int
    cost_per_extra_conversion: float | None = Field(description="Null unless there are more conversions.")
    extra_margin: float | None
    return_on_spend: float | None = Field(description="Extra margin for each unit of cost.")
    return_interval: IntervalOut


class ResultsOut(BaseModel):
    """What came of an experiment so far."""

    experiment_id: UUID
    status: Literal["empty", "running", "stopped"]
    read_until: datetime
    valid: bool = Field(description="Whether the arms are as large as their shares say.")
    mismatch_p: float = Field(description="Chance of arm sizes at least so far from their shares.")
    arms: list[ArmCountOut]
    in_two_arms: int = Field(description="Customers whom a merge put into two arms; they are left out.")
    metrics: list[MetricOut]
    efficiency: list[EfficiencyOut]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Read:
    """What results are made of."""

    experiment_id: UUID
    design: ExperimentIn
    status: Literal["running", "stopped"]
    planned: float
    until: datetime
    over: bool
    counts: dict[int, Counts]
    moments: MOMENTS
    margin: float


def results(read: Read) -> ResultsOut:
    """The whole report."""
    design = read.design
    sizes = [read.counts.get(arm, Counts(0, 0, 0)) for arm in range(len(design.arms))]
    chance = mismatch([size.assigned for size in sizes], widths(design.shares))
    valid = chance >= MISMATCH_P
    empty = not any(size.assigned for size in sizes)
    return ResultsOut(
        experiment_id=read.experiment_id,
        status="empty" if empty else read.status,
        read_until=read.until,
        valid=valid,
        mismatch_p=chance,
        arms=[
            ArmCountOut(
                arm=arm.name, kind=arm.kind, share=arm.share, assigned=size.assigned, waiting=size.waiting
            )
            for arm, size in zip(design.arms, sizes, strict=True)
        ],
        in_two_arms=sum(size.torn for size in sizes),
        metrics=[] if empty else [_metric(read, metric, valid=valid) for metric in design.metrics],
        efficiency=[] if empty else _efficiency(read),
        notes=_notes(read, valid=valid, empty=empty),
    )


def compare(read: Read, arm: int, metric: Metric) -> tuple[Comparison, Effect] | None:
    """An arm against the control in a metric; None while one of the two has nobody."""
    treated, control = (read.moments.get((a, metric)) for a in (arm, read.design.control))
    if treated is None or control is None:
        return None
    found = effect(treated, control, share=metric in SHARES)
    reach = spread(read.planned, _alpha(read.design), found.customers) * found.error
    return Comparison(float(found.estimate), *_around(found.estimate, reach)), found


def _metric(read: Read, metric: Metric, *, valid: bool) -> MetricOut:
    arms = [
        MeanOut(arm=arm.name, customers=int(m.n), mean=float(m.mean), deviation=float(np.sqrt(m.variance)))
        for n, arm in enumerate(read.design.arms)
        if (m := read.moments.get((n, metric))) is not None
    ]
    others = [n for n in range(len(read.design.arms)) if n != read.design.control]
    told = [_comparison(read, n, metric, valid=valid) for n in others]
    return MetricOut(
        metric=metric, meaning=METRICS[metric], arms=arms, comparisons=[c for c in told if c is not None]
    )


def _comparison(read: Read, arm: int, metric: Metric, *, valid: bool) -> ComparisonOut | None:
    compared = compare(read, arm, metric)
    if compared is None:
        return None
    comparison, found = compared
    design = read.design
    treated, control = read.moments[arm, metric], read.moments[design.control, metric]
    alpha = _alpha(design)
    fixed = _around(found.estimate, fixed_spread(alpha) * found.error)
    share, low, high = relative(found, treated, control, spread(read.planned, alpha, found.customers))
    needs = None
    deciding = metric == design.metrics[0] and comparison.shown is None and np.isfinite(found.error)
    if design.minimum_effect is not None and deciding:
        everybody = sum(float(m.n) for (_, name), m in read.moments.items() if name == metric)
        wanted = customers_needed(float(found.error), everybody, design.minimum_effect, alpha, design.power)
        needs = max(0, round(min(wanted, MOST_CUSTOMERS) - everybody))
    return ComparisonOut(
        arm=design.arms[arm].name,
        against=design.arms[design.control].name,
        difference=comparison.difference,
        interval=IntervalOut(low=comparison.low, high=comparison.high),
        fixed_horizon=FixedOut(low=fixed[0], high=fixed[1], holds=read.over and read.status == "stopped"),
        relative=RelativeOut(value=_number(share), low=_number(low), high=_number(high)),
        variance_reduced=float(found.reduced),
        shown=comparison.shown if valid else None,
        needs_customers=needs,
        verdict=verdict(
            comparison,
            arm=design.arms[arm].name,
            metric=metric,
            valid=valid,
            needs=needs,
            varies=bool(treated.variance > 0 or control.variance > 0),
        ),
    )


def _efficiency(read: Read) -> list[EfficiencyOut]:
    found = []
    for n, arm in enumerate(read.design.arms):
        converted = compare(read, n, "conversion")
        if n == read.design.control or arm.kind == "hold_out" or converted is None:
            continue
        found.append(_brought(read, n, arm, converted[0]))
    return found


def _brought(read: Read, n: int, arm: ArmIn, converted: Comparison) -> EfficiencyOut:
    mine = read.moments[n, "conversion"]
    contacts = int(mine.n)
    extra = contacts * converted.difference
    cost = contacts * arm.cost_per_contact
    earned = compare(read, n, "revenue")
    gain = contacts * read.margin
    returned: dict[str, float | None] = {"low": None, "high": None}
    if earned and cost and earned[0].low is not None and earned[0].high is not None:
        returned = {"low": earned[0].low * gain / cost, "high": earned[0].high * gain / cost}
    margin = earned[0].difference * gain if earned else None
    return EfficiencyOut(
        arm=arm.name,
        contacts=contacts,
        conversions_per_contact=float(mine.mean),
        extra_conversions=extra,
        extra_conversions_interval=IntervalOut(
            low=None if converted.low is None else converted.low * contacts,
            high=None if converted.high is None else converted.high * contacts,
        ),
        cost=cost,
        cost_per_extra_conversion=cost / extra if extra > 0 else None,
        extra_margin=margin,
        return_on_spend=margin / cost if margin is not None and cost else None,
        return_interval=IntervalOut(**returned),
    )


def _notes(read: Read, *, valid: bool, empty: bool) -> list[str]:
    if empty:
        return ["nobody has been exposed yet"]
    notes = []
    if not valid:
        notes.append("the arms are not as large as their shares say: mend the assignment and begin anew")
    if {"nps", "csat"} & set(read.design.metrics):
        notes.append("only customers who answered are compared; the arms may differ in who answers")
    if len(read.design.metrics) > 1:
        notes.append("the first metric decides; the others are each read as if they were the only one")
    if read.design.outcome_days is None:
        notes.append("outcomes still grow: a customer exposed yesterday has had one day")
    return notes


def _alpha(design: ExperimentIn) -> float:
    return design.alpha / (len(design.arms) - 1)


def _around(middle: np.ndarray, reach: np.ndarray) -> tuple[float | None, float | None]:
    return _number(middle - reach), _number(middle + reach)


def _number(value: np.ndarray) -> float | None:
    return float(value) if np.isfinite(value) else None
