"""BG/BB: customers who buy or not at each of a row of occasions: a yearly appeal, a cruise, a conference.

Fader, P. S., Hardie, B. G. S. & Shang, J. (2010), "Customer-Base Analysis in a Discrete-Time
Noncontractual Setting", Marketing Science 29(6), 1086-1108.

At each occasion a customer who is alive buys with probability p ~ Beta(α, β); before each occasion they
leave for good with probability θ ~ Beta(γ, δ). All four are pure numbers. Of n occasions since the first
purchase (`age`) the customer bought at x (`frequency`), the last time at occasion t_x (`recency`, 0 when
x is 0): whole numbers. Arrays of customers have shape (n,).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.scoring.facts.histories import Floats, Histories
from services.scoring.models.estimation import Estimate, LogLikelihood, maximise
from services.scoring.models.purchasing import MINIMUM_CUSTOMERS, SHAPES, check, columns

MAXIMUM_OCCASIONS = 10_000
MAXIMUM_TERMS = 20_000_000  # of all likelihoods together: about 1 GB of working memory


@dataclass(frozen=True, slots=True)
class BgBb:
    """Parameters in the literature's order and names."""

    names: ClassVar[tuple[str, ...]] = ("alpha", "beta", "gamma", "delta")

    alpha: float
    beta: float
    gamma: float
    delta: float

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Floats:
        """P(alive at n + 1 | x, t_x, n), shape (n,): the paper's equation (11)."""
        x, last, since = columns(frequency, recency, age)
        return self._alive_now(x, last, since) * (self.delta + since) / (self.gamma + self.delta + since)

    def expected_purchases(
        self, horizon: ArrayLike, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike
    ) -> Floats:
        """E[Y | x, t_x, n]: purchases expected at the next `horizon` occasions.

        A scalar horizon gives shape (n,), horizons of shape (m,) give (n, m). The paper's equation (13) is
        0/0 at γ = 1; here the chances of being alive at each coming occasion, (δ+n+j)/(γ+δ+n+j) multiplied
        up, are summed instead.
        """
        x, last, since = columns(frequency, recency, age)
        horizons = np.atleast_1d(np.asarray(horizon, dtype=np.float64))
        _whole(horizons)
        ahead = np.zeros((x.size, horizons.size))
        living, reached = np.ones(x.size), np.zeros(x.size)
        for occasion in range(int(horizons.max(initial=0.0))):
            living *= (self.delta + since + occasion) / (self.gamma + self.delta + since + occasion)
            reached += living
            ahead[:, horizons == occasion + 1] = reached[:, None]
        buys = (self.alpha + x) / (self.alpha + self.beta + since) * self._alive_now(x, last, since)
        ahead *= buys[:, None]
        return ahead[:, 0] if np.ndim(horizon) == 0 else ahead

    def _alive_now(self, x: Floats, last: Floats, since: Floats) -> Floats:
        """The chance of having been alive at the n-th occasion."""
        terms = _Terms.of(x, last, since)
        logs = terms.logs(np.array([self.alpha, self.beta, self.gamma, self.delta]))
        alive: Floats = terms.shares(logs)[1][terms.ends]
        return alive


def fit(histories: Histories, *, minimum_customers: int = MINIMUM_CUSTOMERS) -> Estimate:
    """Maximum likelihood estimates from folded histories, all four parameters between 1e-4 and 1e4.

    Raises:
        TooFewCustomers, NoRepeatBuyers, NoVariance: the histories cannot determine four parameters.
        NotConverged: the search found no maximum inside the bounds.
        ValueError: the histories do not count occasions.
    """
    check(histories, minimum_customers)
    return maximise(
        log_likelihood_of(histories),
        names=BgBb.names,
        starts=[start_values(histories), (1.0, 1.0, 0.5, 3.0)],
        bounds=[SHAPES] * 4,
        customers=histories.total,
    )


def start_values(histories: Histories) -> tuple[float, float, float, float]:
    """Where the search begins: vague betas around the share of occasions with a purchase up to the last
    one, and around one dropout per mean age."""
    n = histories.customers
    chances = max(float(n @ histories.recency), 1.0)
    bought = float(np.clip(float(n @ histories.frequency) / chances, 0.05, 0.95))
    mean_age = float(np.average(histories.age, weights=n))
    leaves = float(np.clip(1 / max(mean_age, 1.0), 0.02, 0.5))
    return 2 * bought, 2 * (1 - bought), 3 * leaves, 3 * (1 - leaves)


