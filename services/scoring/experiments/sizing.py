"""How many customers an experiment needs, before it begins. Pure.

Of shares: Fleiss, Tytun & Ury (1980), "A simple approximation for calculating sample sizes for comparing
independent proportions", Biometrics 36, 343-346, without the correction for continuity; of means: the normal
approximation of Chow, Shao & Wang (2003), "Sample size calculations in clinical research",
n = (z_{1-alpha/2} + z_{power})^2 sd^2 (1 + 1/ratio) / effect^2. Both are for a result that is read once.
Reading at any time costs more: the interval of reading.spread is wider, and the number grows by
((tightest spread + z_{power}) / (z_{1-alpha/2} + z_{power}))^2, about 2 at alpha 0.05 and power 0.8.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from services.scoring.experiments.reading import spread

MOST_CUSTOMERS = 10**12


@dataclass(frozen=True, slots=True)
class Size:
    """Customers in all arms together; `days` at `per_day` newly exposed customers, None when that is zero."""

    once: int
    any_time: int
    per_day: float | None
    days_once: int | None
    days_any_time: int | None


def of_shares(baseline: float, effect: float, *, ratio: float, alpha: float, power: float) -> float:
    """Customers in the control arm; `ratio` is treated customers for each of them, `effect` in points."""
    other = baseline + effect
    pooled = (baseline + ratio * other) / (1 + ratio)
    z_alpha, z_power = _z(alpha, power)
    reach = z_alpha * math.sqrt((ratio + 1) * pooled * (1 - pooled)) + z_power * math.sqrt(
        ratio * baseline * (1 - baseline) + other * (1 - other)
    )
    return reach**2 / (ratio * effect**2)


def of_means(deviation: float, effect: float, *, ratio: float, alpha: float, power: float) -> float:
    """Customers in the control arm; `deviation` and `effect` in the unit of the outcome."""
    z_alpha, z_power = _z(alpha, power)
    return ((z_alpha + z_power) * deviation / effect) ** 2 * (1 + 1 / ratio)


def size(
    *,
    baseline: float,
    deviation: float | None,
    effect: float,
    shares: Sequence[float],
    control: int,
    alpha: float,
    power: float,
    per_day: float | None,
) -> Size:
    """The size of an experiment: of its hardest comparison, the control with the smallest other arm.

    Alpha is divided by the number of comparisons (Bonferroni). `deviation` is None for shares.
    """
    others = [share for arm, share in enumerate(shares) if arm != control]
    each = alpha / len(others)
    ratio = min(others) / shares[control]
    if deviation is None:
        in_control = of_shares(baseline, effect, ratio=ratio, alpha=each, power=power)
    else:
        in_control = of_means(deviation, effect, ratio=ratio, alpha=each, power=power)
    once = min(math.ceil(in_control / shares[control]), MOST_CUSTOMERS)
    any_time = min(math.ceil(once * penalty(each, power)), MOST_CUSTOMERS)
    return Size(once, any_time, per_day, _days(once, per_day), _days(any_time, per_day))


def penalty(alpha: float, power: float) -> float:
    """How many times more customers a result needs that may be read at any time."""
    z_alpha, z_power = _z(alpha, power)
    return ((float(spread(1.0, alpha, np.array(1.0))) + z_power) / (z_alpha + z_power)) ** 2


def _z(alpha: float, power: float) -> tuple[float, float]:
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2), normal.inv_cdf(power)


def _days(customers: int, per_day: float | None) -> int | None:
    return math.ceil(customers / per_day) if per_day else None
