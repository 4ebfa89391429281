"""Which tier a member holds: a pure function of what qualified and when.

What qualifies (spend in minor units, or points) is kept by day. With a rolling period a day leaves the window
twelve months later, with a calendar period at the next New Year, both at midnight UTC. Who reaches a tier's
threshold rises at once, over several tiers if need be. Who is below the threshold of their tier for the whole
grace period falls one step at its end, and the next grace period begins.

Nothing here depends on when an event was heard of, or on when a job ran: a standing is moved forward from one
moment to the next, and whoever moves it over the same events arrives at the same tier at the same moments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

Basis = Literal["spend", "points"]
Period = Literal["rolling", "calendar"]

BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)
PACE = timedelta(days=90)  # the projection goes on at the pace of these days
YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Tier:
    """One step.

    `threshold` is in minor units of the programme's currency, or in points; `multiplier` raises what
    purchases earn; `benefits` are told to whoever serves the member.
    """

    name: str
    threshold: int
    multiplier: Decimal
    benefits: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TierTable:
    """The tiers from the lowest, whose threshold is zero; in effect from `since` to the next version."""

    version: int
    since: datetime
    tiers: tuple[Tier, ...]

    def reached(self, qualifying: int) -> int:
        """The rank of the highest tier whose threshold is met."""
        return max(rank for rank, tier in enumerate(self.tiers) if rank == 0 or tier.threshold <= qualifying)

    def rank(self, name: str) -> int | None:
        """Where a tier stands, from 0; None when this version does not have it."""
        return next((rank for rank, tier in enumerate(self.tiers) if tier.name == name), None)


@dataclass(frozen=True, slots=True)
class Ladder:
    """Every version of the tiers, the oldest first, what counts on it, and how time moves members."""

    tables: tuple[TierTable, ...]
    period: Period
    grace: timedelta
    basis: Basis = "spend"

    def at(self, moment: datetime) -> TierTable:
        """The version in effect at a moment."""
        newest = self.tables[-1]
        if newest.since <= moment:
            return newest
        return next((table for table in reversed(self.tables) if table.since <= moment), self.tables[0])

    def switch_after(self, moment: datetime) -> datetime | None:
        """When the next version comes into effect."""
        if self.tables[-1].since <= moment:
            return None
        return next(table.since for table in self.tables if table.since > moment)


@dataclass(frozen=True, slots=True)
class Change:
    """A member went from one tier to another."""

    at: datetime
    before: str
    after: str
    qualifying: int


@dataclass(slots=True)
class Standing:
    """Where a member stands as of `clock`. `window` holds what still qualifies, by day, the oldest first;
    `due_at` is when the member falls a step if nothing happens before."""

    clock: datetime
    tier: str
    since: datetime | None = None
    due_at: datetime | None = None
    window: dict[date, int] = field(default_factory=dict)
    total: int = 0

    def copy(self) -> "Standing":
        """The same standing, to be moved on its own."""
        return replace(self, window=dict(self.window))


def begin(ladder: Ladder) -> Standing:
    """A member who has bought nothing yet."""
    return Standing(BEGINNING, ladder.tables[0].tiers[0].name)


def advance(standing: Standing, ladder: Ladder, until: datetime) -> list[Change]:
    """Move the standing to a moment: days leave the window, grace periods end, versions change."""
    changes: list[Change] = []
    while (moment := next_turn(standing, ladder)) is not None and moment <= until:
        while standing.window and leaves(next(iter(standing.window)), ladder.period) <= moment:
            standing.total -= standing.window.pop(next(iter(standing.window)))
        standing.clock = moment
        table = ladder.at(moment)
        rank = table.rank(standing.tier)
        if standing.due_at is not None and standing.due_at <= moment:
            standing.due_at = None
            if rank and standing.total < table.tiers[rank].threshold:
                changes.append(_move(standing, table, rank - 1))
        changes += _judge(standing, ladder)
    standing.clock = max(standing.clock, until)
    return changes


def qualify(standing: Standing, ladder: Ladder, day: date, amount: int) -> list[Change]:
    """Count what came in on `day`, now at the standing's clock; negative for what was given back.

    What was given back of a day that has left the window changes nothing any more.
    """
    if amount > 0 or day in standing.window:
        standing.window[day] = standing.window.get(day, 0) + amount
        standing.total += amount
    return _judge(standing, ladder)


def next_turn(standing: Standing, ladder: Ladder) -> datetime | None:
    """The next moment at which something changes by itself."""
    first = next(iter(standing.window), None)
    moments = (
        None if first is None else leaves(first, ladder.period),
        standing.due_at,
        ladder.switch_after(standing.clock),
    )
    return min((moment for moment in moments if moment is not None), default=None)


@lru_cache(maxsize=4096)
def leaves(day: date, period: Period) -> datetime:
    """When a day stops to count."""
    try:
        if period == "calendar":
            return datetime(day.year + 1, 1, 1, tzinfo=UTC)
        leap = (day.month, day.day) == (2, 29)
        return datetime.combine(
            date(day.year + 1, 3, 1) if leap else day.replace(year=day.year + 1), time(), UTC
        )
    except ValueError:  # beyond the year 9999
        return END


def _judge(standing: Standing, ladder: Ladder) -> list[Change]:
    """Rise at once; below the threshold the grace period begins, above it ends."""
    table = ladder.at(standing.clock)
    reached, rank = table.reached(standing.total), table.rank(standing.tier)
    if rank is None or reached > rank:
        standing.due_at = None
        return [_move(standing, table, reached)]
    if reached == rank:
        standing.due_at = None
    elif standing.due_at is None:
        standing.due_at = min(END - ladder.grace, standing.clock) + ladder.grace
    return []


def _move(standing: Standing, table: TierTable, rank: int) -> Change:
    change = Change(standing.clock, standing.tier, table.tiers[rank].name, standing.total)
    standing.tier, standing.since = change.after, change.at
    return change


def shown(standing: Standing, ladder: Ladder) -> dict[str, Any]:
    """What a member and whoever serves them see of the standing, as of its clock.

    `projected` is the tier of a year that goes on at the pace of the last 90 days, or the present one if that
    is higher.
    """
    table = ladder.at(standing.clock)
    rank = table.rank(standing.tier) or 0
    tier = table.tiers[rank]
    following = table.tiers[rank + 1] if rank + 1 < len(table.tiers) else None
    since = max(standing.clock, BEGINNING + PACE) - PACE
    recent = sum(amount for day, amount in standing.window.items() if day >= since.date())
    projected = max(table.reached(recent * YEAR.days // PACE.days), table.reached(standing.total))
    return {
        "name": tier.name,
        "since": standing.since.isoformat() if standing.since else None,
        "multiplier": str(tier.multiplier),
        "benefits": dict(tier.benefits),
        "qualifying": standing.total,
        "next": None
        if following is None
        else {"name": following.name, "missing": max(0, following.threshold - standing.total)},
        "falls_at": standing.due_at.isoformat() if standing.due_at else None,
        "projected": table.tiers[projected].name,
    }
