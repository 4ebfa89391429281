"""Windows, progress and streaks. Pure.

A challenge is met in a window when enough was done in it; windows are weeks from Monday, months and years, at
midnight UTC, or the whole time that the challenge runs. A badge asks for as many windows in a row as the
challenge says, and counts from the beginning again after it was given.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from services.loyalty.earning.rules import Deed, Kind

Every = Literal["week", "month", "year", "once"]
ONCE_FROM = datetime(1970, 1, 1, tzinfo=UTC)
ONCE_TO = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A task: `target` deeds of a kind in a window, `in_a_row` windows for the badge."""

    id: str
    version: int
    name: str
    kind: Kind
    target: int
    every: Every
    in_a_row: int
    badge: str
    points: int
    starts_at: datetime
    ends_at: datetime | None
    subjects: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    points_days: int | None = None


def concerns(challenge: Challenge, deed: Deed) -> bool:
    """Whether a deed counts for the challenge."""
    return (
        challenge.kind == deed.kind
        and challenge.starts_at <= deed.occurred_at
        and (challenge.ends_at is None or deed.occurred_at < challenge.ends_at)
        and (not challenge.subjects or deed.subject in challenge.subjects)
        and (not challenge.channels or deed.channel in challenge.channels)
        and (not challenge.categories or any(part.category in challenge.categories for part in deed.parts))
    )


def window(every: Every, moment: datetime) -> tuple[datetime, datetime]:
    """The window that a moment lies in: its begin, and the begin of the next."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if every == "once" or day >= ONCE_TO - timedelta(days=366):
        return ONCE_FROM, ONCE_TO
    if every == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    if every == "month":
        first = day.replace(day=1)
        return first, (first + timedelta(days=31)).replace(day=1)
    return day.replace(month=1, day=1), day.replace(year=day.year + 1, month=1, day=1)


def streaks(every: Every, met: Iterable[datetime]) -> dict[datetime, int]:
    """For each window that was met, by its begin: how many in a row were met up to it."""
    return {start: length for run in _runs(every, met) for length, start in enumerate(run, start=1)}


def badges(challenge: Challenge, met: Iterable[datetime], given: Collection[datetime]) -> list[datetime]:
    """The windows that complete a badge, those left out for which badges were `given` before.

    A window that becomes known late may join two runs or move the places where a run completes a badge. So a
    run is owed one for each `in_a_row` of its windows, whatever windows those before were given for: as many
    as if all had been heard of in order.
    """
    found: list[datetime] = []
    for run in _runs(challenge.every, met):
        complete = run[challenge.in_a_row - 1 :: challenge.in_a_row]
        missing = len(complete) - sum(start in given for start in run)
        if missing > 0:
            found += [start for start in complete if start not in given][-missing:]
    return found


def _runs(every: Every, met: Iterable[datetime]) -> list[list[datetime]]:
    runs: list[list[datetime]] = []
    expected: datetime | None = None
    for start in sorted(met):
        if start == expected:
            runs[-1].append(start)
        else:
            runs.append([start])
        expected = window(every, start)[1]
    return runs
