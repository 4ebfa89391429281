"""What partners, their exchanges and their clearing look like over HTTP."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

from services.loyalty.earning.amounts import plain
from services.loyalty.ledger.schemas import Money
from services.loyalty.ledger.store import MAX_POINTS
from shared.web.schemas import Schema

MAX_CALLERS = 20

Rate = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=13, decimal_places=6)]
Plain = Annotated[Decimal, PlainSerializer(plain, return_type=str)]  # without trailing zeros
Whole = Annotated[int, Field(ge=1, le=MAX_POINTS, strict=True)]
CallerId = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class PartnerIn(Schema):
    """A partner: who acts for it, and at which rates. Changed rates hold for what comes after."""

    name: str = Field(min_length=1, max_length=100)
    callers: list[CallerId] = Field(
        [], max_length=MAX_CALLERS, description="Who acts as this partner: `key:` and the id of an API key."
    )
    unit: str = Field(min_length=1, max_length=40, description="What the partner counts in, such as miles.")
    points_per_unit: Rate = Field(description="Points for one of its units, when it issues.")
    units_per_point: Rate = Field(description="Its units for one point, when it accepts.")
    issued_price: Rate = Field(description="Minor units that it pays us for a point that it issued.")
    accepted_price: Rate = Field(description="Minor units that we pay it for a point that it accepted.")
    monthly_limit: Whole | None = Field(
        None, description="The most points that it may issue in a month, UTC, reversed ones included."
    )
    active: bool = True


class PartnerOut(BaseModel):
    """A partner."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    callers: list[str]
    unit: str
    points_per_unit: Plain
    units_per_point: Plain
    issued_price: Plain
    accepted_price: Plain
    monthly_limit: int | None
    active: bool
    version: int
    created_at: datetime


class IssueIn(Schema):
    """The partner gives our points for its own units."""

    customer_id: UUID
    units: Whole
    reason: Reason | None = None


class AcceptIn(Schema):
    """The partner takes our points and gives its own units."""

    customer_id: UUID
    points: Whole
    reason: Reason | None = None


class ReturnIn(Schema):
    """Why an exchange is undone."""

    reason: Reason = "Returned"


class ExchangeOut(BaseModel):
    """Both sides of an exchange."""

    transfer_id: UUID
    partner_id: UUID
    customer_id: UUID
    points: int
    units: int
    unit: str
    rate: Plain
    arithmetic: str
    balance: int = Field(description="The member's available points after it.")


class SideOut(BaseModel):
    """Points of the month in one direction. `worth` is what the net is worth, in exact minor units."""

    points: int
    returned: int
    net: int
    worth: Plain


class ClearingOut(BaseModel):
    """A month (UTC, by the time of posting) with a partner, netted.

    `closing` is the partner's account in the ledger at the month's end: opening + accepted.net - issued.net.
    A negative account is owed by the partner. `settlement` is what the partner pays us for the month, rounded
    down once; when it is negative we pay the partner.
    """

    partner_id: UUID
    month: str
    opening: int
    issued: SideOut
    accepted: SideOut
    net_points: int
    closing: int
    settlement: Money
