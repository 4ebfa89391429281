"""BG/NBD: how often a customer buys, and whether they still do.

Fader, P. S., Hardie, B. G. S. & Lee, K. L. (2005), "Counting Your Customers the Easy Way: An Alternative to
the Pareto/NBD Model", Marketing Science 24(2), 275-284. P(alive): the same authors (2008), "Computing
P(alive) Using the BG/NBD Model".

While alive a customer buys as a Poisson process with rate λ ~ Gamma(r, α), and after each repeat purchase
becomes inactive with probability p ~ Beta(a, b). r, a and b are pure numbers, α is a time. Times (recency
t_x, age T, horizon t) are all in the unit the model was fitted in; x is the number of repeat purchases.
Arrays of customers have shape (n,).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from services.scoring.facts.histories import Floats, Histories
from services.scoring.models.dropout import expected_while_alive, start_values
from services.scoring.models.dropout import log_likelihood_of as dropout_likelihood
from services.scoring.models.estimation import Estimate, LogLikelihood, maximise
from services.scoring.models.purchasing import MINIMUM_CUSTOMERS, SHAPES, check, columns, time_bounds


@dataclass(frozen=True, slots=True)
class BgNbd:
    """Parameters in the literature's order and names."""

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "a", "b")

    r: float
    alpha: float
    a: float
    b: float

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Floats:
        """P(alive | x, t_x, T), shape (n,): the chance that the customer still buys.

        1 / (1 + [x > 0] · a / (b + x - 1) · ((α + T) / (α + t_x))^(r + x)), taken in logarithms, so that
        hundreds of purchases stay finite. Nobody without a repeat purchase can have dropped out: 1.
        """
        x, last, since = columns(frequency, recency, age)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            dropped = np.log(self.a) - np.log(self.b + x - 1)
            dropped += (self.r + x) * (np.log(self.alpha + since) - np.log(self.alpha + last))
            return np.where(x > 0, 1 / (1 + np.exp(dropped)), 1.0)

    def expected_purchases(
        self, horizon: ArrayLike, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike
    ) -> Floats:
        """E[Y(t) | x, t_x, T]: purchases expected within `horizon` t after the observation date.

        A scalar horizon gives shape (n,), horizons of shape (m,) give (n, m).

        The paper's equation (10) is P(alive) times

            (a+b+x-1)/(a-1) · [1 - ((α+T)/(α+T+t))^(r+x) · 2F1(r+x, b+x; a+b+x-1; t/(α+T+t))]

        which `expected_while_alive` computes in its form before the integration over p.
        """
        x, last, since = columns(frequency, recency, age)
        horizons = np.atleast_1d(np.asarray(horizon, dtype=np.float64))
        ahead = expected_while_alive(horizons, x, since, rate=(self.r, self.alpha), dropout=(self.a, self.b))
        ahead *= self.p_alive(x, last, since)[:, None]
        return ahead[:, 0] if np.ndim(horizon) == 0 else ahead


def fit(histories: Histories, *, minimum_customers: int = MINIMUM_CUSTOMERS) -> Estimate:
    """Maximum likelihood estimates from folded histories.

    Bounds: r, a and b between 1e-4 and 1e4, α between 1e-4 and 1e4 times the mean age.

    Raises:
        TooFewCustomers, NoRepeatBuyers, NoVariance: the histories cannot determine four parameters.
        NotConverged: the search found no maximum inside the bounds.
    """
    check(histories, minimum_customers)
    starts = start_values(histories)
    return maximise(
        log_likelihood_of(histories),
        names=BgNbd.names,
        starts=[starts, (1.0, starts[1] / starts[0], 1.0, 2.0)],
        bounds=[SHAPES, time_bounds(histories), SHAPES, SHAPES],
        customers=histories.total,
    )


def log_likelihood_of(histories: Histories) -> LogLikelihood:
    """Equation (6) of the paper for all customers as a function of (r, α, a, b), with its gradient."""
    return dropout_likelihood(histories, first_purchase_counts=False)
