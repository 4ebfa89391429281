"""Settings of the loyalty service, prefix C360_LOYALTY_."""

from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings

Rate = Annotated[Decimal, Field(ge=0, le=10_000, max_digits=12, decimal_places=6)]
Days = Annotated[int, Field(ge=1, le=36_500)]


class LoyaltySettings(ServiceSettings):
    """The programme: what points cost, how they are earned, how long they live."""

    model_config = SettingsConfigDict(env_prefix="C360_LOYALTY_")

    name: ClassVar[str] = "loyalty"

    currency: str = Field(
        "CNY", pattern="^[A-Z]{3}$", description="In which the programme's liability is told."
    )
    cost_per_point: Rate = Field(Decimal(1), description="Minor units that a point costs when it is spent.")

    rate: Rate = Field(Decimal(1), description="Points for one major unit of money, such as 1 yuan.")
    rates: dict[str, Rate] = Field({}, description="The rate by currency, where it differs from `rate`.")
    purchase_points_limit: int = Field(
        1_000_000_000, ge=1, le=10**12, description="The most points that one purchase may earn."
    )
    points_days: Days | None = Field(None, description="How long earned points live; for ever when unset.")

    sign_up_points: int = Field(500, ge=0, le=10**9, description="For a new customer; 0 gives none.")
    sign_up_days: Days | None = Field(365, description="How long the sign-up points live.")

    coupon_refusals_per_customer: int = Field(
        20, ge=1, le=10**6, description="Coupons that do not hold, an hour; more are not looked at."
    )
    coupon_refusals_per_caller: int = Field(
        500, ge=1, le=10**6, description="The same over all customers of one API key."
    )
