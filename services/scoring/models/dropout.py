"""What BG/NBD and MBG/NBD share: customers who may drop out with each purchase. Pure.

A customer buys at rate λ ~ Gamma(r, α) and becomes inactive after a purchase with probability
p ~ Beta(a, b). In the BG/NBD only repeat purchases give occasion to leave (`occasions` are x), in the
MBG/NBD the first one too (x + 1).
"""

import numpy as np
from numpy.typing import NDArray

from services.scoring.facts.histories import Floats, Histories
from services.scoring.models.estimation import LogLikelihood
from services.scoring.models.purchasing import quiet, rate_start
from services.scoring.models.quadrature import beta_rule

BLOCK = 1 << 20  # numbers of working memory per step of a prediction
TABLE = 1 << 20  # numbers in a table of pairs
NODE_COUNTS = (16, 32, 64, 128, 256)


def start_values(histories: Histories) -> tuple[float, float, float, float]:
    """Where the search begins: the gamma by moments of x over T, the beta by who has gone quiet.

    Dropouts per purchase are p, and a + b = 3 is a vague beta around it.
    """
    n = histories.customers
    p = float(np.clip(float(n @ quiet(histories)) / float(n @ histories.frequency), 0.05, 0.6))
    return *rate_start(histories), 3 * p, 3 * (1 - p)


