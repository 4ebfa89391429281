"""MBG/NBD: the BG/NBD in which a customer may also leave after the very first purchase.

Batislam, E. P., Denizel, M. & Filiztekin, A. (2007), "Empirical validation and comparison of models for
customer base analysis", International Journal of Research in Marketing 24(3), 201-209; the same as the
CBG/NBD of Hoppe, D. & Wagner, U. (2007), "Customer Base Analysis: The Case for a Central Variant of the
Betageometric/NBD Model", Marketing JRM 3(2), 75-90.

While alive a customer buys as a Poisson process with rate λ ~ Gamma(r, α), and after each purchase, the
first included, becomes inactive with probability p ~ Beta(a, b). Units and shapes are those of `bg_nbd`.
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
class MbgNbd:
    """Parameters in the literature's order and names."""

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "a", "b")

    r: float
    alpha: float
    a: float
    b: float

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Floats:
        """P(alive | x, t_x, T), shape (n,): 1 / (1 + a / (b + x) · ((α + T) / (α + t_x))^(r + x)).

        Equation (12) of Batislam et al., in logarithms; t_x is 0 for x = 0.
        """
        x, last, since = columns(frequency, recency, age)
        dropped = np.log(self.a) - np.log(self.b + x)
        dropped += (self.r + x) * (np.log(self.alpha + since) - np.log(self.alpha + last))
        with np.errstate(over="ignore"):
            alive: Floats = 1 / (1 + np.exp(dropped))
        return alive

    def expected_purchases(
        self, horizon: ArrayLike, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike
    ) -> Floats:
        """E[Y(t) | x, t_x, T]: purchases expected within `horizon` t after the observation date.

        A scalar horizon gives shape (n,), horizons of shape (m,) give (n, m). P(alive) times the expectation
        of the BG/NBD for a customer who has survived x + 1 purchases.
        """
        x, last, since = columns(frequency, recency, age)
        horizons = np.atleast_1d(np.asarray(horizon, dtype=np.float64))
        ahead = expected_while_alive(
            horizons, x, since, rate=(self.r, self.alpha), dropout=(self.a, self.b + 1)
        )
        ahead *= self.p_alive(x, last, since)[:, None]
        return ahead[:, 0] if np.ndim(horizon) == 0 else ahead


def fit(histories: Histories, *, minimum_customers: int = MINIMUM_CUSTOMERS) -> Estimate:
    """Maximum likelihood estimates from folded histories. Bounds and refusals are those of the BG/NBD."""
    check(histories, minimum_customers)
    starts = start_values(histories)
    return maximise(
        log_likelihood_of(histories),
        names=MbgNbd.names,
        starts=[starts, (1.0, starts[1] / starts[0], 1.0, 2.0)],
        bounds=[SHAPES, time_bounds(histories), SHAPES, SHAPES],
        customers=histories.total,
    )


def log_likelihood_of(histories: Histories) -> LogLikelihood:
    """The log-likelihood of all customers as a function of (r, α, a, b), with its gradient."""
    return dropout_likelihood(histories, first_purchase_counts=True)
