"""Windows, progress and streaks. Pure.

A challenge is met in a window when enough was done in it; windows are weeks from Monday, months and years, at
midnight UTC, or the whole time that the challenge runs. A badge asks for as many windows in a row as the
challenge says, and counts from the beginning again after it was given.
"""

from collections.abc import Iterable
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
    found: dict[datetime, int] = {}
    expected: datetime | None = None
    length = 0
    for start in sorted(met):
        length = length + 1 if start == expected else 1
        found[start] = length
        expected = window(every, start)[1]
    return found


def badges(challenge: Challenge, met: Iterable[datetime]) -> list[datetime]:
    """The windows that complete a badge."""
    found = streaks(challenge.every, met)
    return [start for start, length in found.items() if length % challenge.in_a_row == 0]