def log_likelihood_of(histories: Histories, *, first_purchase_counts: bool) -> LogLikelihood:
    """The log-likelihood of all customers as a function of (r, α, a, b), with its gradient.

    Per customer, with k occasions to leave, in logarithms:

        ln Γ(r+x) - ln Γ(r) + r ln α + ln Γ(a+b) + ln Γ(b+k) - ln Γ(b) - ln Γ(a+b+k)
        + ln[(α+T)^-(r+x) + [k>0] · a/(b+k-1) · (α+t_x)^-(r+x)]

    The gamma functions depend on x alone and are taken once per distinct x; the last term is a
    log-sum-exp per distinct history.
    """
    from scipy.special import digamma, gammaln

    first = 1.0 if first_purchase_counts else 0.0
    counts, index = np.unique(histories.frequency, return_inverse=True)
    with_count = np.bincount(index, weights=histories.customers)
    total = histories.customers.sum()
    may_leave = histories.frequency + first > 0
    x, n = histories.frequency[may_leave], histories.customers[may_leave]
    which = index[may_leave]
    # Days repeat: logarithms are taken once per distinct time, and handed out by index.
    lasts, of_last = np.unique(histories.recency[may_leave], return_inverse=True)
    ages, of_age = np.unique(histories.age[may_leave], return_inverse=True)
    once_age, once = histories.age[~may_leave], histories.customers[~may_leave]

    def log_likelihood(params: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = params
        kept = b + first  # b, and what a first purchase that was survived adds to it
        gammas = gammaln(r + counts) + gammaln(kept + counts) - gammaln(a + kept + counts)
        constant = r * np.log(alpha) + gammaln(a + b) - gammaln(b) - gammaln(r)
        log_age, log_last = np.log(alpha + ages)[of_age], np.log(alpha + lasts)[of_last]
        survived = kept + np.maximum(counts, 1 - first) - 1
        alive = -(r + x) * log_age
        dropped = np.log(a) - np.log(survived)[which] - (r + x) * log_last
        mixed, share = _either(alive, dropped)  # share: posterior probability of having dropped out
        log_once = np.log(alpha + once_age)
        value = with_count @ gammas + total * constant + n @ mixed - r * (once @ log_once)

        by_count = digamma(r + counts), digamma(kept + counts), digamma(a + kept + counts)
        d_r = with_count @ by_count[0] + total * (np.log(alpha) - digamma(r)) - once @ log_once
        d_r -= n @ (log_age + share * (log_last - log_age))
        d_alpha = total * r / alpha - r * (once @ (1 / (alpha + once_age)))
        d_alpha -= n @ (
            (r + x) * ((1 - share) * (1 / (alpha + ages))[of_age] + share * (1 / (alpha + lasts))[of_last])
        )
        d_ab = total * digamma(a + b) - with_count @ by_count[2]
        d_a = d_ab + n @ share / a
        d_b = d_ab + with_count @ by_count[1] - total * digamma(b) - n @ (share * (1 / survived)[which])
        return float(value), np.array([d_r, d_alpha, d_a, d_b])

    return log_likelihood


def _either(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """ln(e^first + e^second), and the share of the second in the sum.

    As np.logaddexp, through functions that numpy has vectorised.
    """
    lead = second - first
    less = np.exp(-np.abs(lead))
    both = 1 + less
    return np.maximum(first, second) + np.log(both), np.where(lead > 0, 1, less) / both


def expected_while_alive(
    horizons: Floats, x: Floats, age: Floats, *, rate: tuple[float, float], dropout: tuple[float, float]
) -> Floats:
    """Purchases expected within each horizon of customers who are alive, shape (n, m).

    E[(1 - (1 + p·t/(α+T))^-(r+x)) / p] with p ~ Beta(a, b+x), by quadrature. The closed form with a 2F1 is
    0/0 at a = 1 and overflows for x in the hundreds; this is smooth and finite for every x and a. It
    depends on x and T alone, so it is computed once for each pair of them.

    Args:
        horizons: shape (m,).
        rate: (r, α).
        dropout: (a, b) of the beta of a customer with x = 0.
    """
    x, age, of_pair = _pairs(x, age)
    (r, alpha), (a, b) = rate, dropout
    expected = np.zeros((x.size, horizons.size))
    longest = float(horizons.max(initial=0.0))
    classes = _node_class(longest / (alpha + age), r + x, a + b + x)
    keys = x * len(NODE_COUNTS) + classes
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    for rows in np.split(order, edges):
        if rows.size == 0:
            continue
        purchases, count = float(x[rows[0]]), NODE_COUNTS[int(classes[rows[0]])]
        nodes, weights = beta_rule(a, b + purchases, count)
        size = max(1, BLOCK // (count * horizons.size))
        for start in range(0, rows.size, size):
            block = rows[start : start + size]
            ratio = horizons / (alpha + age[block, None])
            bought = np.log1p(ratio[:, :, None] * nodes)
            bought *= -(r + purchases)
            np.expm1(bought, out=bought)
            bought *= -weights / nodes
            expected[block] = bought.sum(axis=2)
    found: Floats = expected[of_pair]
    return found


def _pairs(x: Floats, age: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """The distinct pairs of x and T, and which of them each customer has."""
    ages = np.unique(age)
    numbers = x.astype(np.int64) * ages.size + np.searchsorted(ages, age)
    if (highest := int(numbers.max(initial=0))) < TABLE:
        # A table of the pairs there are costs a tenth of sorting those of all customers.
        there = np.zeros(highest + 1, dtype=bool)
        there[numbers] = True
        pairs, of_pair = np.flatnonzero(there), (np.cumsum(there) - 1)[numbers]
    else:
        pairs = np.unique(numbers)
        of_pair = np.searchsorted(pairs, numbers)
    return (pairs // ages.size).astype(np.float64), ages[pairs % ages.size], of_pair


def _node_class(ratio: Floats, shape: Floats, weight: Floats) -> Floats:
    """Which of NODE_COUNTS a customer needs for twelve digits: more for far horizons and fast buyers.

    The integrand's singularity is at p = -1/ratio and its fall at about 1/(shape · ratio); the rule's nodes
    lie about 1/count² apart near 0.
    """
    needed = 12 + 9 * np.sqrt(ratio * np.maximum(1.0, shape / weight))
    return np.minimum(np.searchsorted(NODE_COUNTS, needed), len(NODE_COUNTS) - 1).astype(np.float64)
