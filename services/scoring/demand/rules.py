"""How much will be bought in each of the coming weeks, and between which bounds. Pure.

The models of purchases give the expected purchases of each customer; here are their second moments too.
Given that a customer is alive at the end of their history, the models say how their rate λ and their way of
leaving are distributed (the papers named in models/bg_nbd.py, mbg_nbd.py and pareto_nbd.py): λ is
Gamma(r+x, α+T), and either each purchase is the last with p ~ Beta(a, b'), or μ ~ Gamma(s, β+T) ends it.
Purchases come as a Poisson process while alive, so with t the time ahead, a week from t₁ to t₁+h has

    E[Y(Y-1)] = 2 ∫₀ʰ v · density of two purchases, the second at u = t₁+v, dv

    dropout:  E[λ² (1-p) e^(-λpu)] = (r+x)(r+x+1) E[(1-p) (α+T)^(r+x) / (α+T+pu)^(r+x+2)]
    Pareto:   E[λ²] E[e^(-μu)]     = (r+x)(r+x+1) / (α+T)² · ((β+T)/(β+T+u))^s

times P(alive). Customers are independent given the parameters, so variances add up; that the parameters are
estimates is added by the delta method, g'Σg with the covariance Σ of the estimates and the derivatives g of
the sum in them. Money follows by the law of total variance with the Gamma-Gamma of models/gamma_gamma.py.
Times are in the unit of the model of purchases. Arrays of n histories have shape (n,), of m weeks (n, m).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.scoring.facts.histories import Floats
from services.scoring.models.bg_nbd import BgNbd
from services.scoring.models.mbg_nbd import MbgNbd
from services.scoring.models.pareto_nbd import ParetoNbd
from services.scoring.models.purchasing import Purchasing
from services.scoring.models.quadrature import beta_rule

Ints = NDArray[np.int64]

BLOCK = 4_000  # histories per step: what bounds the memory
BETA_NODES = 24
WEEK_NODES = 4  # of the integral over a week, in which the integrand hardly bends
STEP = 1e-4  # relative, of a derivative in a parameter
INTERVAL = (0.025, 0.975)
FAR = 40.0  # standard deviations within which the bounds of any count lie
LARGE = 200.0  # from this expectation on, counts are as good as continuous


@dataclass(frozen=True, slots=True)
class Buyers:
    """n different histories in cells (a segment and currency each) and how many customers have each.

    `repeats` are the repeat purchases that the mean spend rests on; `spend` is the sum of the customers'
    repeat spend and `spend_squared` that of its squares, in minor units.
    """

    cell: Ints
    frequency: Floats
    recency: Floats
    age: Floats
    repeats: Floats
    customers: Floats
    spend: Floats
    spend_squared: Floats

    def block(self, start: int) -> "Buyers":
        """BLOCK of them."""
        rows = slice(start, start + BLOCK)
        return Buyers(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class Estimated:
    """A model's parameters, in the literature's order, and their covariance; None when it is not known."""

    values: Floats
    covariance: Floats | None


@dataclass(frozen=True, slots=True)
class Spends:
    """The Gamma-Gamma of a currency, and the share of spend that customers give back."""

    estimated: Estimated
    refund_rate: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a cell's customers, shape (cells, m): means and variances of purchases and revenue."""

    purchases: Floats
    purchases_variance: Floats
    revenue: Floats
    revenue_variance: Floats


