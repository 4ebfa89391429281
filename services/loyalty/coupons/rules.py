"""Whether a coupon holds for a basket, and what it takes off. Pure; amounts in minor units."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from shared.problems import Conflict


class CouponRefused(Conflict):
    """A coupon that exists and does not hold here."""


class BasketUnfit(CouponRefused):
    """The coupon holds, but not for this basket: another basket may do."""


class CouponExpired(CouponRefused):
    slug, title = "coupon-expired", "The coupon is not valid any more"


class CouponNotYetValid(CouponRefused):
    slug, title = "coupon-not-yet-valid", "The coupon is not valid yet"


class CouponUsed(CouponRefused):
    slug, title = "coupon-used", "The coupon was used"


class CouponLimitReached(CouponRefused):
    slug, title = "coupon-limit-reached", "The customer has used as many of these coupons as one may"


class NotCombinable(BasketUnfit):
    slug, title = "coupon-not-combinable", "These coupons do not go together on one basket"


class MinimumSpend(BasketUnfit):
    slug, title = "minimum-spend", "The basket is too small for this coupon"


class WrongCurrency(BasketUnfit):
    slug, title = "wrong-currency", "The coupon is for another currency"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a campaign's coupons take off and when they hold; None where there is no limit."""

    percent: Decimal | None
    amount: int | None
    currency: str | None
    minimum_spend: int
    most_off: int | None
    combinable: bool
    uses_per_code: int | None
    uses_per_customer: int | None
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Uses:
    """What was used before: the code, the campaign's codes by this customer, and others on this basket."""

    of_code: int
    by_customer: int
    code_is_on_basket: bool
    others_combinable: Sequence[bool]
    cancelled: bool = False


def check(terms: Terms, uses: Uses, *, currency: str, basket: int, now: datetime) -> None:
    """Whether the coupon holds for a basket of this amount.

    Raises:
        CouponRefused: the first of its kinds that applies.
    """
    if uses.cancelled or (terms.ends_at is not None and now >= terms.ends_at):
        raise CouponExpired("Nothing was changed.")
    if now < terms.starts_at:
        raise CouponNotYetValid("Nothing was changed.", starts_at=terms.starts_at.isoformat())
    if uses.code_is_on_basket:
        raise CouponUsed("It is on this basket already.")
    if terms.uses_per_code is not None and uses.of_code >= terms.uses_per_code:
        raise CouponUsed("Nothing was changed.")
    if terms.uses_per_customer is not None and uses.by_customer >= terms.uses_per_customer:
        raise CouponLimitReached("Nothing was changed.", limit=terms.uses_per_customer)
    if uses.others_combinable and not (terms.combinable and all(uses.others_combinable)):
        raise NotCombinable("Nothing was changed.")
    if terms.currency is not None and currency != terms.currency:
        raise WrongCurrency(f"It is for baskets in {terms.currency}.", currency=terms.currency)
    if basket < terms.minimum_spend:
        raise MinimumSpend("Nothing was changed.", minimum_spend=terms.minimum_spend)


def discount(terms: Terms, basket: int) -> int:
    """What comes off: the amount, or floor(basket × percent ÷ 100); never more than the basket."""
    if terms.amount is not None:
        return min(terms.amount, basket)
    numerator, denominator = (terms.percent or Decimal(0)).as_integer_ratio()
    off = basket * numerator // (denominator * 100)
    return off if terms.most_off is None else min(off, terms.most_off)
