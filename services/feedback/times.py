"""The times that callers may state: aware, and within the years that customers live in."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def happened_at(stated: datetime, received: datetime) -> datetime:
    """When feedback happened: as stated, but never after it was received, nor before anyone kept time."""
    return stated if EARLIEST <= stated <= received else received


def _within_reason(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"a time lies between {EARLIEST.year} and {LATEST.year}")
    return moment.astimezone(UTC)


def _first_moment(stated: Any) -> Any:
    if isinstance(stated, str) and _DAY.fullmatch(stated):
        return f"{stated}T00:00:00Z"
    return stated


# RFC 3339 with an offset; kept in UTC.
Moment = Annotated[AwareDatetime, AfterValidator(_within_reason)]
# The same, or a date, which stands for its first moment in UTC.
Bound = Annotated[Moment, BeforeValidator(_first_moment)]
