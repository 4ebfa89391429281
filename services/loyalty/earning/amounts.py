"""Money and numbers as the programme reads and writes them, in integers and decimals. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

# ISO 4217 minor units of the currencies that do not have two decimals.
_WITHOUT = ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV")
_CFA = ("XAF", "XOF", "XPF")
_WITH_THREE = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_WITH_FOUR = ("CLF", "UYW")
MINOR_DIGITS: Mapping[str, int] = (
    dict.fromkeys(_WITHOUT + _CFA, 0) | dict.fromkeys(_WITH_THREE, 3) | dict.fromkeys(_WITH_FOUR, 4)
)


def minor_digits(currency: str) -> int:
    """How many decimals a currency's minor unit has."""
    return MINOR_DIGITS.get(currency, 2)


def floor_product(amount: int, *factors: Decimal | Fraction) -> int:
    """floor(amount × every factor), exactly: no step is rounded but the last."""
    denominator = 1
    for factor in factors:
        above, below = factor.as_integer_ratio()
        amount *= above
        denominator *= below
    return amount // denominator


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
    return f"{number(amount, currency)} {currency}"


def number(amount: int, currency: str) -> str:
    """An amount of minor units in major ones, without the currency: `129.00`."""
    digits = minor_digits(currency)
    return f"{Decimal(amount).scaleb(-digits):.{digits}f}"


def plain(value: Decimal) -> str:
    """A number without exponent and trailing zeros."""
    return f"{value.normalize():f}"
