"""How well a model predicts what it has not seen: a calibration and a hold-out window. Pure.

Quality is the mean absolute error of purchases per customer in the hold-out, and how prediction and truth
compare by number of purchases in the calibration window, beside the heuristic a shop would use without a
model: everyone goes on buying at the rate they have shown.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.scoring.facts.histories import (
    DAYS_PER_UNIT,
    Floats,
    Histories,
    Purchased,
    Spending,
    Unit,
    fold,
)
from services.scoring.models import gamma_gamma
from services.scoring.models.estimation import Estimate, TooFewCustomers
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.purchasing import Purchasing

MOST_PURCHASES = 7  # this many and more are one group


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Distinct calibration histories with what followed: `bought` purchases within `horizon` units.

    `bought` has shape (n,), as the arrays of the histories have.
    """

    histories: Histories
    bought: Floats
    horizon: float

    def folded(self) -> Histories:
        """The calibration histories alone, identical ones together."""
        seen = self.histories
        return fold(seen.frequency, seen.recency, seen.age, seen.customers)


@dataclass(frozen=True, slots=True)
class Group:
    """Customers with equally many repeat purchases in the calibration window; means per customer."""

    purchases: str
    customers: int
    bought: float
    predicted: float
    heuristic: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Errors are mean absolute ones, in purchases per customer over the hold-out."""

    customers: int
    horizon: float
    error: float
    heuristic_error: float
    groups: tuple[Group, ...]


def split(
    purchases: Iterable[Purchased], *, calibration_end: date, until: date, unit: Unit, occasions: bool = False
) -> HoldOut:
    """Histories as of `calibration_end`, and purchases from then up to `until`, of all who had bought.

    Args:
        occasions: count periods of one unit with a purchase, as models of occasions do, instead of days
            with one. Periods are counted back and on from the calibration's end.

    Raises:
        ValueError: the hold-out is shorter than one unit of time.
    """
    length = DAYS_PER_UNIT[unit]
    ahead = (until - calibration_end).days
    if ahead < length:
        raise ValueError(f"The hold-out from {calibration_end} to {until} is shorter than one {unit}.")
    if occasions:
        ahead -= ahead % length
    by_customer: dict[Hashable, set[int]] = {}
    for purchase in purchases:
        day = (purchase.on - calibration_end).days
        if day <= ahead:
            by_customer.setdefault(purchase.customer, set()).add((day - 1) // length if occasions else day)
    rows = []
    for days in by_customer.values():
        first = min(days)
        known = [day for day in days if day < 0 or (day == 0 and not occasions)]
        if known:
            end = -1 if occasions else 0
            rows.append((len(known) - 1, max(known) - first, end - first, len(days) - len(known)))
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    distinct, customers = np.unique(table, axis=0, return_counts=True)
    scale = 1 if occasions else length
    return HoldOut(
        Histories(
            distinct[:, 0], distinct[:, 1] / scale, distinct[:, 2] / scale, customers.astype(np.float64)
        ),
        distinct[:, 3],
        ahead / length,
    )


def occasions(purchases: Iterable[Purchased], *, end: date, unit: Unit) -> Histories:
    """Histories as of `end` that count periods of one unit with a purchase, the last one ending at `end`."""
    length = DAYS_PER_UNIT[unit]
    by_customer: dict[Hashable, set[int]] = {}
    for purchase in purchases:
        if purchase.on <= end:
            by_customer.setdefault(purchase.customer, set()).add(((purchase.on - end).days - 1) // length)
    rows = [(len(p) - 1, max(p) - min(p), -1 - min(p)) for p in by_customer.values()]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return fold(table[:, 0], table[:, 1], table[:, 2])


@dataclass(frozen=True, slots=True)
class SpendQuality:
    """Mean absolute errors of the mean value of a purchase in the hold-out, in the money of the log."""

    customers: int
    error: float
    heuristic_error: float


def evaluate_spend(
    purchases: Iterable[Purchased], *, calibration_end: date, until: date, minimum_customers: int = 10
) -> tuple[Estimate, SpendQuality]:
    """Fit a Gamma-Gamma to the calibration window and predict what purchases after it are worth.

    Judged on customers who had bought again by then and bought in the hold-out; the heuristic is that their
    mean so far stays as it is.

    Raises:
        TooFewCustomers, NoVariance, NotConverged: the calibration window determines no model.
    """
    by_customer: dict[Hashable, dict[date, float]] = {}
    for purchase in purchases:
        if purchase.on <= until:
            days = by_customer.setdefault(purchase.customer, {})
            days[purchase.on] = days.get(purchase.on, 0.0) + purchase.amount
    rows = []
    for days in by_customer.values():
        seen = [days[day] for day in sorted(days) if day <= calibration_end][1:]
        later = [amount for day, amount in days.items() if day > calibration_end]
        if seen:
            rows.append((len(seen), sum(seen) / len(seen), sum(later) / len(later) if later else np.nan))
    count, mean, later_mean = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    estimate = gamma_gamma.fit(Spending(count, mean), minimum_customers=minimum_customers)
    came = ~np.isnan(later_mean)
    expected = GammaGamma(**estimate.params).expected_spend(count[came], mean[came])
    if not came.any():
        raise TooFewCustomers("No customer of the calibration window bought in the hold-out.")
    return estimate, SpendQuality(
        int(came.sum()),
        float(np.abs(expected - later_mean[came]).mean()),
        float(np.abs(mean[came] - later_mean[came]).mean()),
    )


def evaluate(model: Purchasing, hold_out: HoldOut) -> Quality:
    """Compare what a model, fitted to no more than the calibration window, expects with what came."""
    seen = hold_out.histories
    predicted = model.expected_purchases(hold_out.horizon, seen.frequency, seen.recency, seen.age)
    heuristic = repeat_the_rate(hold_out)
    groups = []
    counts = np.minimum(seen.frequency, MOST_PURCHASES)
    for count in np.unique(counts):
        rows = counts == count
        weights = seen.customers[rows]
        means = [
            float(np.average(column[rows], weights=weights))
            for column in (hold_out.bought, predicted, heuristic)
        ]
        name = f"{count:.0f}+" if count == MOST_PURCHASES else f"{count:.0f}"
        groups.append(Group(name, int(weights.sum()), *means))
    return Quality(
        seen.total,
        hold_out.horizon,
        _error(predicted, hold_out),
        _error(heuristic, hold_out),
        tuple(groups),
    )


def repeat_the_rate(hold_out: HoldOut) -> Floats:
    """The heuristic: x / T purchases per unit of time, for ever; shape (n,)."""
    seen = hold_out.histories
    rates: Floats = seen.frequency / np.where(seen.age > 0, seen.age, np.inf)
    return rates * hold_out.horizon


def _error(predicted: Floats, hold_out: HoldOut) -> float:
    return float(np.average(np.abs(predicted - hold_out.bought), weights=hold_out.histories.customers))
