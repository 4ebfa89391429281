"""Pareto/NBD: customers who buy at their own rate until they leave at a moment nobody sees.

Schmittlein, D. C., Morrison, D. G. & Colombo, R. (1987), "Counting Your Customers: Who Are They and What
Will They Do Next?", Management Science 33(1), 1-24; in the notation of Fader, P. S. & Hardie, B. G. S.
(2005), "A Note on Deriving the Pareto/NBD Model and Related Expressions", brucehardie.com/notes/009.

While alive a customer buys as a Poisson process with rate λ ~ Gamma(r, α); the lifetime is exponential with
rate μ ~ Gamma(s, β). r and s are pure numbers, α and β are times. Times (recency t_x, age T, horizon t) are
all in the unit the model was fitted in. Arrays of customers have shape (n,).

The note writes the chance of having left unseen with two Gaussian hypergeometric functions, whose
difference loses all digits for busy customers. They are the closed form of one integral over the moment τ
of leaving, of a positive and log-concave function, and it is this integral that is computed (`_left`):
finite for any number of purchases, and differentiated under the integral sign.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from services.scoring.facts.histories import Floats, Histories
from services.scoring.models.estimation import Estimate, LogLikelihood, maximise
from services.scoring.models.purchasing import (
    MINIMUM_CUSTOMERS,
    SHAPES,
    check,
    columns,
    quiet,
    rate_start,
    time_bounds,
)

NODES = 32
NEGLIGIBLE = 45.0  # what is e^-45 of the largest part of an integral is left out
NEWTON_STEPS = 6
BLOCK = 1 << 15  # histories per step of a prediction


@dataclass(frozen=True, slots=True)
class ParetoNbd:
    """Parameters in the literature's order and names."""

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "s", "beta")

    r: float
    alpha: float
    s: float
    beta: float

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Floats:
        """P(alive | x, t_x, T), shape (n,): the chance that the customer still buys."""
        x, last, since = columns(frequency, recency, age)
        found = np.empty(x.size)
        params = np.array([self.r, self.alpha, self.s, self.beta])
        for start in range(0, x.size, BLOCK):
            rows = slice(start, start + BLOCK)
            alive, left, _, _ = _parts(params, x[rows], last[rows], since[rows])
            found[rows] = np.exp(alive - np.logaddexp(alive, left))
        return found

    def expected_purchases(
        self, horizon: ArrayLike, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike
    ) -> Floats:
        """E[Y(t) | x, t_x, T]: purchases expected within `horizon` t after the observation date.

        A scalar horizon gives shape (n,), horizons of shape (m,) give (n, m). The note's equation (41),

            P(alive) · (r+x)(β+T) / ((α+T)(s-1)) · [1 - ((β+T)/(β+T+t))^(s-1)]

        through expm1, so that it is smooth at s = 1, where it is a logarithm.
        """
        x, last, since = columns(frequency, recency, age)
        horizons = np.atleast_1d(np.asarray(horizon, dtype=np.float64))
        later = np.log1p(horizons / (self.beta + since[:, None]))
        lifetime = later if self.s == 1 else -np.expm1(-(self.s - 1) * later) / (self.s - 1)
        rate = (self.r + x) / (self.alpha + since) * (self.beta + since) * self.p_alive(x, last, since)
        expected: Floats = rate[:, None] * lifetime
        return expected[:, 0] if np.ndim(horizon) == 0 else expected


def fit(histories: Histories, *, minimum_customers: int = MINIMUM_CUSTOMERS) -> Estimate:
    """Maximum likelihood estimates from folded histories.

    Bounds: r and s between 1e-4 and 1e4, α and β between 1e-4 and 1e4 times the mean age.

    Raises:
        TooFewCustomers, NoRepeatBuyers, NoVariance: the histories cannot determine four parameters.
        NotConverged: the search found no maximum inside the bounds.
    """
    check(histories, minimum_customers)
    starts = start_values(histories)
    times = time_bounds(histories)
    return maximise(
        log_likelihood_of(histories),
        names=ParetoNbd.names,
        starts=[starts, (1.0, starts[1] / starts[0], 1.0, starts[3])],
        bounds=[SHAPES, times, SHAPES, times],
        customers=histories.total,
    )


def start_values(histories: Histories) -> tuple[float, float, float, float]:
    """Where the search begins: r and α by moments, s = 1 and the β that lets the quiet be gone by now."""
    n = histories.customers
    gone = float(np.clip(float(n @ quiet(histories)) / float(n @ (histories.frequency > 0)), 0.05, 0.95))
    mean_age = float(np.average(histories.age, weights=n))
    return *rate_start(histories), 1.0, mean_age * (1 - gone) / gone


