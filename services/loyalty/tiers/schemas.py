"""What the tiers' API takes and gives."""

from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from services.loyalty.ledger.store import MAX_POINTS
from services.loyalty.tiers.rules import Basis, Period
from shared.web.schemas import Schema

MAX_TIERS = 20


class Benefits(Schema):
    """What a member of the tier gets from whoever serves them."""

    discount_percent: Annotated[Decimal, Field(ge=0, le=100, max_digits=5, decimal_places=2)] | None = None
    priority_service: bool = False
    birthday_gift: str | None = Field(None, max_length=100)
    support_line: str | None = Field(None, max_length=100, description="A line of their own, by its name.")


class TierIn(Schema):
    """One tier."""

    name: str = Field(min_length=1, max_length=50)
    threshold: int = Field(ge=0, le=MAX_POINTS, description="Minor units of the currency, or points.")
    multiplier: Decimal = Field(Decimal(1), ge=1, le=100, max_digits=7, decimal_places=4)
    benefits: Benefits = Benefits()


class TiersIn(Schema):
    """All tiers, from the lowest, whose threshold is 0."""

    tiers: list[TierIn] = Field(min_length=1, max_length=MAX_TIERS)

    @model_validator(mode="after")
    def _ladder(self) -> Self:
        thresholds = [tier.threshold for tier in self.tiers]
        if thresholds[0] != 0 or any(low >= high for low, high in pairwise(thresholds)):
            raise ValueError("thresholds begin with 0 and grow")
        if len({tier.name for tier in self.tiers}) < len(self.tiers):
            raise ValueError("every tier has a name of its own")
        return self


class TiersOut(TiersIn):
    """The tiers in effect, and how members move between them."""

    version: int
    since: datetime
    basis: Basis
    currency: str | None = Field(description="Of the thresholds; null when points qualify.")
    period: Period
    grace_days: int


class NextTier(BaseModel):
    """The next tier, and how much is missing."""

    name: str
    missing: int


class MemberTier(BaseModel):
    """A member's tier: the same as in the loyalty section of the 360 view."""

    name: str
    since: datetime | None
    multiplier: Decimal
    benefits: Benefits
    qualifying: int = Field(description="In the period: minor units of the programme's currency, or points.")
    next: NextTier | None
    falls_at: datetime | None = Field(description="When the grace period ends, if nothing is bought before.")
    projected: str = Field(description="After a year at the pace of the last 90 days.")


class TierChangeOut(BaseModel):
    """A change of tier, by the order of time."""

    at: datetime
    from_tier: str
    to_tier: str
    qualifying: int
