"""Gamma-Gamma: what a purchase of a customer is worth on average.

Fader, P. S. & Hardie, B. G. S. (2013), "The Gamma-Gamma Model of Monetary Value", brucehardie.com/notes/025;
first in Fader, Hardie & Lee (2005), "RFM and CLV: Using Iso-Value Curves for Customer Base Analysis",
Journal of Marketing Research 42(4), 415-430.

The value of a purchase varies around the customer's mean as Gamma(p, ν), and ν across customers as
Gamma(q, γ); how often somebody buys says nothing of what they spend. p and q are pure numbers; γ is in the
money unit of the data (here minor units of one currency), as are the means. Arrays have shape (n,).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from services.scoring.facts.histories import Floats, Spending
from services.scoring.models.estimation import (
    Bounds,
    Estimate,
    LogLikelihood,
    NotConverged,
    NoVariance,
    TooFewCustomers,
    maximise,
)

MINIMUM_CUSTOMERS = 10
SHAPES = Bounds(1e-3, 1e4)


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """Parameters in the literature's order and names."""

    names: ClassVar[tuple[str, ...]] = ("p", "q", "gamma")

    p: float
    q: float
    gamma: float

    @property
    def population_mean(self) -> float:
        """E[M] of a customer of whom nothing is known: p·γ / (q - 1)."""
        return self.p * self.gamma / (self.q - 1)

    def expected_spend(self, purchases: ArrayLike, mean: ArrayLike) -> Floats:
        """E[M | x, z̄], shape (n,): the customer's mean value per purchase, in the money unit of the fit.

        Equation (5) of the note, p (γ + x z̄) / (p x + q - 1): the population's mean and the customer's own,
        weighted by how much is known. With no repeat purchase it is the population's mean.
        """
        x, own = np.atleast_1d(np.asarray(purchases, float)), np.atleast_1d(np.asarray(mean, float))
        expected: Floats = self.p * (self.gamma + x * own) / (self.p * x + self.q - 1)
        return expected


def fit(spending: Spending, *, minimum_customers: int = MINIMUM_CUSTOMERS) -> Estimate:
    """Maximum likelihood estimates from customers with repeat purchases of positive value.

    Rows with no purchase or no positive mean are left out: the gamma distribution knows no free purchase.

    Bounds: p and q between 1e-3 and 1e4, γ between 1e-3 and 1e4 times the median value of a purchase.

    Raises:
        TooFewCustomers, NoVariance: the spending cannot determine three parameters.
        NotConverged: no maximum inside the bounds, or one with an infinite mean (q of 1 or less).
    """
    paid = check(spending, minimum_customers)
    scale = float(np.median(paid.mean))
    estimate = maximise(
        log_likelihood_of(paid),
        names=GammaGamma.names,
        starts=[start_values(paid), (1.0, 2.0, scale)],
        bounds=[SHAPES, SHAPES, Bounds(SHAPES.low * scale, SHAPES.high * scale)],
        customers=int(paid.mean.size),
    )
    if estimate.params["q"] <= 1:
        raise NotConverged(
            f"Spending is so uneven (q = {estimate.params['q']:.3g}) that its mean is infinite. "
            "Leave out the largest purchases, or fit a more uniform group of customers."
        )
    return estimate


def check(spending: Spending, minimum_customers: int) -> Spending:
    """The rows that a fit uses; refuses, without trying, those that cannot determine three parameters.

    Raises:
        TooFewCustomers, NoVariance: as they say.
        ValueError: this is no spending.
    """
    if not (np.isfinite(spending.mean).all() and np.isfinite(spending.purchases).all()):
        raise ValueError("spending must be finite")
    keep = (spending.purchases > 0) & (spending.mean > 0)
    paid = Spending(spending.purchases[keep], spending.mean[keep])
    customers = int(paid.mean.size)
    if customers < minimum_customers:
        raise TooFewCustomers(
            f"Customers with paid repeat purchases: {customers}. A fit needs at least {minimum_customers}."
        )
    if np.ptp(paid.mean) <= 1e-9 * paid.mean.max():
        raise NoVariance("Every customer's purchases are worth the same on average.")
    return paid


def start_values(spending: Spending) -> tuple[float, float, float]:
    """Where the search begins: moments of the means. Most of the spread is taken to be between customers.

    With p = 2, the mean m = p·γ/(q-1) and squared variation c² of the true means give q = 2 + 1/c².
    """
    mean = float(np.average(spending.mean, weights=spending.purchases))
    squared = float(np.average((spending.mean / mean - 1) ** 2, weights=spending.purchases))
    p, q = 2.0, float(np.clip(2 + 1 / max(squared, 1e-6), 2.1, 100))
    return p, q, mean * (q - 1) / p


def log_likelihood_of(spending: Spending) -> LogLikelihood:
    """The log-likelihood of all customers as a function of (p, q, γ), with its gradient.

    Equation (1a) of the note in logarithms, per customer with x purchases of mean z̄:

        ln Γ(px+q) - ln Γ(px) - ln Γ(q) + q ln γ + (px-1) ln z̄ + px ln x - (px+q) ln(γ + x z̄)
    """
    from scipy.special import digamma, gammaln

    x, mean = spending.purchases, spending.mean
    total = float(x.size)
    log_mean, log_sum = np.log(mean), np.log(x * mean)
    counts, index = np.unique(x, return_inverse=True)
    with_count = np.bincount(index).astype(np.float64)

    def log_likelihood(params: Floats) -> tuple[float, Floats]:
        p, q, gamma = params
        pooled = gamma + x * mean
        log_pooled = np.log(pooled)
        gammas = with_count @ (gammaln(p * counts + q) - gammaln(p * counts))
        value = gammas + total * (q * np.log(gamma) - gammaln(q))
        value += p * (x @ (log_sum - log_pooled)) - q * log_pooled.sum() - log_mean.sum()

        joint = digamma(p * counts + q)
        d_p = (with_count * counts) @ (joint - digamma(p * counts)) + x @ (log_sum - log_pooled)
        d_q = with_count @ joint + total * (np.log(gamma) - digamma(q)) - log_pooled.sum()
        d_gamma = total * q / gamma - ((p * x + q) / pooled).sum()
        return float(value), np.array([d_p, d_q, d_gamma])

    return log_likelihood
