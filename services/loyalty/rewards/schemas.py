"""What a redemption takes."""

from pydantic import Field

from services.loyalty.ledger.store import MAX_POINTS
from shared.web.schemas import Schema


class RedemptionIn(Schema):
    """Points to spend, and on what."""

    points: int = Field(ge=1, le=MAX_POINTS, strict=True)
    reason: str = Field("Redemption", min_length=1, max_length=200)
