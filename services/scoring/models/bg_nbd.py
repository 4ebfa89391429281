"""BG/NBD: how often a customer buys, and whether they still do.

Fader, P. S., Hardie, B. G. S. & Lee, K. L. (2005), "Counting Your Customers the Easy Way: An Alternative to
the Pareto/NBD Model", Marketing Science 24(2), 275-284. P(alive): the same authors (2008), "Computing
P(alive) Using the BG/NBD Model".

While alive a customer buys as a Poisson process with rate λ ~ Gamma(r, α), and after each purchase becomes
inactive with probability p ~ Beta(a, b). r, a and b are pure numbers, α is a time. Times (recency t_x,
age T, horizon t) are all in the unit the model was fitted in; x is the number of repeat purchases. Arrays
of customers have shape (n,).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from services.scoring.facts.histories import Floats, Histories
from services.scoring.models.estimation import (
    Bounds,
    Estimate,
    LogLikelihood,
    NoRepeatBuyers,
    NoVariance,
    TooFewCustomers,
    maximise,
)
from services.scoring.models.quadrature import beta_rule

MINIMUM_CUSTOMERS = 10
SHAPES = Bounds(1e-4, 1e4)
BLOCK = 1 << 20  # numbers of working memory per step of a prediction

NODE_COUNTS = (16, 32, 64, 128, 256)


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
        x, last, since = _columns(frequency, recency, age)
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

        which is 0/0 at a = 1 and overflows for x in the hundreds. Before the integration over p it reads
        E[(1 - (1 + p·t/(α+T))^-(r+x)) / p] with p ~ Beta(a, b+x), the dropout probability given x
        survivals; that is smooth and finite for every x and a, so it is what is computed here.
        """
        x, last, since = _columns(frequency, recency, age)
        horizons = np.atleast_1d(np.asarray(horizon, dtype=np.float64))
        expected = self._while_alive(horizons, x, since) * self.p_alive(x, last, since)[:, None]
        return expected[:, 0] if np.ndim(horizon) == 0 else expected

    def _while_alive(self, horizons: Floats, x: Floats, age: Floats) -> Floats:
        """The expectation given that the customer is alive, shape (n, m)."""
        expected = np.zeros((x.size, horizons.size))
        longest = float(horizons.max(initial=0.0))
        classes = _node_class(longest / (self.alpha + age), self.r + x, self.a + self.b + x)
        keys = x * len(NODE_COUNTS) + classes
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for rows in np.split(order, edges):
            if rows.size == 0:
                continue
            purchases, count = float(x[rows[0]]), NODE_COUNTS[int(classes[rows[0]])]
            nodes, weights = beta_rule(self.a, self.b + purchases, count)
            size = max(1, BLOCK // (count * horizons.size))
            for start in range(0, rows.size, size):
                block = rows[start : start + size]
                ratio = horizons / (self.alpha + age[block, None])
                bought = np.log1p(ratio[:, :, None] * nodes)
                bought *= -(self.r + purchases)
                np.expm1(bought, out=bought)
                bought *= -weights / nodes
                expected[block] = bought.sum(axis=2)
        return expected


def fit(histories: Histories, *, minimum_customers: int = MINIMUM_CUSTOMERS) -> Estimate:
    """Maximum likelihood estimates from folded histories.

    Bounds: r, a and b between 1e-4 and 1e4, α between 1e-4 and 1e4 times the mean age.

    Raises:
        TooFewCustomers, NoRepeatBuyers, NoVariance: the histories cannot determine four parameters.
        NotConverged: the search found no maximum inside the bounds.
    """
    check(histories, minimum_customers)
    starts = start_values(histories)
    mean_age = float(np.average(histories.age, weights=histories.customers))
    scale = Bounds(SHAPES.low * mean_age, SHAPES.high * mean_age)
    return maximise(
        log_likelihood_of(histories),
        names=BgNbd.names,
        starts=[starts, (1.0, starts[1] / starts[0], 1.0, 2.0)],
        bounds=[SHAPES, scale, SHAPES, SHAPES],
        customers=histories.total,
    )


def start_values(histories: Histories) -> tuple[float, float, float, float]:
    """Where the search begins: the gamma by moments of x over T, the beta by who has gone quiet.

    With E[x] = Tλ and E[x(x-1)] = T²λ² (1 + 1/r) the pooled sums give r and α. Silence longer than three
    mean gaps counts as a dropout; dropouts per purchase are p, and a + b = 3 is a vague beta around it.
    """
    x, age, n = histories.frequency, histories.age, histories.customers
    rate = float(n @ x) / float(n @ age)
    spread = float(n @ (x * (x - 1))) / float(n @ age**2) / rate**2
    r = float(np.clip(1 / max(spread - 1, 1e-3), 0.05, 20))
    gap = histories.recency / np.maximum(x, 1)
    quiet = (x > 0) & (age - histories.recency > 3 * gap)
    p = float(np.clip(float(n @ quiet) / float(n @ x), 0.05, 0.6))
    return r, r / rate, 3 * p, 3 * (1 - p)


def log_likelihood_of(histories: Histories) -> LogLikelihood:
    """The log-likelihood of all customers as a function of (r, α, a, b), with its gradient.

    Per customer, equation (6) of the paper in logarithms:

        ln Γ(r+x) - ln Γ(r) + r ln α + ln Γ(a+b) + ln Γ(b+x) - ln Γ(b) - ln Γ(a+b+x)
        + ln[(α+T)^-(r+x) + [x>0] · a/(b+x-1) · (α+t_x)^-(r+x)]

    The gamma functions depend on x alone and are taken once per distinct x; the last term is a
    log-sum-exp per distinct history.
    """
    from scipy.special import digamma, gammaln

    counts, index = np.unique(histories.frequency, return_inverse=True)
    with_count = np.bincount(index, weights=histories.customers)
    total = histories.customers.sum()
    repeat = histories.frequency > 0
    x, n = histories.frequency[repeat], histories.customers[repeat]
    t_x, age = histories.recency[repeat], histories.age[repeat]
    once_age, once = histories.age[~repeat], histories.customers[~repeat]

    def log_likelihood(params: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = params
        gammas = gammaln(r + counts) + gammaln(b + counts) - gammaln(a + b + counts)
        constant = r * np.log(alpha) + gammaln(a + b) - gammaln(b) - gammaln(r)
        log_age, log_last = np.log(alpha + age), np.log(alpha + t_x)
        alive = -(r + x) * log_age
        dropped = np.log(a) - np.log(b + x - 1) - (r + x) * log_last
        mixed = np.logaddexp(alive, dropped)
        log_once = np.log(alpha + once_age)
        value = with_count @ gammas + total * constant + n @ mixed - r * (once @ log_once)

        share = np.exp(dropped - mixed)  # posterior probability of having dropped out
        by_count = digamma(r + counts), digamma(b + counts), digamma(a + b + counts)
        d_r = with_count @ by_count[0] + total * (np.log(alpha) - digamma(r)) - once @ log_once
        d_r -= n @ (log_age + share * (log_last - log_age))
        d_alpha = total * r / alpha - r * (once @ (1 / (alpha + once_age)))
        d_alpha -= n @ ((r + x) * ((1 - share) / (alpha + age) + share / (alpha + t_x)))
        d_ab = total * digamma(a + b) - with_count @ by_count[2]
        d_a = d_ab + n @ share / a
        d_b = d_ab + with_count @ by_count[1] - total * digamma(b) - n @ (share / (b + x - 1))
        return float(value), np.array([d_r, d_alpha, d_a, d_b])

    return log_likelihood


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


def _columns(frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> list[Floats]:
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(c, float)) for c in (frequency, recency, age)))
    return [np.ascontiguousarray(column) for column in columns]


def _node_class(ratio: Floats, shape: Floats, weight: Floats) -> Floats:
    """Which of NODE_COUNTS a customer needs for twelve digits: more for far horizons and fast buyers.

    The integrand's singularity is at p = -1/ratio and its fall at about 1/(shape · ratio); the rule's nodes
    lie about 1/count² apart near 0.
    """
    needed = 12 + 9 * np.sqrt(ratio * np.maximum(1.0, shape / weight))
    return np.minimum(np.searchsorted(NODE_COUNTS, needed), len(NODE_COUNTS) - 1).astype(np.float64)