def forecast(
    make: Callable[..., Purchasing],
    purchases: Estimated,
    spends: Mapping[int, Spends],
    buyers: Buyers,
    *,
    cells: int,
    edges: Floats,
    sums: Floats,
) -> Totals:
    """Expected purchases and revenue of each group of cells and week, with the variances around them.

    Args:
        make: the model of purchases from its parameters.
        spends: by cell; cells without one have no revenue (nan).
        edges: where weeks begin and the last one ends, shape (m+1,), the first one 0.
        sums: which cells each wanted total is the sum of, shape (totals, cells), of 0 and 1.
    """
    chance = _added(make(*purchases.values), spends, buyers, cells, edges, moments=True)
    totals = Totals(*(sums @ getattr(chance, name) for name in chance.__dataclass_fields__))
    for_purchases, for_revenue = np.zeros(totals.purchases.shape), np.zeros(totals.purchases.shape)
    if purchases.covariance is not None:
        slopes = _slopes(
            lambda values: _added(make(*values), spends, buyers, cells, edges, moments=False),
            purchases.values,
            sums,
        )
        for_purchases = _spread(slopes[0], purchases.covariance)
        for_revenue = _spread(slopes[1], purchases.covariance)
    model = make(*purchases.values)
    for spend in {id(s): s for s in spends.values()}.values():
        if spend.estimated.covariance is None:
            continue
        own = [cell for cell, theirs in spends.items() if theirs is spend]

        def moved(values: Floats, spend: Spends = spend, own: Sequence[int] = own) -> Totals:
            other = replace(spend, estimated=replace(spend.estimated, values=values))
            chosen = np.isin(buyers.cell, own)
            some = Buyers(*(getattr(buyers, name)[chosen] for name in buyers.__dataclass_fields__))
            return _added(model, dict.fromkeys(own, other), some, cells, edges, moments=False)

        only = sums * np.isin(np.arange(cells), own)
        slopes = _slopes(moved, spend.estimated.values, only)
        for_revenue = for_revenue + _spread(slopes[1], spend.estimated.covariance)
    without = [cell not in spends for cell in range(cells)]
    totals.revenue[sums @ without > 0] = np.nan
    return replace(
        totals,
        purchases_variance=totals.purchases_variance + for_purchases,
        revenue_variance=totals.revenue_variance + for_revenue,
    )


def week_moments(model: Purchasing, buyers: Buyers, edges: Floats) -> tuple[Floats, Floats]:
    """E[Y] and E[Y(Y-1)] of each history and week, shape (n, m) each."""
    x, last, age = buyers.frequency, buyers.recency, buyers.age
    reached = model.expected_purchases(edges[1:], x, last, age)
    expected = np.diff(reached, axis=1, prepend=0.0)
    alive = model.p_alive(x, last, age)[:, None]
    return np.maximum(expected, 0), alive * _pairs_while_alive(model, x, age, edges)


def interval(expected: float, variance: float, *, counted: bool) -> tuple[float, float] | None:
    """Bounds of 95 % around a sum: of the distribution with this mean and variance that such sums have.

    None when the variance is infinite.

    Counts are negative binomial, as mixed Poisson counts are (Poisson when they do not vary more than
    that); money, and counts so large that it is the same, gamma.
    """
    from scipy.special import betainc, gammaincc, gammaincinv

    if not np.isfinite(variance):
        return None
    if expected <= 0 or variance <= 0:
        return 0.0, max(expected, 0.0)
    if not counted or expected >= LARGE:
        low, high = gammaincinv(expected**2 / variance, INTERVAL) * variance / expected
        return float(low), float(high)
    counts = np.arange(int(expected + FAR * np.sqrt(max(variance, expected))) + 1.0)
    if variance <= expected * (1 + 1e-9):
        below = gammaincc(counts + 1, expected)
    else:
        below = betainc(expected**2 / (variance - expected), counts + 1, expected / variance)
    low, high = np.searchsorted(below, INTERVAL)  # the first count that as many do not exceed
    return float(low), float(high)


def _pairs_while_alive(model: Purchasing, x: Floats, age: Floats, edges: Floats) -> Floats:
    """E[Y(Y-1)] of each week for customers who are alive, shape (n, m)."""
    nodes, weights = np.polynomial.legendre.leggauss(WEEK_NODES)
    widths = np.diff(edges)
    later = widths[:, None] * (nodes + 1) / 2  # v, shape (m, nodes)
    until = edges[:-1, None] + later  # u
    weight = widths[:, None] / 2 * weights * later
    if isinstance(model, ParetoNbd):
        shape, rate = (model.r + x)[:, None], (model.alpha + age)[:, None]
        stays = (1 + until / (model.beta + age[:, None, None])) ** -model.s
        pareto: Floats = 2 * shape * (shape + 1) / rate**2 * (stays * weight).sum(axis=2)
        return pareto
    if not isinstance(model, BgNbd | MbgNbd):
        raise TypeError(f"no second moments are known of {type(model).__name__}")
    survived = model.b + (1 if isinstance(model, MbgNbd) else 0)
    found = np.empty((x.size, widths.size))
    for count in np.unique(x):
        rows = np.flatnonzero(x == count)
        ages, of_age = np.unique(age[rows], return_inverse=True)
        p, mass = beta_rule(model.a, survived + float(count), BETA_NODES)
        shape = model.r + count
        rate = (model.alpha + ages)[:, None, None, None]
        ahead = 1 + p * (until / rate[..., 0])[..., None]
        density = np.exp(-(shape + 2) * np.log(ahead)) @ (mass * (1 - p))
        two = 2 * shape * (shape + 1) / rate[..., 0, 0] ** 2 * (density * weight).sum(axis=2)
        found[rows] = two[of_age]
    return found


