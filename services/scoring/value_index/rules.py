"""The value index: what is measured of a customer, how it is scaled, weighed and graded. Pure.

Index = sum of weight × score over eight measures in four groups, each score the share of all customers that
do worse (half of those who do equally). The weight of a measure that is not known goes to the others.
Relationship follows Bolton, Lemon & Verhoef (2004), Journal of the Academy of Marketing Science 32(3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from services.scoring.value_index.ahp import Floats, Judgement, Weights, weigh

Grade = Literal["high", "middle", "low"]
GOAL = "goal"
GROUPS: Mapping[str, tuple[str, str]] = {
    "financial": ("clv", "profit_contribution"),
    "satisfaction": ("csat", "complaints"),
    "loyalty": ("repurchase", "referral"),
    "relationship": ("depth", "stability"),
}
MEASURES = tuple(measure for pair in GROUPS.values() for measure in pair)
CENTILES = tuple(n / 100 for n in range(1, 100))
DIGITS = 4  # what is shown; smaller changes are none


@dataclass(frozen=True, slots=True)
class CostToServe:
    """What serving costs, in minor units of one currency; customers of other currencies are not judged."""

    currency: str
    per_purchase: int
    per_ticket: int


@dataclass(frozen=True, slots=True)
class Setup:
    """Judgements by level (`goal`, or a group's name), costs, and from where on a grade holds."""

    comparisons: Mapping[str, Sequence[Judgement]] = field(default_factory=dict)
    cost_to_serve: CostToServe | None = None
    high_from: float = 0.65
    middle_from: float = 0.35


@dataclass(frozen=True, slots=True)
class Indexed:
    """A customer's index with its parts: the score of each known measure."""

    value: float
    grade: Grade
    parts: Mapping[str, float]


def levels(setup: Setup) -> dict[str, Weights]:
    """The weights of each level, goal first."""
    found = {GOAL: weigh(tuple(GROUPS), setup.comparisons.get(GOAL, ()))}
    for group, measures in GROUPS.items():
        found[group] = weigh(measures, setup.comparisons.get(group, ()))
    return found


def measure_weights(found: Mapping[str, Weights]) -> dict[str, float]:
    """The weight of each measure in the whole; they sum to one."""
    return {
        measure: found[GOAL].weights[group] * found[group].weights[measure]
        for group, measures in GROUPS.items()
        for measure in measures
    }


def score(values: Floats, cuts: Sequence[float]) -> Floats:
    """The share of all customers that do worse, ties counted half, shape (n,); nan where not known.

    `cuts` are the 99 rising centiles of all known values.
    """
    points = np.asarray(cuts, dtype=np.float64)
    below, up_to = np.searchsorted(points, values, "left"), np.searchsorted(points, values, "right")
    return np.where(np.isnan(values), np.nan, (below + up_to) / (2 * len(points)))


def index(scores: Mapping[str, Floats], weights: Mapping[str, float], setup: Setup) -> list[Indexed | None]:
    """Each customer's index from their scores by measure, shape (n,) each; None when nothing is known."""
    matrix = np.array([scores[measure] for measure in MEASURES])
    known = ~np.isnan(matrix)
    shares = np.array([weights[measure] for measure in MEASURES])[:, None] * known
    total = shares.sum(axis=0)
    values = (shares * np.where(known, matrix, 0)).sum(axis=0) / np.where(total > 0, total, 1)
    return [
        _indexed(float(values[n]), matrix[:, n], known[:, n], setup) if total[n] > 0 else None
        for n in range(matrix.shape[1])
    ]


def moved(
    before: Mapping[str, float], after: Mapping[str, float], weights: Mapping[str, float]
) -> tuple[str, float] | None:
    """The part that moved the index most and by how much; one that became known moves it from the middle."""
    changes = {
        measure: round(weights[measure] * (after.get(measure, 0.5) - before.get(measure, 0.5)), DIGITS)
        for measure in MEASURES
    }
    most = max(MEASURES, key=lambda measure: abs(changes[measure]))
    return (most, changes[most]) if changes[most] else None


def _indexed(value: float, column: Floats, known: Floats, setup: Setup) -> Indexed:
    rounded = round(value, DIGITS)
    grade: Grade = "low"
    if rounded >= setup.high_from:
        grade = "high"
    elif rounded >= setup.middle_from:
        grade = "middle"
    parts = {m: round(float(column[n]), DIGITS) for n, m in enumerate(MEASURES) if known[n]}
    return Indexed(rounded, grade, parts)
