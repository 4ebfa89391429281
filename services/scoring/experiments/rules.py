"""The words of an experiment: its metrics and arms, what is refused, and results as sentences. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.scoring.value.rules import SEGMENTS
from shared.problems import Conflict, NotFound

Metric = Literal["conversion", "retention", "purchases", "revenue", "tickets", "nps", "csat"]
ArmKind = Literal["treatment", "control", "hold_out"]
Status = Literal["draft", "running", "stopped"]

METRICS: dict[Metric, str] = {
    "conversion": "share of customers who bought at all since they were exposed",
    "retention": "share of customers who bought again more than `retention_days` after they were exposed",
    "purchases": "purchases per customer since they were exposed",
    "revenue": "net revenue per customer since they were exposed, in minor units",
    "tickets": "tickets per customer since they were exposed",
    "nps": "net promoter score of the customers who answered since they were exposed, from -100 to 100",
    "csat": "mean satisfaction of the customers who answered since they were exposed",
}
SHARES: frozenset[Metric] = frozenset({"conversion", "retention"})
ANSWERED: frozenset[Metric] = frozenset({"nps", "csat"})
RFM_SEGMENTS = frozenset(name for row in SEGMENTS for name in row)

PLANNED_CUSTOMERS = 1_000  # where intervals are tightest when no size was asked for


class UnknownExperiment(NotFound):
    slug, title = "unknown-experiment", "There is no such experiment"


class HasBegun(Conflict):
    slug, title = "experiment-has-begun", "An experiment that has begun cannot be changed"


class NotBegun(Conflict):
    slug, title = "experiment-not-begun", "The experiment has not begun"


class NotRunning(Conflict):
    slug, title = "experiment-not-running", "The experiment takes no more customers"


class HasEnded(Conflict):
    slug, title = "experiment-has-ended", "The experiment would be over before it begins"


class NothingToSizeBy(Conflict):
    slug, title = "nothing-to-size-by", "What customers did so far does not tell how many are needed"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference of a treated arm from the control in a metric, None where it cannot be told yet."""

    difference: float
    low: float | None
    high: float | None

    @property
    def shown(self) -> Literal["higher", "lower"] | None:
        """The direction of the effect, once the interval leaves out zero."""
        if self.low is not None and self.low > 0:
            return "higher"
        return "lower" if self.high is not None and self.high < 0 else None


def verdict(
    comparison: Comparison, *, arm: str, metric: Metric, valid: bool, needs: int | None, varies: bool
) -> str:
    """A sentence for who decides.

    Args:
        needs: customers still missing until an effect as large as asked for would mostly be seen; None when
            none was asked for.
        varies: whether the outcome differs between customers at all.
    """
    if not valid:
        return "not valid: the arms are not as large as their shares say, so who is in them is not chance"
    if not varies:
        return "nothing to tell yet: no customer did anything else than the others"
    if comparison.low is None or comparison.high is None:
        return "too early to tell: too few customers for an interval"
    if comparison.shown is not None:
        least, most = sorted((abs(comparison.low), abs(comparison.high)))
        return f"effect shown: {metric} is {comparison.shown} with {arm}, by {least:.4g} to {most:.4g}"
    return _not_shown(needs)


def reading_end(now: datetime, ends_at: datetime | None, stopped_at: datetime | None) -> datetime:
    """Outcomes count until here: the end, the stop, or now."""
    return min(moment for moment in (now, ends_at, stopped_at) if moment is not None)


def _not_shown(needs: int | None) -> str:
    if needs is None:
        return "no effect shown yet"
    if needs > 0:
        return f"no effect shown yet: needs about {needs:,} more customers"
    return "no effect shown: one as large as the smallest that matters would mostly have been seen by now"