def log_likelihood_of(histories: Histories) -> LogLikelihood:
    """The log-likelihood of all customers as a function of (α, β, γ, δ), with its gradient.

    The paper's equation (5): a sum over the occasions t_x … n after which the customer may have left, as a
    log-sum-exp of beta functions.
    """
    from scipy.special import digamma, gammaln

    terms = _Terms.of(histories.frequency, histories.recency, histories.age)
    n = histories.customers
    total, of_each = float(n.sum()), np.repeat(n, terms.lengths)

    def log_likelihood(params: Floats) -> tuple[float, Floats]:
        alpha, beta, gamma, delta = params
        sums, share = terms.shares(terms.logs(params))
        value = float(n @ sums) - total * (
            gammaln(alpha) + gammaln(beta) - gammaln(alpha + beta)
            + gammaln(gamma) + gammaln(delta) - gammaln(gamma + delta)
        )  # fmt: skip
        weight = of_each * share
        x, until, left = terms.x, terms.until, terms.left
        occasions = weight @ digamma(alpha + beta + until)
        periods = weight @ digamma(gamma + delta + until + left)
        whole = total * digamma(alpha + beta), total * digamma(gamma + delta)
        gradient = np.array(
            [
                weight @ digamma(alpha + x) - occasions - total * digamma(alpha) + whole[0],
                weight @ digamma(beta + until - x) - occasions - total * digamma(beta) + whole[0],
                weight @ digamma(gamma + left) - periods - total * digamma(gamma) + whole[1],
                weight @ digamma(delta + until) - periods - total * digamma(delta) + whole[1],
            ]
        )
        return value, gradient

    return log_likelihood


@dataclass(frozen=True, slots=True)
class _Terms:
    """The terms of all customers' likelihoods in one row: alive `until` an occasion, then `left` (1) or not.

    Customer i has `lengths`[i] terms from `starts`[i] to `ends`[i]; the last one is that of being alive.
    """

    x: Floats
    until: Floats
    left: Floats
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, x: Floats, last: Floats, since: Floats) -> "_Terms":
        for column in (x, last, since):
            _whole(column)
        if (x > last).any():
            raise ValueError("a customer cannot buy more often than there were occasions")
        lengths = (since - last).astype(np.int64) + 1
        if lengths.sum() > MAXIMUM_TERMS:
            raise ValueError("too many occasions of too many customers; take a longer unit of time")
        ends = np.cumsum(lengths) - 1
        starts = ends - lengths + 1
        until = np.repeat(last - starts, lengths) + np.arange(lengths.sum())
        left = np.ones(until.size)
        left[ends] = 0.0
        return cls(np.repeat(x, lengths), until, left, starts, ends, lengths)

    def logs(self, params: Floats) -> Floats:
        """ln[B(α+x, β+until-x) · B(γ+left, δ+until)]."""
        from scipy.special import gammaln

        alpha, beta, gamma, delta = params
        logs: Floats = gammaln(alpha + self.x) + gammaln(beta + self.until - self.x)
        logs -= gammaln(alpha + beta + self.until)
        logs += gammaln(gamma + self.left) + gammaln(delta + self.until)
        logs -= gammaln(gamma + delta + self.until + self.left)
        return logs

    def shares(self, logs: Floats) -> tuple[Floats, Floats]:
        """Each customer's log-sum-exp, and each term's share in it."""
        largest = np.maximum.reduceat(logs, self.starts)
        share = np.exp(logs - np.repeat(largest, self.lengths))
        sums = np.add.reduceat(share, self.starts)
        return largest + np.log(sums), share / np.repeat(sums, self.lengths)


def _whole(occasions: Floats) -> None:
    if (occasions != np.rint(occasions)).any():
        raise ValueError("the BG/BB counts occasions: frequency, recency, age and horizon are whole numbers")
    if (occasions > MAXIMUM_OCCASIONS).any():
        raise ValueError(f"the BG/BB looks at no more than {MAXIMUM_OCCASIONS} occasions")
