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
