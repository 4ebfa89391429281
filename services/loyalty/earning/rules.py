"""How many points: pure arithmetic in integers, rounded down once, at the end, and shown.

A purchase earns floor(amount × rate), the amount in major units of its currency. A refund takes back
floor(earned × refunded ÷ paid) over all refunds of the purchase together, so that many small refunds take
exactly what one large one does, and a full refund takes all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

# ISO 4217 minor units of the currencies that do not have two decimals.
_WITHOUT = ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV")
_CFA = ("XAF", "XOF", "XPF")
_WITH_THREE = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_WITH_FOUR = ("CLF", "UYW")
MINOR_DIGITS: Mapping[str, int] = (
    dict.fromkeys(_WITHOUT + _CFA, 0) | dict.fromkeys(_WITH_THREE, 3) | dict.fromkeys(_WITH_FOUR, 4)
)


@dataclass(frozen=True, slots=True)
class Earned:
    """Points, the rule that gave them and how it came to them."""

    points: int
    rule: str
    arithmetic: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """A purchase that was refunded: what it earned and paid, what came back, what was taken already."""

    earned: int
    paid: int
    refunded: int
    taken: int


def minor_digits(currency: str) -> int:
    """How many decimals a currency's minor unit has."""
    return MINOR_DIGITS.get(currency, 2)


def for_purchase(amount: int, currency: str, *, rate: Decimal, limit: int) -> Earned:
    """Points of a purchase.

    Args:
        amount: minor units; nothing is earned for zero or less.
        rate: points for one major unit.
        limit: the most points that one purchase may earn.
    """
    digits = minor_digits(currency)
    numerator, denominator = rate.as_integer_ratio()
    points = max(0, amount * numerator // (denominator * 10**digits))
    arithmetic = f"floor({money(amount, currency)} × {plain(rate)}) = {points}"
    if points > limit:
        return Earned(limit, "purchase", f"{arithmetic}, at most {limit}")
    return Earned(points, "purchase", arithmetic)


def for_sign_up(points: int) -> Earned:
    """Points of a new customer."""
    return Earned(points, "sign-up", f"{points} once")


def due_back(refunded: Refunded) -> int:
    """Points that are still to be taken back for a purchase's refunds, never more than it earned."""
    share = min(refunded.refunded, refunded.paid)
    return max(0, refunded.earned * share // refunded.paid - refunded.taken)


def due_back_arithmetic(refunded: Refunded) -> str:
    """How `due_back` came to its points."""
    share = min(refunded.refunded, refunded.paid)
    total = refunded.earned * share // refunded.paid
    shown = f"floor({refunded.earned} × {share} ÷ {refunded.paid}) = {total}"
    return f"{shown}, less {refunded.taken} taken before" if refunded.taken else shown


def expiry(earned_at: datetime, days: int | None) -> datetime | None:
    """When points expire: counted from when they were earned, not from when we heard of it."""
    if days is None:
        return None
    try:
        return earned_at + timedelta(days=days)
    except OverflowError:
        return None  # beyond the year 9999


def money(amount: int, currency: str) -> str:
    """An amount of minor units as people write it: `129.00 CNY`."""
    digits = minor_digits(currency)
    return f"{Decimal(amount).scaleb(-digits):.{digits}f} {currency}"


def plain(number: Decimal) -> str:
    """A number without exponent and trailing zeros."""
    return f"{number.normalize():f}"
