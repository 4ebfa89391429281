"""What the API of demand takes and gives."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import groupby

from pydantic import BaseModel, Field

from services.scoring.demand.store import Week
from shared.web.schemas import Schema

MOST_WEEKS = 52


class ForecastRequest(Schema):
    """How far to look ahead."""

    weeks: int = Field(26, ge=1, le=MOST_WEEKS)


class RangeOut(BaseModel):
    """What is expected, between which bounds 95 of 100 weeks should lie, and what came."""

    expected: float
    low: float | None = Field(description="Null where spending is so uneven that there is no bound.")
    high: float | None
    actual: float | None = Field(description="Null while the week is not over.")


class WeekOut(BaseModel):
    """A week. Purchases are days on which a customer bought; revenue is in minor units, refunds taken off."""

    week_from: date
    week_to: date
    made_on: date = Field(description="When this was foretold.")
    purchases: RangeOut
    revenue: RangeOut | None = Field(description="Null without a model of spend in this currency.")


class TrackedOut(BaseModel):
    """How forecasts have compared with what came, over all of them and their weeks that are over."""

    weeks: int
    coverage: float | None = Field(description="Share of weeks within the bounds; 0.95 is what they claim.")
    bias: float | None = Field(description="What came over what was expected, less 1.")


class UnknownOut(BaseModel):
    """What is not known, and why."""

    what: str
    why: str


class DemandOut(BaseModel):
    """The demand to expect of a segment in a currency, from the newest forecast, and how forecasts did."""

    made_on: date | None
    created_at: datetime | None
    segment: str
    currency: str | None
    segments: list[str] = Field(description="Segments to ask for.")
    currencies: list[str]
    customers: int = Field(description="Customers whom the newest forecast is about, in all segments.")
    purchase_model: str | None
    spend_model: str | None
    forecast: list[WeekOut]
    past: list[WeekOut] = Field(description="Weeks that are over, newest first, as last foretold.")
    tracked: dict[str, TrackedOut]
    unknown: list[UnknownOut]


def weeks_of(weeks: Sequence[Week]) -> list[WeekOut]:
    """Measures of the same week together; the weeks are in order."""
    found = []
    for week_from, rows in groupby(weeks, key=lambda week: week.week_from):
        by_measure = {row.measure: row for row in rows}
        first = by_measure["purchases"]
        money = by_measure.get("revenue")
        found.append(
            WeekOut(
                week_from=week_from,
                week_to=week_from + timedelta(days=6),
                made_on=first.made_on,
                purchases=_range(first),
                revenue=_range(money) if money else None,
            )
        )
    return found


def _range(week: Week) -> RangeOut:
    return RangeOut(expected=week.expected, low=week.low, high=week.high, actual=week.actual)
