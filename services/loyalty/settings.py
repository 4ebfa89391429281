"""Settings of the loyalty service, prefix C360_LOYALTY_."""

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings

Rate = Annotated[Decimal, Field(ge=0, le=10_000, max_digits=12, decimal_places=6)]
RefundPolicy = Literal["pending-only", "within-balance", "owed"]
Days = Annotated[int, Field(ge=1, le=36_500)]


class LoyaltySettings(ServiceSettings):
    """The programme: what points cost, how they are earned, how long they live."""

    model_config = SettingsConfigDict(env_prefix="C360_LOYALTY_")

    name: ClassVar[str] = "loyalty"

    currency: str = Field(
        "CNY", pattern="^[A-Z]{3}$", description="In which the programme's liability is told."
    )
    cost_per_point: Rate = Field(Decimal(1), description="Minor units that a point costs when it is spent.")

    exchange: dict[str, Rate] = Field(
        {}, description="Major units of `currency` that one of another is worth; 1 for those not listed."
    )
    purchase_points_limit: int = Field(
        1_000_000_000, ge=1, le=10**12, description="The most points that one purchase may earn by a rule."
    )
    points_days: Days | None = Field(None, description="How long earned points live; for ever when unset.")

    return_days: int = Field(
        14, ge=0, le=365, description="How long a purchase may be returned: friends count after it."
    )
    referral_days: Days = Field(365, description="How long a friend may take to buy for the first time.")
    referral_link: str = Field(
        "/join?code={code}", max_length=500, description="Where friends are sent; holds {code}."
    )

    tier_basis: Literal["spend", "points"] = Field(
        "spend",
        description="What qualifies: what was paid, or the points of purchases. "
        "As it is when the first purchase is counted, it stays.",
    )
    tier_period: Literal["rolling", "calendar"] = Field(
        "rolling",
        description="Twelve months back, or since New Year (UTC). "
        "As it is when the first purchase is counted, it stays.",
    )
    tier_grace_days: int = Field(
        30, ge=0, le=3650, description="How long a member may be below the tier's threshold."
    )

    refund_policy: RefundPolicy = Field(
        "owed",
        description="What refunds take back: only what is still pending, what the balance has, or all of it, "
        "the rest being owed against future points.",
    )
    hold_minutes: int = Field(30, ge=1, le=525_600, description="How long points are held by default.")
    hold_days_limit: int = Field(30, ge=1, le=365, description="The longest that points may be held.")
    expiry_notice_days: Days = Field(30, description="How long ahead members are told of points that expire.")
    upkeep_batch: int = Field(1000, ge=1, le=10_000, description="Lots, holds or transfers of one batch.")
    upkeep_batches: int = Field(50, ge=1, le=10_000, description="The most batches of one run of a job.")

    coupon_refusals_per_customer: int = Field(
        20,
        ge=1,
        le=10**6,
        description="Coupons that do not hold, an hour and caller; more are not looked at.",
    )
    coupon_refusals_per_caller: int = Field(
        500,
        ge=1,
        le=10**6,
        description="Codes that do not exist, an hour, over all customers of a key; then only members "
        "who were not refused are listened to.",
    )
