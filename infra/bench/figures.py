"""What is said of measurements: medians and spreads, ratios of pairs, whether a figure is reached. Pure."""

import operator
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_HOLDS = {"≥": operator.ge, "≤": operator.le}


class Wrong(Exception):
    """A benchmark got an answer that is not right, or could not measure what it says it measures."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeated measurements: their median, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Reach:
    """What a figure should come to."""

    sign: Literal["≥", "≤"]
    limit: float

    def holds(self, value: float) -> bool:
        return bool(_HOLDS[self.sign](value, self.limit))

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the results.

    Args:
        what: what was measured, in words, with its unit last: `answers/s`, `p99 ms`.
        ours: our side's repeats.
        against: the yardstick's repeats, in the same order; empty when there is none.
        reach: for the median ratio when there is a yardstick, otherwise for our median; None: only shown.
        note: what a reader must know to judge it.
    """

    what: str
    ours: Sequence[float]
    against: Sequence[float] = ()
    reach: Reach | None = None
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Ours by theirs, pair by pair: two neighbours in time share the machine's mood."""
        return [mine / theirs for mine, theirs in zip(self.ours, self.against, strict=False)]

    @property
    def reached(self) -> bool | None:
        """Whether it comes to what it should; None when nothing was asked of it."""
        if self.reach is None:
            return None
        return self.reach.holds(Spread.of(self.ratios if self.against else self.ours).median)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]
