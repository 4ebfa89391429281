"""Shifted-beta-geometric: how long subscribers stay, when each renewal can be refused.

Fader, P. S. & Hardie, B. G. S. (2007), "How to Project Customer Retention", Journal of Interactive
Marketing 21(1), 76-90; several cohorts: the same authors (2007), "Fitting the sBG Model to Multi-Cohort
Data", brucehardie.com/notes/017.

At the end of each period a subscriber leaves with probability θ ~ Beta(α, β); α and β are pure numbers.
Tenure counts whole periods, of whatever length the data has. Arrays have shape (n,).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from services.scoring.facts.histories import Floats
from services.scoring.models.estimation import (
    Estimate,
    LogLikelihood,
    NoVariance,
    TooFewCustomers,
    maximise,
)
from services.scoring.models.purchasing import MINIMUM_CUSTOMERS, SHAPES

MAXIMUM_PERIODS = 10_000


@dataclass(frozen=True, slots=True)
class Tenures:
    """How many subscribers left at the end of a period (`left` is 1) or stayed on (0). Shapes (n,)."""

    periods: Floats
    left: Floats
    customers: Floats

    @property
    def total(self) -> int:
        """How many subscribers there are in all."""
        return int(self.customers.sum())


@dataclass(frozen=True, slots=True)
class ShiftedBetaGeometric:
    """Parameters in the literature's order and names."""

    names: ClassVar[tuple[str, ...]] = ("alpha", "beta")

    alpha: float
    beta: float

    def survival(self, periods: int) -> Floats:
        """S(0) … S(periods), shape (periods + 1,): the share of a cohort that is still there.

        S(t) = S(t-1) · (β+t-1)/(α+β+t-1), the paper's equation (7) in the retention rates.
        """
        return np.concatenate(([1.0], np.cumprod(self.retention(np.arange(1, periods + 1)))))

    def retention(self, period: ArrayLike) -> Floats:
        """r(t), shape (n,): the chance that a subscriber of period t renews at its end, equation (8)."""
        t = np.atleast_1d(np.asarray(period, dtype=np.float64))
        rate: Floats = (self.beta + t - 1) / (self.alpha + self.beta + t - 1)
        return rate

    def expected_renewals(self, horizon: int, age: ArrayLike) -> Floats:
        """Renewals expected in the next `horizon` periods of who has renewed `age` times, shape (n,)."""
        return self.discounted_renewals(np.ones(horizon), age)

    def discounted_renewals(self, factors: ArrayLike, age: ArrayLike) -> Floats:
        """Σ factor_k · S(age+k)/S(age), shape (n,): with d_k = 1/(1+d)^k the discounted residual lifetime of
        Fader, P. S. & Hardie, B. G. S. (2010), "Customer-Base Valuation in a Contractual Setting",
        Marketing Science 29(1), 85-93, over as many periods as there are factors."""
        since = np.atleast_1d(np.asarray(age, dtype=np.float64))
        living, found = np.ones(since.size), np.zeros(since.size)
        for number, factor in enumerate(np.asarray(factors, dtype=np.float64), start=1):
            living *= self.retention(since + number)
            found += factor * living
        return found


def tenures_of(cohorts: Mapping[str, Sequence[float]]) -> Tenures:
    """Tenures from the subscribers at the start and after each period, cohort by cohort.

    Raises:
        ValueError: a cohort grows, or is not a number of subscribers.
    """
    rows: list[tuple[float, float, float]] = []
    for name, sizes in cohorts.items():
        there = np.asarray(sizes, dtype=np.float64)
        if there.size > MAXIMUM_PERIODS:
            raise ValueError(f"Cohort {name} has more than {MAXIMUM_PERIODS} periods.")
        if not np.isfinite(there).all() or (there < 0).any():
            raise ValueError(f"Cohort {name}: subscribers must be finite and not negative.")
        if (np.diff(there) > 0).any():
            raise ValueError(f"Cohort {name} grows; a cohort can only lose subscribers.")
        rows += [(t, 1.0, lost) for t, lost in enumerate(-np.diff(there), start=1) if lost > 0]
        if there.size > 1 and there[-1] > 0:
            rows.append((there.size - 1.0, 0.0, float(there[-1])))
    periods, left, customers = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return Tenures(periods, left, customers)


def fit(tenures: Tenures, *, minimum_customers: int = MINIMUM_CUSTOMERS) -> Estimate:
    """Maximum likelihood estimates, α and β between 1e-4 and 1e4.

    Raises:
        TooFewCustomers, NoVariance: the tenures cannot determine two parameters.
        NotConverged: the search found no maximum inside the bounds.
    """
    if tenures.total < minimum_customers:
        raise TooFewCustomers(f"Subscribers: {tenures.total}. A fit needs at least {minimum_customers}.")
    gone = tenures.customers @ tenures.left
    if gone == 0 or np.unique(tenures.periods).size < 2:
        raise NoVariance("Nobody left, or all were seen for one period: nothing tells who stays longer.")
    leaves = float(gone / (tenures.customers @ tenures.periods))
    return maximise(
        log_likelihood_of(tenures),
        names=ShiftedBetaGeometric.names,
        starts=[(2 * leaves, 2 * (1 - leaves)), (1.0, 1.0)],
        bounds=[SHAPES] * 2,
        customers=tenures.total,
    )


def log_likelihood_of(tenures: Tenures) -> LogLikelihood:
    """The log-likelihood as a function of (α, β), with its gradient: the paper's equation (B3).

    ln B(α+1, β+t-1) - ln B(α, β) for who left after t periods, ln B(α, β+t) - ln B(α, β) for who did not.
    """
    from scipy.special import digamma, gammaln

    t, left, n = tenures.periods, tenures.left, tenures.customers
    total = float(n.sum())

    def log_likelihood(params: Floats) -> tuple[float, Floats]:
        alpha, beta = params
        value = n @ (gammaln(alpha + left) + gammaln(beta + t - left) - gammaln(alpha + beta + t))
        value -= total * (gammaln(alpha) + gammaln(beta) - gammaln(alpha + beta))
        periods = total * digamma(alpha + beta) - n @ digamma(alpha + beta + t)
        d_alpha = n @ digamma(alpha + left) - total * digamma(alpha) + periods
        d_beta = n @ digamma(beta + t - left) - total * digamma(beta) + periods
        return float(value), np.array([d_alpha, d_beta])

    return log_likelihood
