"""What rewards and redemptions look like over HTTP."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, computed_field

from services.loyalty.ledger.store import MAX_POINTS
from shared.web.schemas import Moment, Schema

MAX_QUANTITY = 1_000
MAX_STOCK = 1_000_000_000
MAX_TIERS = 20

Kind = Literal["goods", "voucher", "experience", "donation", "partner_offer"]
Points = Annotated[int, Field(ge=1, le=MAX_POINTS, strict=True)]
Pieces = Annotated[int, Field(ge=1, le=MAX_QUANTITY, strict=True)]
TierName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]


class RedemptionIn(Schema):
    """Points to spend, and on what."""

    points: Points
    reason: str = Field("Redemption", min_length=1, max_length=200)


class RewardIn(Schema):
    """A reward of the catalogue."""

    kind: Kind
    name: str = Field(min_length=1, max_length=200)
    description: str = Field("", max_length=4_000)
    points: Points = Field(description="The price of one piece.")
    tier_points: dict[TierName, Points] = Field(
        {}, max_length=MAX_TIERS, description="The price by tier, where it differs."
    )
    cost: Annotated[int, Field(ge=0, le=10**12, strict=True)] = Field(
        0, description="What a piece costs us, in minor units of the programme's currency."
    )
    stock: Annotated[int, Field(ge=0, le=MAX_STOCK, strict=True)] | None = Field(
        None, description="Pieces offered in all, those already taken included; no end when left out."
    )
    limit_per_customer: Annotated[int, Field(ge=1, le=MAX_STOCK, strict=True)] | None = Field(
        None, description="The most pieces that one customer may have."
    )
    starts_at: Moment | None = Field(None, description="Now when left out.")
    ends_at: Moment | None = Field(None, description="Not redeemed from this moment on.")
    partner_id: UUID | None = Field(None, description="Who is given the points of a partner offer.")
    campaign_id: UUID | None = Field(
        None, description="For a voucher: the campaign whose coupons the customer gets, one for each piece."
    )


class RewardOut(BaseModel):
    """A reward; `points` is the price, `tier_points` where a tier pays another one."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    kind: Kind
    name: str
    description: str
    points: int
    tier_points: dict[str, int]
    cost: int | None = Field(description="For admins.")
    stock: int | None
    taken: int
    limit_per_customer: int | None
    starts_at: datetime
    ends_at: datetime | None
    partner_id: UUID | None
    campaign_id: UUID | None
    retired_at: datetime | None
    version: int
    price: int | None = Field(None, description="For the customer of the request, by their tier.")

    @computed_field(description="Pieces still there; null: no end.")  # type: ignore[prop-decorator]
    @property
    def left(self) -> int | None:
        return None if self.stock is None else self.stock - self.taken


class RewardRedemptionIn(Schema):
    """Who wants how many pieces."""

    customer_id: UUID
    quantity: Pieces = 1


class CancelIn(Schema):
    """Why a redemption is taken back."""

    reason: str = Field("Cancelled", min_length=1, max_length=200)
    restock: bool = Field(True, description="Whether the pieces can be given to somebody else.")


class RewardRedemptionOut(BaseModel):
    """A reward that a customer took; `transfer_id` is the ledger's transfer of the points."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    reward_id: UUID
    customer_id: UUID
    quantity: int
    points: int
    transfer_id: UUID
    redeemed_at: datetime
    cancelled_at: datetime | None
    cancel_reason: str | None
    cancel_transfer_id: UUID | None
    codes: list[str] = Field([], description="A voucher's coupons.")
