"""What the models of purchases have in common: interface, refusals, where a search begins. Pure.

Times (recency t_x, age T, horizon t) are in the unit a model was fitted in; x is the number of repeat
purchases. Arrays of customers have shape (n,).
"""

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike

from services.scoring.facts.histories import Floats, Histories
from services.scoring.models.estimation import Bounds, NoRepeatBuyers, NoVariance, TooFewCustomers

MINIMUM_CUSTOMERS = 10
SHAPES = Bounds(1e-4, 1e4)


class Purchasing(Protocol):
    """A fitted model of how often customers buy and whether they still do."""

    names: ClassVar[tuple[str, ...]]

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Floats:
        """The chance that the customer still buys, shape (n,)."""

    def expected_purchases(
        self, horizon: ArrayLike, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike
    ) -> Floats:
        """Purchases within `horizon` after the observation date: (n,) for a scalar, (n, m) for shape (m,)."""


def check(histories: Histories, minimum_customers: int) -> None:
    """Refuse, without trying, histories that cannot determine four parameters.

    Raises:
        TooFewCustomers, NoRepeatBuyers, NoVariance: as they say.
        ValueError: these are no histories.
    """
    columns = (histories.frequency, histories.recency, histories.age, histories.customers)
    if not all(np.isfinite(column).all() and (column >= 0).all() for column in columns):
        raise ValueError("histories must be finite and not negative")
    if (histories.recency > histories.age).any():
        raise ValueError("a last purchase lies after the observation date")
    if histories.total < minimum_customers:
        raise TooFewCustomers(
            f"Customers who have bought: {histories.total}. A fit needs at least {minimum_customers}."
        )
    repeat = histories.frequency > 0
    if not repeat.any():
        raise NoRepeatBuyers(
            "No customer bought on a second day, so nothing tells how often they buy or when they stop."
        )
    if histories.frequency.size == 1:
        raise NoVariance("Every customer has the same history, so their differences cannot be estimated.")


def time_bounds(histories: Histories) -> Bounds:
    """Bounds of a parameter that is a time: between 1e-4 and 1e4 times the mean age."""
    mean_age = float(np.average(histories.age, weights=histories.customers))
    return Bounds(SHAPES.low * mean_age, SHAPES.high * mean_age)


def rate_start(histories: Histories) -> tuple[float, float]:
    """Where the search for r and α begins: by moments of x over T.

    With E[x] = Tλ and E[x(x-1)] = T²λ² (1 + 1/r) the pooled sums give r and α.
    """
    x, age, n = histories.frequency, histories.age, histories.customers
    rate = float(n @ x) / float(n @ age)
    spread = float(n @ (x * (x - 1))) / float(n @ age**2) / rate**2
    r = float(np.clip(1 / max(spread - 1, 1e-3), 0.05, 20))
    return r, r / rate


def quiet(histories: Histories) -> Floats:
    """Who seems to have stopped: 1 where the silence is longer than three mean gaps, shape (n,)."""
    gap = histories.recency / np.maximum(histories.frequency, 1)
    silent = (histories.frequency > 0) & (histories.age - histories.recency > 3 * gap)
    return silent.astype(np.float64)


def columns(frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> list[Floats]:
    """The three as arrays of one shape (n,)."""
    given = np.broadcast_arrays(*(np.atleast_1d(np.asarray(c, float)) for c in (frequency, recency, age)))
    return [np.ascontiguousarray(column) for column in given]
