"""Purchase histories as the models of the literature read them. Pure.

A history is (x, t_x, T): `frequency` x, the repeat purchases; `recency` t_x, the time from the first
purchase to the last; `age` T, the time from the first purchase to the observation date. Purchases of one
customer on one day count as one, as the literature does for CDNOW (Fader, Hardie & Lee 2005); a model reads
times in its own unit, days or weeks. A history with no purchase is no history.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Unit = Literal["day", "week"]

DAYS_PER_UNIT: dict[Unit, int] = {"day": 1, "week": 7}


@dataclass(frozen=True, slots=True)
class Histories:
    """Distinct histories and how many customers have each. All arrays have shape (n,)."""

    frequency: Floats
    recency: Floats
    age: Floats
    customers: Floats

    @property
    def total(self) -> int:
        """How many customers there are in all."""
        return int(self.customers.sum())


@dataclass(frozen=True, slots=True)
class Spending:
    """What repeat purchases were worth: per customer how many, and their mean value. Shapes (n,).

    The first purchase is left out, as Fader & Hardie (2013) do: it is the one that made the customer known.
    """

    purchases: Floats
    mean: Floats


@dataclass(frozen=True, slots=True)
class Purchased:
    """One row of a purchase log; `amount` in whatever money the file has."""

    customer: Hashable
    on: date
    amount: float = 0.0


def fold(
    frequency: ArrayLike, recency: ArrayLike, age: ArrayLike, customers: ArrayLike | None = None
) -> Histories:
    """Fold identical histories into one each, with their count; a likelihood then costs one term each."""
    columns = [np.asarray(column, dtype=np.float64).ravel() for column in (frequency, recency, age)]
    weights = (
        np.ones_like(columns[0]) if customers is None else np.asarray(customers, dtype=np.float64).ravel()
    )
    if columns[0].size == 0:
        return Histories(columns[0], columns[1], columns[2], weights)
    if customers is None and all(np.isfinite(column).all() for column in columns):
        return _fold_numbered(columns)
    order = np.lexsort(columns)
    columns = [column[order] for column in columns]
    fresh = np.ones(columns[0].size, dtype=bool)
    fresh[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    starts = np.flatnonzero(fresh)
    x, last, since = (column[starts] for column in columns)
    return Histories(x, last, since, np.add.reduceat(weights[order], starts))


def _fold_numbered(columns: list[Floats]) -> Histories:
    """Fold customers of one each: each history as one whole number, which sorts faster than rows."""
    values = [np.unique(column) for column in columns]
    numbers = np.zeros(columns[0].size, dtype=np.int64)
    for known, column in zip(reversed(values), reversed(columns), strict=True):
        numbers = numbers * known.size + np.searchsorted(known, column)
    distinct, customers = np.unique(numbers, return_counts=True)
    x, rest = values[0][distinct % values[0].size], distinct // values[0].size
    last, age = values[1][rest % values[1].size], values[2][rest // values[1].size]
    return Histories(x, last, age, customers.astype(np.float64))


def read_log(purchases: Iterable[Purchased], *, end: date, unit: Unit) -> tuple[Histories, Spending]:
    """Histories and repeat spending of everyone who had bought by `end`; later rows are ignored.

    Times come out in `unit`, amounts as they were given.
    """
    by_customer: dict[Hashable, dict[date, float]] = {}
    for purchase in purchases:
        if purchase.on <= end:
            days = by_customer.setdefault(purchase.customer, {})
            days[purchase.on] = days.get(purchase.on, 0.0) + purchase.amount
    scale = DAYS_PER_UNIT[unit]
    rows = [
        (len(days) - 1, (max(days) - min(days)).days / scale, (end - min(days)).days / scale)
        for days in by_customer.values()
    ]
    repeat = [
        (len(days) - 1, (sum(days.values()) - days[min(days)]) / (len(days) - 1))
        for days in by_customer.values()
        if len(days) > 1
    ]
    history = np.array(rows, dtype=np.float64).reshape(-1, 3)
    spent = np.array(repeat, dtype=np.float64).reshape(-1, 2)
    return fold(history[:, 0], history[:, 1], history[:, 2]), Spending(spent[:, 0], spent[:, 1])
