"""What operators send to move points by hand."""

from typing import Annotated

from pydantic import AfterValidator, Field

from services.loyalty.ledger.store import MAX_POINTS
from shared.web.schemas import Moment, SafeInt, Schema

Reason = Annotated[str, Field(min_length=1, max_length=200, description="Kept for ever: name no person.")]
Points = Annotated[int, Field(ge=1, le=MAX_POINTS, strict=True)]


def _not_zero(points: int) -> int:
    if points == 0:
        raise ValueError("an adjustment of zero changes nothing")
    return points


class EarningIn(Schema):
    """Points given for something that happened outside."""

    points: Points
    reason: Reason
    occurred_at: Moment | None = Field(None, description="When it happened; now when left out.")
    expires_at: Moment | None = Field(
        None, description="When the points expire; by the programme's rule when left out."
    )


class AdjustmentIn(Schema):
    """A correction: positive gives points, negative takes them."""

    points: Annotated[SafeInt, Field(strict=True), AfterValidator(_not_zero)]
    reason: Reason


class ReversalIn(Schema):
    """Why a transfer is undone."""

    reason: Reason = "Reversal"
