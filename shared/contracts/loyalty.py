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
    """Points came in; with `pending_until` they are not in the balance before then."""

    type: ClassVar[str] = "points.earned"

    pending_until: AwareDatetime | None = None


class PointsRedeemed(PointsEvent):
    """Points were spent."""

    type: ClassVar[str] = "points.redeemed"


class PointsReversed(PointsEvent):
    """An earlier transfer was undone, in whole or part: a refund takes earned points back."""

    type: ClassVar[str] = "points.reversed"


class PointsExpired(PointsEvent):
    """Points were not spent in time."""

    type: ClassVar[str] = "points.expired"


class PointsExpiring(EventData):
    """Points of a member expire soon, all on the day (UTC) of `expires_at`; told once for each day."""

    producer: ClassVar[str] = "loyalty"
    type: ClassVar[str] = "points.expiring"

    customer_id: UUID
    points: int
    balance: int
    expires_at: AwareDatetime


class TierChanged(EventData):
    """A member holds another tier now. `qualifying` in minor units of the programme's currency, or points."""

    producer: ClassVar[str] = "loyalty"
    type: ClassVar[str] = "tier.changed"

    customer_id: UUID
    from_tier: str
    to_tier: str
    qualifying: int
    occurred_at: AwareDatetime


class ReferralCompleted(EventData):
    """A friend's first purchase is past its return period; `customer_id` brought them and got the points."""

    producer: ClassVar[str] = "loyalty"
    type: ClassVar[str] = "referral.completed"

    customer_id: UUID
    referral_id: UUID
    referee_id: UUID
    purchase_id: UUID
    points: int
    occurred_at: AwareDatetime


class BadgeAwarded(EventData):
    """A member met a challenge, as often in a row as its badge asks for."""

    producer: ClassVar[str] = "loyalty"
    type: ClassVar[str] = "badge.awarded"

    customer_id: UUID
    badge: str
    challenge_id: str
    challenge: str
    occurred_at: AwareDatetime


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
