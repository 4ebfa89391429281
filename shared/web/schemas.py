"""The base of request bodies: unknown fields are refused by name, text is storable."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

MAX_DEPTH = 16
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _within_reach(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        raise ValueError("must lie between the years 1900 and 9000")
    return moment


# A moment that can be counted with: the driver takes the ends of the calendar for infinity.
Moment = Annotated[AwareDatetime, AfterValidator(_within_reach)]


def _first_moment(said: Any) -> Any:
    return f"{said}T00:00:00Z" if isinstance(said, str) and len(said) == len("2026-03-01") else said


# A moment, or a day (UTC) that stands for its first one.
MomentOrDay = Annotated[Moment, BeforeValidator(_first_moment)]

# What fits a bigint and survives JSON readers that hold numbers as doubles.
SafeInt = Annotated[int, Field(ge=-(2**53) + 1, le=2**53 - 1)]
JsonObject = dict[str, JsonValue]


class Schema(BaseModel):
    """A request body. NUL characters, lone surrogates and deep nesting are refused before anything else."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        check_storable(value)
        return value


def check_storable(value: Any, depth: int = 0) -> None:
    """Refuse what Postgres cannot hold as text or JSON.

    Raises:
        ValueError: says what is wrong, without the value.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("text may not hold the NUL character")
        if not value.isascii() and any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise ValueError("text may not hold lone surrogates")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_storable(key, depth + 1)
            check_storable(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_storable(item, depth + 1)
