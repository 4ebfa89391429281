"""What the arms of an experiment say about an effect, readable as often as one likes. Pure.

A fixed-horizon interval covers the truth once, at the planned end; read daily it misses far more often than
it says. A confidence sequence covers the truth at all readings together. Ours is the asymptotic one of
Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), "Time-uniform central limit theory and asymptotic
confidence sequences", Annals of Statistics, arXiv:2103.06476, for the mean of independent customers, Robbins'
normal mixture with the variance estimated: after t customers the mean is known to within

    sd * sqrt(2 (t rho^2 + 1) / (t^2 rho^2) * log(sqrt(t rho^2 + 1) / alpha)),

and rho^2 = (-2 log alpha + log(-2 log alpha) + 1) / t* makes it tightest at t* customers. The difference of
two arms' means is such a mean over all customers, with its own standard error. Arrays of any one shape go
through all functions, one element for each reading.

The theory is about customers whose outcome is final. Outcomes that still grow (without `outcome_days`)
are not covered by it word for word; tests/scoring/experiments/test_reading.py shows by simulation that the
rate of false effects holds for them too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Fewer say nothing about the spread: no interval is given. Of quantities that are mostly zero, as many
# customers with more than zero are needed; shares are instead helped by Agresti and Caffo's four more.
LEAST_CUSTOMERS = 50
LEAST_ACTIVE = 30
# A ratio of arm sizes less likely than this by chance is a fault of the set-up. It is lower than usual,
# because it too is read daily.
MISMATCH_P = 0.0005


@dataclass(frozen=True, slots=True)
class Moments:
    """One arm's sufficient statistics of an outcome y and, where known, of x: what was before exposure.

    `active` counts customers whose y is not zero. Variances and covariance are those of the sample.
    """

    n: Floats
    mean: Floats
    variance: Floats
    active: Floats
    x_mean: Floats | None = None
    x_variance: Floats | None = None
    covariance: Floats | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """Treated less control: the estimate, its standard error, nan where it is not to be had.

    `reduced` is the share of variance that the adjustment by x took away.
    """

    estimate: Floats
    error: Floats
    customers: Floats
    reduced: Floats


def spread(planned: float, alpha: float, customers: Floats) -> Floats:
    """How many standard errors the sequence's interval is to each side, tightest at `planned` customers."""
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha)) + 1) / planned
    seen = np.maximum(np.asarray(customers, dtype=np.float64), 1.0) * rho2
    return np.sqrt((1 + 1 / seen) * (np.log1p(seen) - 2 * math.log(alpha)))


def fixed_spread(alpha: float) -> float:
    """That of an interval which is read once."""
    return NormalDist().inv_cdf(1 - alpha / 2)


def effect(treated: Moments, control: Moments, *, share: bool) -> Effect:
    """The difference of two arms' means.

    Shares (y of 0 and 1) are read as Agresti & Caffo (2000), The American Statistician 54(4), 280-288, do: as
    if each arm had one success and one failure more, which matters in a small arm only. Other outcomes are
    adjusted by x where it is known: y - theta x with theta the pooled cov(y, x) / var(x). That is CUPED of
    Deng, Xu, Kohavi & Walker (2013), "Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data", WSDM: the difference keeps its mean and loses the variance that x explains.
    """
    customers = treated.n + control.n
    if share:
        p, q = _more_even(treated), _more_even(control)
        error2 = p * (1 - p) / (treated.n + 2) + q * (1 - q) / (control.n + 2)
        enough = np.minimum(treated.n, control.n) >= LEAST_CUSTOMERS
        return Effect(p - q, _where(enough, error2), customers, np.zeros_like(p))
    raw = treated.mean - control.mean
    theta = _theta(treated, control)
    plain = treated.variance / treated.n + control.variance / control.n
    error2 = _residual(treated, theta) / treated.n + _residual(control, theta) / control.n
    shift = np.zeros_like(raw)
    if treated.x_mean is not None and control.x_mean is not None:
        shift = theta * (treated.x_mean - control.x_mean)
    enough = (np.minimum(treated.n, control.n) >= LEAST_CUSTOMERS) & (
        np.minimum(treated.active, control.active) >= LEAST_ACTIVE
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        reduced = np.where(plain > 0, 1 - error2 / plain, 0.0)
    return Effect(raw - shift, _where(enough, error2), customers, reduced)


def relative(
    found: Effect, treated: Moments, control: Moments, reach: Floats
) -> tuple[Floats, Floats, Floats]:
    """The effect as a share of the control's mean, with its interval of `reach` standard errors.

    The interval is that of the logarithm of the ratio of means, by the delta method, so that it stays above
    -1. nan unless both means are above zero, the control's by three standard errors.
    """
    base2 = control.variance / control.n
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = 1 + found.estimate / control.mean
        error = np.sqrt(treated.variance / treated.n / (ratio * control.mean) ** 2 + base2 / control.mean**2)
        known = np.isfinite(found.error) & (control.mean > 3 * np.sqrt(base2)) & (ratio > 0) & (error > 0)
        ratio = np.where(known, ratio, np.nan)
        return ratio - 1, ratio * np.exp(-reach * error) - 1, ratio * np.exp(reach * error) - 1


def mismatch(counts: Sequence[int], shares: Sequence[float]) -> float:
    """The chance of arm sizes at least as far from their shares: Pearson's chi-square; 1 when there are none.

    See Fabijan et al. (2019), "Diagnosing sample ratio mismatch in online controlled experiments", KDD.
    """
    total = sum(counts)
    if total == 0:
        return 1.0
    statistic = sum(
        (count - total * share) ** 2 / (total * share) for count, share in zip(counts, shares, strict=True)
    )
    return _chi_square_tail(statistic, len(counts) - 1)


def customers_needed(error: float, customers: float, effect_size: float, alpha: float, power: float) -> float:
    """Customers until an effect of this size is seen with this power, at the spread so far."""
    tightest = float(spread(1.0, alpha, np.array(1.0)))
    reach = tightest + NormalDist().inv_cdf(power)
    return customers * (error * reach / effect_size) ** 2


def _chi_square_tail(statistic: float, degrees: int) -> float:
    """Q(degrees / 2, statistic / 2), by Q(s + 1, x) = Q(s, x) + x^s e^-x / gamma(s + 1)."""
    x = statistic / 2
    if x == 0:
        return 1.0
    s, tail = (0.5, math.erfc(math.sqrt(x))) if degrees % 2 else (1.0, math.exp(-x))
    while s < degrees / 2:
        tail += math.exp(s * math.log(x) - x - math.lgamma(s + 1))
        s += 1
    return min(tail, 1.0)


def _more_even(arm: Moments) -> Floats:
    return (arm.mean * arm.n + 1) / (arm.n + 2)


def _theta(treated: Moments, control: Moments) -> Floats:
    zero = np.zeros_like(treated.mean)
    if (
        treated.x_variance is None
        or control.x_variance is None
        or treated.covariance is None
        or control.covariance is None
    ):
        return zero
    together = treated.covariance * treated.n + control.covariance * control.n
    variance = treated.x_variance * treated.n + control.x_variance * control.n
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 0, together / variance, zero)


def _residual(arm: Moments, theta: Floats) -> Floats:
    if arm.x_variance is None or arm.covariance is None:
        return arm.variance
    return np.maximum(arm.variance - 2 * theta * arm.covariance + theta**2 * arm.x_variance, 0.0)


def _where(enough: NDArray[np.bool_], error2: Floats) -> Floats:
    return np.where(enough & (error2 > 0), np.sqrt(np.abs(error2)), np.nan)
