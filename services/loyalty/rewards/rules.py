"""What a reward costs a customer, and whether they may have it now. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.problems import Conflict


class OutOfStock(Conflict):
    slug, title = "out-of-stock", "There are not enough pieces left"


class WindowClosed(Conflict):
    slug, title = "window-closed", "This is not on offer now"


class LimitReached(Conflict):
    slug, title = "limit-reached", "The customer may not have more of this"


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which a reward is given; `left` and `limit_per_customer` are None where there is no end."""

    points: int
    tier_points: Mapping[str, int]
    left: int | None
    limit_per_customer: int | None
    starts_at: datetime
    ends_at: datetime | None
    retired: bool = False


def price(points: int, tier_points: Mapping[str, int], tier: str) -> int:
    """Points for one piece: the tier's own price where it has one."""
    return tier_points.get(tier, points)


def check(terms: Terms, *, quantity: int, taken_before: int, now: datetime) -> None:
    """Whether a customer who has `taken_before` pieces may have `quantity` more.

    Raises:
        WindowClosed, OutOfStock, LimitReached: the first that applies, in this order.
    """
    if terms.retired or (terms.ends_at is not None and now >= terms.ends_at):
        raise WindowClosed("The offer has ended.")
    if now < terms.starts_at:
        raise WindowClosed("The offer has not begun.", starts_at=terms.starts_at.isoformat())
    if terms.left is not None and quantity > terms.left:
        raise OutOfStock(f"{terms.left} left; nothing was changed.", left=terms.left)
    if terms.limit_per_customer is not None and taken_before + quantity > terms.limit_per_customer:
        raise LimitReached(
            f"At most {terms.limit_per_customer} per customer, and {taken_before} were taken before.",
            limit=terms.limit_per_customer,
            taken=taken_before,
        )
