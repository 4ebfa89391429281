"""How well a model predicts what it has not seen: a calibration and a hold-out window. Pure.

Quality is the mean absolute error of purchases per customer in the hold-out, and how prediction and truth
compare by number of purchases in the calibration window, beside the heuristic a shop would use without a
model: everyone goes on buying at the rate they have shown.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from services.scoring.facts.histories import (
    DAYS_PER_UNIT,
    Floats,
    Histories,
    Purchased,
    Spending,
    Unit,
    fold,
)
from services.scoring.models.estimation import TooFewCustomers
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

    def rescaled(self, factor: float) -> "HoldOut":
        """The same with times in a unit that is `factor` times shorter."""
        seen = self.histories
        times = Histories(seen.frequency, seen.recency * factor, seen.age * factor, seen.customers)
        return HoldOut(times, self.bought, self.horizon * factor)

    def folded(self) -> Histories:
        """The calibration histories alone, identical ones together."""
        seen = self.histories
        return fold(seen.frequency, seen.recency, seen.age, seen.customers)


@dataclass(frozen=True, slots=True)
class Group:
    """Customers who are alike in `name`; means per customer."""

    name: str
    customers: int
    bought: float
    predicted: float
    heuristic: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Errors are mean absolute ones, in purchases per customer over the hold-out.

    `rms_error` is the root of the mean squared one, which versions are compared by: where most customers buy
    nothing, a model that expects nothing of anybody has a small absolute error, and no other virtue.
    `groups` are by repeat purchases in the calibration window, `deciles` by what was predicted, least first.
    """

    customers: int
    horizon: float
    error: float
    heuristic_error: float
    rms_error: float
    groups: tuple[Group, ...]
    deciles: tuple[Group, ...]


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
class SpendHoldOut:
    """Per customer who had bought again: how many repeat purchases of what mean value, and the mean value of
    those in the hold-out, NaN where none came. Shapes (n,)."""

    purchases: Floats
    mean: Floats
    later_mean: Floats

    @property
    def spending(self) -> Spending:
        """What a model may learn from."""
        return Spending(self.purchases, self.mean)


@dataclass(frozen=True, slots=True)
class SpendQuality:
    """Mean absolute errors of the mean value of a purchase in the hold-out, in the money of the model."""

    customers: int
    error: float
    heuristic_error: float
    rms_error: float


def split_spending(purchases: Iterable[Purchased], *, calibration_end: date, until: date) -> SpendHoldOut:
    """Repeat spending up to `calibration_end`, and what purchases from then up to `until` were worth."""
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
    return SpendHoldOut(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)


def evaluate_spend(model: GammaGamma, hold_out: SpendHoldOut) -> SpendQuality:
    """Judge a model, fitted to no more than the calibration window, by customers who bought in the hold-out.

    The heuristic is that a customer's mean so far stays as it is.

    Raises:
        TooFewCustomers: none of them did.
    """
    came = ~np.isnan(hold_out.later_mean)
    if not came.any():
        raise TooFewCustomers("No customer of the calibration window bought in the hold-out.")
    mean, later = hold_out.mean[came], hold_out.later_mean[came]
    expected = model.expected_spend(hold_out.purchases[came], mean)
    return SpendQuality(
        int(came.sum()),
        float(np.abs(expected - later).mean()),
        float(np.abs(mean - later).mean()),
        float(np.sqrt(np.mean((expected - later) ** 2))),
    )


def evaluate(model: Purchasing, hold_out: HoldOut) -> Quality:
    """Compare what a model, fitted to no more than the calibration window, expects with what came.

    Raises:
        TooFewCustomers: nobody had bought by its end.
    """
    seen = hold_out.histories
    if seen.total == 0:
        raise TooFewCustomers("No customer had bought by the end of the calibration window.")
    predicted = model.expected_purchases(hold_out.horizon, seen.frequency, seen.recency, seen.age)
    heuristic = repeat_the_rate(hold_out)
    counts = np.minimum(seen.frequency, MOST_PURCHASES)
    by_count = [
        _group(
            f"{count:.0f}" + ("+" if count == MOST_PURCHASES else ""), counts == count, hold_out, predicted
        )
        for count in np.unique(counts)
    ]
    order = np.argsort(predicted, kind="stable")
    before = np.empty(predicted.size)  # share of customers of whom less is expected
    before[order] = (np.cumsum(seen.customers[order]) - seen.customers[order] / 2) / seen.total
    tenth = np.minimum((10 * before).astype(np.int64), 9)
    return Quality(
        seen.total,
        hold_out.horizon,
        _error(predicted, hold_out),
        _error(heuristic, hold_out),
        float(np.sqrt(np.average((predicted - hold_out.bought) ** 2, weights=seen.customers))),
        tuple(by_count),
        tuple(_group(str(n + 1), tenth == n, hold_out, predicted) for n in np.unique(tenth)),
    )


def _group(name: str, rows: NDArray[np.bool_], hold_out: HoldOut, predicted: Floats) -> Group:
    weights = hold_out.histories.customers[rows]
    bought, expected, repeated = (
        float(np.average(column[rows], weights=weights))
        for column in (hold_out.bought, predicted, repeat_the_rate(hold_out))
    )
    return Group(name, int(weights.sum()), bought, expected, repeated)


def repeat_the_rate(hold_out: HoldOut) -> Floats:
    """The heuristic: x / T purchases per unit of time, for ever; shape (n,)."""
    seen = hold_out.histories
    rates: Floats = seen.frequency / np.where(seen.age > 0, seen.age, np.inf)
    return rates * hold_out.horizon


def _error(predicted: Floats, hold_out: HoldOut) -> float:
    return float(np.average(np.abs(predicted - hold_out.bought), weights=hold_out.histories.customers))
