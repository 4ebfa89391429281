"""Types of the API that every noun here uses: moments, names of sources, bounded JSON."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, AwareDatetime, Field, JsonValue, StringConstraints

from services.profile.identities.rules import MAX_EXTERNAL_ID, SOURCE_PATTERN
from shared.clock import utc_now

FIRST_YEAR, LAST_YEAR = 1901, 9998  # a day of time zones away from what a datetime holds
CLOCK_SKEW = timedelta(days=1)
MAX_DOCUMENT_BYTES = 8_192
MAX_AMOUNT = 10**12


def _moment(given: datetime) -> datetime:
    moment = _later_moment(given)
    if moment > utc_now() + CLOCK_SKEW:
        raise ValueError("must not be in the future")
    return moment


def _later_moment(given: datetime) -> datetime:
    if given.tzinfo is None or not FIRST_YEAR <= given.year <= LAST_YEAR:
        raise ValueError(f"must be between the years {FIRST_YEAR} and {LAST_YEAR}")
    return given.astimezone(UTC)


def _small_document(value: dict[str, Any]) -> dict[str, Any]:
    if len(json_text(value)) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"must not be larger than {MAX_DOCUMENT_BYTES} bytes")
    return value


def cursor_moment(given: str) -> datetime:
    """A moment out of a cursor.

    Raises:
        ValueError: it is not one that we wrote.
    """
    return _later_moment(datetime.fromisoformat(given))


def json_text(value: Any) -> bytes:
    """A value from a request as JSON.

    Raises:
        ValueError: a number in it is larger than 64 bits hold.
    """
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise ValueError("must not hold whole numbers of more than 64 bits") from error


# When something happened: a time zone is required, and a clock that is a day fast is tolerated.
Moment = Annotated[AwareDatetime, AfterValidator(_moment)]
# When something will end.
LaterMoment = Annotated[AwareDatetime, AfterValidator(_later_moment)]

# The system that something comes from.
SourceName = Annotated[str, StringConstraints(pattern=f"^{SOURCE_PATTERN}$", max_length=64)]
# What that system calls it.
SourceId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EXTERNAL_ID)]
# A short word of the caller's own: kind, touchpoint, channel, stage, purpose.
Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Document = Annotated[dict[str, JsonValue], AfterValidator(_small_document)]
# Minor units of a currency.
Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
