"""What campaigns, coupons and their uses look like over HTTP. Amounts are minor units."""

from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Literal
from uuid import UUID

import pycountry
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    computed_field,
)

from services.loyalty.coupons import codes
from services.loyalty.earning.amounts import plain
from shared.web.schemas import Moment, Schema

MAX_AMOUNT = 2**53 - 1
MAX_ISSUE = 1_000_000
MAX_USES = 1_000_000_000
MAX_ON_BASKET = 10
MAX_TYPED = 40  # characters of a code as it was typed


@cache
def _currencies() -> frozenset[str]:
    return frozenset(currency.alpha_3 for currency in pycountry.currencies)


def _known_currency(code: str) -> str:
    if code not in _currencies():
        raise ValueError("must be a currency code of ISO 4217, such as CNY")
    return code


Currency = Annotated[str, StringConstraints(pattern="^[A-Z]{3}$"), AfterValidator(_known_currency)]
Plain = Annotated[Decimal, PlainSerializer(plain, return_type=str)]  # without trailing zeros
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT, strict=True)]
Uses = Annotated[int, Field(ge=1, le=MAX_USES, strict=True)]
Typed = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TYPED)]


class CampaignIn(Schema):
    """What the coupons of a campaign take off, and under which terms."""

    name: str = Field(min_length=1, max_length=200)
    percent: Annotated[Decimal, Field(gt=0, le=100, decimal_places=2)] | None = None
    amount: Amount | None = Field(None, description="Instead of `percent`; needs `currency`.")
    currency: Currency | None = Field(None, description="Of all amounts here; a basket must be in it.")
    minimum_spend: Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True)] = 0
    most_off: Amount | None = Field(None, description="The most that `percent` takes off.")
    combinable: bool = Field(False, description="With other coupons on one basket.")
    uses_per_code: Uses | None = Field(1, description="Null: any number.")
    uses_per_customer: Uses | None = Field(None, description="Over all codes of the campaign.")
    starts_at: Moment | None = Field(None, description="Now when left out.")
    ends_at: Moment | None = None


class CampaignOut(BaseModel):
    """A campaign."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    percent: Plain | None
    amount: int | None
    currency: str | None
    minimum_spend: int
    most_off: int | None
    combinable: bool
    uses_per_code: int | None
    uses_per_customer: int | None
    starts_at: datetime
    ends_at: datetime | None
    version: int


class CouponIn(Schema):
    """Whose the coupon is alone; left out: whoever knows the code."""

    customer_id: UUID | None = None


class CouponOut(BaseModel):
    """One coupon and what it takes off."""

    code: str
    customer_id: UUID | None
    used: int
    issued_at: datetime
    cancelled_at: datetime | None
    campaign: CampaignOut


class IssueIn(Schema):
    """How many codes to make."""

    count: Annotated[int, Field(ge=1, le=MAX_ISSUE, strict=True)]


class IssueOut(BaseModel):
    """Codes made in bulk, as far as it has come."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    campaign_id: UUID
    wanted: int
    issued: int
    created_at: datetime
    finished_at: datetime | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def status(self) -> Literal["running", "done"]:
        return "done" if self.finished_at else "running"


class BasketIn(Schema):
    """What is to be paid before this coupon."""

    currency: Currency
    amount: Amount


class ValidateIn(Schema):
    """A basket to try a coupon on; nothing is changed."""

    customer_id: UUID
    basket: BasketIn
    codes: list[Typed] = Field([], max_length=MAX_ON_BASKET, description="Other coupons on this basket.")


class ValidOut(BaseModel):
    """The coupon holds; what it takes off."""

    code: str
    discount: int
    currency: str
    campaign: CampaignOut


class RedeemIn(Schema):
    """A basket that is paid. Coupons with one `reference` of a customer are on one basket."""

    customer_id: UUID
    basket: BasketIn
    reference: str = Field(min_length=1, max_length=200, description="The basket's or order's own id.")


class UseOut(BaseModel):
    """A coupon's use, and whether it was given back."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    code: Annotated[str, AfterValidator(codes.shown)]
    campaign_id: UUID
    customer_id: UUID
    reference: str
    currency: str
    basket: int
    discount: int
    redeemed_at: datetime
    released_at: datetime | None