def _added(
    model: Purchasing,
    spends: Mapping[int, Spends],
    buyers: Buyers,
    cells: int,
    edges: Floats,
    *,
    moments: bool,
) -> Totals:
    """Sums by cell for given parameters; variances are of chance alone, and 0 without `moments`."""
    found = [np.zeros((cells, edges.size - 1)) for _ in range(4)]
    for start in range(0, buyers.cell.size, BLOCK):
        part = buyers.block(start)
        into = (np.arange(cells)[:, None] == part.cell).astype(np.float64)
        once, ones, many, each = _money(part, spends)
        if moments:
            mean, pairs = week_moments(model, part, edges)
            squared = pairs + mean
            found[1] += into @ (part.customers[:, None] * (squared - mean**2))
            found[3] += into @ (each[:, None] * mean + many[:, None] * squared - ones[:, None] * mean**2)
        else:
            reached = model.expected_purchases(edges[1:], part.frequency, part.recency, part.age)
            mean = np.diff(reached, axis=1, prepend=0.0)
        found[0] += into @ (part.customers[:, None] * mean)
        found[2] += into @ (once[:, None] * mean)
    return Totals(*found)


def _money(buyers: Buyers, spends: Mapping[int, Spends]) -> tuple[Floats, Floats, Floats, Floats]:
    """Of each history's customers the sums of E[M], E[M]², E[M²] and Var[Z], shape (n,).

    A purchase Z of a customer is Gamma(p, ν), so M = p/ν and Var[Z|ν] = p/ν²; ν is Gamma(q+px, γ+s) after x
    repeat purchases worth s in all. E[1/ν²] is infinite for q+px ≤ 2: there is no bound then.
    """
    found = [np.zeros(buyers.cell.size) for _ in range(4)]
    for cell, spend in spends.items():
        rows = np.flatnonzero(buyers.cell == cell)
        p, q, gamma = spend.estimated.values
        kept = 1 - spend.refund_rate
        shape = q + p * buyers.repeats[rows]
        n, s = buyers.customers[rows], buyers.spend[rows]
        squares = n * gamma**2 + 2 * gamma * s + buyers.spend_squared[rows]
        with np.errstate(divide="ignore"):
            second = np.where(shape > 2, squares / ((shape - 1) * np.maximum(shape - 2, 1e-9)), np.inf)
        found[0][rows] = kept * p * (n * gamma + s) / (shape - 1)
        found[1][rows] = kept**2 * p**2 * squares / (shape - 1) ** 2
        found[2][rows] = kept**2 * p**2 * second
        found[3][rows] = kept**2 * p * second
    return found[0], found[1], found[2], found[3]


def _slopes(totals: Callable[[Floats], Totals], values: Floats, sums: Floats) -> tuple[Floats, Floats]:
    """Derivatives of the sums' purchases and revenue in each parameter, shape (k, totals, m) each."""
    found: tuple[list[Floats], list[Floats]] = ([], [])
    for place, value in enumerate(values):
        ends = []
        for sign in (1, -1):
            moved = values.copy()
            moved[place] = value * (1 + sign * STEP)
            ends.append(totals(moved))
        for slopes, name in zip(found, ("purchases", "revenue"), strict=True):
            change = getattr(ends[0], name) - getattr(ends[1], name)
            slopes.append(sums @ change / (2 * STEP * value))
    return np.array(found[0]), np.array(found[1])


def _spread(slopes: Floats, covariance: Floats) -> Floats:
    """g'Σg of every total, shape (totals, m)."""
    spread: Floats = np.einsum("itm,ij,jtm->tm", slopes, covariance, slopes)
    return np.maximum(spread, 0)