def log_likelihood_of(histories: Histories) -> LogLikelihood:
    """The log-likelihood of all customers as a function of (r, α, s, β), with its gradient.

    Per customer, the note's equation (15) before the integration over τ:

        ln Γ(r+x) - ln Γ(r) + r ln α + s ln β
        + ln[(α+T)^-(r+x) (β+T)^-s + s ∫_{t_x}^{T} (α+τ)^-(r+x) (β+τ)^-(s+1) dτ]
    """
    from scipy.special import digamma, gammaln

    x, t_x, age, n = histories.frequency, histories.recency, histories.age, histories.customers
    counts, index = np.unique(x, return_inverse=True)
    with_count = np.bincount(index, weights=n)
    total = n.sum()

    def log_likelihood(params: Floats) -> tuple[float, Floats]:
        r, alpha, s, beta = params
        value, gradient = 0.0, np.zeros(4)
        for start in range(0, x.size, BLOCK):
            rows = slice(start, start + BLOCK)
            alive, left, weights, tau = _parts(params, x[rows], t_x[rows], age[rows])
            mixed = np.logaddexp(alive, left)
            gone = np.exp(left - mixed)  # posterior probability of having left
            stay, leave = n[rows] * (1 - gone), (n[rows] * gone)[:, None] * weights
            value += float(n[rows] @ mixed)
            busy = r + x[rows]
            gradient -= [
                stay @ np.log(alpha + age[rows]) + (leave * np.log(alpha + tau)).sum(),
                stay @ (busy / (alpha + age[rows])) + busy @ (leave / (alpha + tau)).sum(axis=1),
                stay @ np.log(beta + age[rows]) + (leave * (np.log(beta + tau) - 1 / s)).sum(),
                s * (stay @ (1 / (beta + age[rows]))) + (s + 1) * (leave / (beta + tau)).sum(),
            ]
        value += with_count @ gammaln(r + counts) + total * (
            r * np.log(alpha) + s * np.log(beta) - gammaln(r)
        )
        gradient += [
            with_count @ digamma(r + counts) + total * (np.log(alpha) - digamma(r)),
            total * r / alpha,
            total * np.log(beta),
            total * s / beta,
        ]
        return float(value), gradient

    return log_likelihood


def _parts(params: Floats, x: Floats, t_x: Floats, age: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """The two terms of the likelihood in logarithms, and when those who left may have done so.

    Returns:
        alive, left: shape (n,); `left` is -inf for who bought on the observation date.
        weights, tau: shape (n, NODES); moments of leaving and their posterior weights, which sum to 1.
    """
    r, alpha, s, beta = params
    alive = -(r + x) * np.log(alpha + age) - s * np.log(beta + age)
    log_integral, weights, tau = _left(params, x, t_x, age)
    return alive, np.log(s) + log_integral, weights, tau


def _left(params: Floats, x: Floats, t_x: Floats, age: Floats) -> tuple[Floats, Floats, Floats]:
    """ln ∫_{t_x}^{T} (α+τ)^-(r+x) (β+τ)^-(s+1) dτ by Gauss-Legendre in u = ln(min(α, β) + τ).

    In u one factor is an exponential and the other has no singularity nearer than π, so 32 nodes give
    twelve digits. The integrand is log-concave in u; where it has fallen by e^-45 the integral ends:
    Newton's method from the right approaches that place without passing it.
    """
    r, alpha, s, beta = params
    near = min(alpha, beta)
    first, last = np.log(near + t_x), np.log(near + age)

    def log_integrand(u: Floats) -> tuple[Floats, Floats]:
        since = np.exp(u)
        a, b = since + (alpha - near), since + (beta - near)
        slope = 1 - (r + x) * since / a - (s + 1) * since / b
        return u - (r + x) * np.log(a) - (s + 1) * np.log(b), slope

    floor = log_integrand(first)[0] - NEGLIGIBLE
    for _ in range(NEWTON_STEPS):
        value, slope = log_integrand(last)
        beyond = (value < floor) & (slope < 0)
        last = np.where(beyond, last - (value - floor) / np.where(beyond, slope, 1.0), last)
    points, widths = np.polynomial.legendre.leggauss(NODES)
    half = (last - first) / 2
    u = (first + half)[:, None] + half[:, None] * points
    tau = np.maximum(np.exp(u) - near, 0.0)
    logs = u - (r + x)[:, None] * np.log(alpha + tau) - (s + 1) * np.log(beta + tau)
    largest = logs.max(axis=1)
    weights = widths * np.exp(logs - largest[:, None])
    mass = weights.sum(axis=1)
    with np.errstate(divide="ignore"):
        return np.log(half) + largest + np.log(mass), weights / mass[:, None], tau
