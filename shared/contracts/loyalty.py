"""Events of the loyalty service."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from shared.contracts.envelope import EventData


class PointsEvent(EventData):
    """Points of a member moved by one transfer; `points` is positive, `balance` what is available after."""

    producer: ClassVar[str] = "loyalty"

    customer_id: UUID
    transfer_id: UUID
    points: int
    balance: int
    reason: str
    occurred_at: AwareDatetime


class PointsEarned(PointsEvent):
    """Points came in."""

    type: ClassVar[str] = "points.earned"


class PointsRedeemed(PointsEvent):
    """Points were spent."""

    type: ClassVar[str] = "points.redeemed"


class PointsReversed(PointsEvent):
    """An earlier transfer was undone, in whole or part: a refund takes earned points back."""

    type: ClassVar[str] = "points.reversed"


class RewardRedeemed(EventData):
    """A customer took a reward for points; `transfer_id` is the one of `points.redeemed`."""

    producer: ClassVar[str] = "loyalty"
    type: ClassVar[str] = "reward.redeemed"

    customer_id: UUID
    redemption_id: UUID
    reward_id: UUID
    reward: str
    kind: str
    quantity: int
    points: int
    transfer_id: UUID
    occurred_at: AwareDatetime


class CouponIssued(EventData):
    """A coupon was issued to a customer; nobody else can redeem it."""

    producer: ClassVar[str] = "loyalty"
    type: ClassVar[str] = "coupon.issued"

    customer_id: UUID
    campaign_id: UUID
    campaign: str
    code: str
    ends_at: AwareDatetime | None
    occurred_at: AwareDatetime
