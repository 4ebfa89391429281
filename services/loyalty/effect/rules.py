"""What something did to those who had it, against comparable members who did not. Pure.

Weeks are compared: whoever first had it in a week is set beside members who had not had it by its end, of
the same tier when the week began and of the same recency and frequency when it ended. The outcome is what
they bought in the days after the week. Those who get it in these days stay among the others: to leave them
out would choose by what came after, and whoever buys less gets less (a rule of purchases would be compared
with members who bought nothing). So each week is a trial of having it now against not yet (Danaei et al.
2013, Statistical Methods in Medical Research 22, 70-96), and what those who get it later gain of it makes the
effect look smaller.

The effect on those who had it is the mean over them of y - ȳ(stratum), where ȳ is the mean of the stratum's
members without it. Its standard error comes from the influence function of that estimator with discrete
covariates (Hahn 1998, "On the role of the propensity score", Econometrica 66, 315-331),

    ψ = (y - ȳ(s) - effect) / n            for who had it
    ψ = -(n(s) / m(s)) (y - ȳ(s)) / n      for who did not,

n of them had it, n(s) of these in a stratum with m(s) others; ψ is summed over the weeks of one member
before it is squared, as these are not independent (Liang & Zeger 1986, Biometrika 73, 13-22). The interval is
normal.

What nobody can rule out: a reason to have it that is also a reason to buy and shows in none of the three.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z = 1.959964  # standard normal quantile of 97.5 %
CONFIDENCE = 0.95
WEEK = 7.0
YEAR = 365.0
RECENCY_DAYS = (7.0, 30.0, 90.0, 180.0)  # bounds of the bands since the last purchase
FREQUENCY = (1, 3, 9)  # bounds of the bands of purchases in a year
ENOUGH = 30  # members on either side; below it a normal interval says nothing

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class History:
    """A member: days (since any fixed day) of purchases, sorted, what they spent, and tiers by their day.

    `had_at` is the day on which they first had what is looked at. `control`: whether they may stand for those
    who have not had it; not those who are looked at only for having had it, or these would be too many there.
    """

    days: Sequence[float]
    spent: Sequence[int]
    tiers: Sequence[tuple[float, str]] = ()
    had_at: float | None = None
    control: bool = True


@dataclass(frozen=True, slots=True)
class Observations:
    """Members in weeks: who, in which stratum, with it or not, and purchases, spend and churn after it."""

    member: Integers
    stratum: Integers
    had: NDArray[np.bool_]
    outcomes: Floats  # a row each for purchases, spend and churn


@dataclass(frozen=True, slots=True)
class Estimate:
    """Means of those who had it and of their like without it, the difference and its interval."""

    had: float
    without: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Matched:
    """Members that were compared on either side."""

    had: int
    without: int


def observe(
    histories: Sequence[History], *, start: float, end: float, after: float, now: float
) -> Observations:
    """Members in the weeks from `start` until before `end` that have an outcome by `now`.

    Only members who bought in the year before the week's end: who never did has no like.
    """
    strata: dict[tuple[object, ...], int] = {}
    rows: list[tuple[int, int, bool, float, float, float]] = []
    sums = [np.concatenate(([0], np.cumsum(history.spent, dtype=np.int64))) for history in histories]
    week = start
    while week < end and week + WEEK + after <= now:
        known = week + WEEK + after
        if any(h.had_at is not None and week <= h.had_at < min(week + WEEK, end) for h in histories):
            for index, history in enumerate(histories):
                had = history.had_at is not None and week <= history.had_at < min(week + WEEK, end)
                had_before = history.had_at is not None and history.had_at < week + WEEK
                if not had and (had_before or not history.control):
                    continue
                like = _like(history, week)
                if like is None:
                    continue
                before, until = bisect_left(history.days, week + WEEK), bisect_left(history.days, known)
                stratum = strata.setdefault((week, *like), len(strata))
                spent = float(sums[index][until] - sums[index][before])
                rows.append((index, stratum, had, until - before, spent, float(until == before)))
        week += WEEK
    table = np.array(rows, dtype=float).reshape(-1, 6)
    return Observations(
        table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2] > 0, table[:, 3:].T
    )


def _like(history: History, week: float) -> tuple[object, ...] | None:
    """The tier before the week, recency and frequency at its end; None without a purchase in the year."""
    end = week + WEEK
    count = bisect_left(history.days, end)
    first = bisect_left(history.days, end - YEAR)
    if count == first:
        return None
    place = bisect_right([day for day, _ in history.tiers], week)
    tier = history.tiers[place - 1][1] if place else None
    recency = bisect_left(RECENCY_DAYS, end - history.days[count - 1])
    return tier, recency, bisect_left(FREQUENCY, count - first)


def comparable(seen: Observations) -> Observations:
    """What is left when strata without members on both sides are put aside."""
    size = int(seen.stratum.max(initial=-1)) + 1
    both = (np.bincount(seen.stratum[seen.had], minlength=size) > 0) & (
        np.bincount(seen.stratum[~seen.had], minlength=size) > 0
    )
    kept = both[seen.stratum]
    return Observations(seen.member[kept], seen.stratum[kept], seen.had[kept], seen.outcomes[:, kept])


def matched(seen: Observations) -> Matched:
    """How many different members stand on either side."""
    return Matched(len(np.unique(seen.member[seen.had])), len(np.unique(seen.member[~seen.had])))


def effect(seen: Observations, outcome: int) -> Estimate:
    """The effect on one outcome, of observations that are `comparable` and hold both sides."""
    y, had, stratum = seen.outcomes[outcome], seen.had, seen.stratum
    size = int(stratum.max()) + 1
    others = np.bincount(stratum[~had], minlength=size)
    mean = np.bincount(stratum[~had], y[~had], minlength=size) / np.maximum(others, 1)
    n = int(had.sum())
    gain = y - mean[stratum]
    difference = float(gain[had].mean())
    weight = np.bincount(stratum[had], minlength=size) / np.maximum(others, 1)
    influence = np.where(had, gain - difference, -weight[stratum] * gain) / n
    error = float(np.sqrt((np.bincount(seen.member, influence) ** 2).sum()))
    with_it = float(y[had].mean())
    return Estimate(with_it, with_it - difference, difference, difference - Z * error, difference + Z * error)
