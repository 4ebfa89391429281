"""What answers add up to: NPS, CSAT and CES with their confidence intervals. Pure.

Every figure comes from how often each score was given, so a million answers are eleven numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shared.problems import FieldError, Invalid

SurveyKind = Literal["nps", "csat", "ces"]

CONFIDENCE = 0.95
Z = 1.959964  # standard normal quantile of 97.5 %
# Observations added before the Wald interval of an NPS: detractors, passives, promoters.
NPS_PRIOR = (0.75, 1.5, 0.75)

# The groups of each kind by the lowest score that belongs to them, best first.
GROUPS: Mapping[SurveyKind, tuple[tuple[str, int], ...]] = {
    "nps": (("promoters", 9), ("passives", 7), ("detractors", 0)),
    "csat": (("satisfied", 4), ("neutral", 3), ("dissatisfied", 1)),
    "ces": (("easy", 5), ("neutral", 4), ("hard", 1)),
}


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true figure lies with 95 % confidence, and how that was reckoned."""

    low: float
    high: float
    method: str
    confidence: float = CONFIDENCE


@dataclass(frozen=True, slots=True)
class Result:
    """NPS from -100 to 100, CSAT as the percentage satisfied, CES as the mean from 1 to 7.

    `score`, `mean` and `interval` are None while there are too few answers for them.
    """

    answers: int
    score: float | None
    mean: float | None
    interval: Interval | None
    groups: Mapping[str, int]


def check_score(score: int, *, lowest: int, highest: int) -> None:
    """Refuse a score outside the survey's scale.

    Raises:
        Invalid: names the scale.
    """
    if not lowest <= score <= highest:
        raise Invalid(errors=[FieldError("/score", f"this survey's scores go from {lowest} to {highest}")])


def result(kind: SurveyKind, counts: Mapping[int, int]) -> Result:
    """The figures of one kind of survey.

    Args:
        counts: how many answers gave each score.
    """
    groups = group(kind, counts)
    answers = sum(counts.values())
    if answers == 0:
        return Result(0, None, None, None, groups)
    mean = sum(score * n for score, n in counts.items()) / answers
    interval: Interval | None
    if kind == "nps":
        score, interval = _nps(groups, answers)
    elif kind == "csat":
        score, interval = _share(groups["satisfied"], answers)
    else:
        score, interval = round(mean, 2), _of_mean(counts, mean, answers)
    return Result(answers, score, round(mean, 2), interval, groups)


def group(kind: SurveyKind, counts: Mapping[int, int]) -> dict[str, int]:
    """How many answers fall into each group, best first."""
    groups = dict.fromkeys((name for name, _ in GROUPS[kind]), 0)
    for score, n in counts.items():
        groups[next(name for name, lowest in GROUPS[kind] if score >= lowest)] += n
    return groups


def student_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t distribution.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5: within 1 % from two degrees of
    freedom; one degree is exact by its own formula, tan(π · 0.475).
    """
    if degrees == 1:
        return math.tan(math.pi * 0.475)
    z, n = Z, float(degrees)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )


def _nps(groups: Mapping[str, int], answers: int) -> tuple[float, Interval]:
    """%promoters - %detractors, with the adjusted Wald interval.

    Rocks, Interval Estimation for the "Net Promoter Score", The American Statistician 70(4), 2016: adding
    three observations keeps the interval honest for few answers and for extreme scores.
    """
    score = 100 * (groups["promoters"] - groups["detractors"]) / answers
    added_detractors, added_passives, added_promoters = NPS_PRIOR
    n = answers + added_detractors + added_passives + added_promoters
    promoters = (groups["promoters"] + added_promoters) / n
    detractors = (groups["detractors"] + added_detractors) / n
    difference = promoters - detractors
    centre = 100 * difference
    half = 100 * Z * math.sqrt((promoters + detractors - difference**2) / n)
    return round(score, 1), _interval(centre, half, scale=(-100, 100), method="adjusted Wald")


def _share(satisfied: int, answers: int) -> tuple[float, Interval]:
    """The percentage satisfied, with Wilson's score interval (Wilson 1927)."""
    share, weight = satisfied / answers, Z**2 / answers
    centre = 100 * (share + weight / 2) / (1 + weight)
    half = 100 * Z * math.sqrt(share * (1 - share) / answers + weight / (4 * answers)) / (1 + weight)
    return round(100 * share, 1), _interval(centre, half, scale=(0, 100), method="Wilson score")


def _of_mean(counts: Mapping[int, int], mean: float, answers: int) -> Interval | None:
    """The interval of a mean by Student's t; one answer alone has none."""
    if answers < 2:
        return None
    variance = sum(n * (score - mean) ** 2 for score, n in counts.items()) / (answers - 1)
    half = student_quantile(answers - 1) * math.sqrt(variance / answers)
    return _interval(mean, half, scale=(1, 7), method="Student t")


def _interval(centre: float, half: float, *, scale: tuple[float, float], method: str) -> Interval:
    low, high = max(centre - half, scale[0]), min(centre + half, scale[1])
    return Interval(round(low, 2), round(high, 2), method)
