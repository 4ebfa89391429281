"""What is told of an effect."""

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.loyalty.ledger.schemas import Money

Status = Literal["estimated", "nobody-had-it", "too-early", "no-control", "too-few-members"]


class EstimateOut(BaseModel):
    """Means of those who had it and of their like without it, the difference and its interval."""

    had: float
    without: float
    difference: float
    low: float
    high: float


class MembersOut(BaseModel):
    """How many first had it in the period, and how many were compared on either side."""

    had_it: int
    compared: int
    compared_with: int
    sampled: bool = Field(description="Whether a sample was looked at instead of all.")


class EffectOut(BaseModel):
    """What a reward, rule or tier did to those who first had it in the period.

    Purchases and spend (minor units of `currency`, before refunds) are per member over the days after the
    week in which they had it; churn is the share who bought nothing in them. `retained` is how many members
    bought who otherwise would not have.
    """

    reward: UUID | None = None
    rule: str | None = None
    tier: str | None = None
    from_: date = Field(serialization_alias="from")
    to: date
    days: int
    currency: str
    confidence: float
    status: Status
    why: str = Field(description="The same in a sentence; what to be careful about.")
    members: MembersOut
    purchases: EstimateOut | None = None
    spend: EstimateOut | None = None
    churn: EstimateOut | None = None
    retained: int | None = None
    cost: Money | None = Field(None, description="Of all who first had it; null when it is not known.")
    cost_per_retained: Money | None = Field(
        None, description="Null unless the whole interval of churn says that members were retained."
    )
