"""What a partner's units and our points are worth to each other, and what a month comes to. Pure.

Rates are decimals and both sides whole numbers: what comes out is rounded down, once, and what is lost by it
is never more than one unit or point of an exchange.
"""

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_FLOOR, Context, Decimal

# Enough digits that no product or sum here is rounded before its end.
_EXACT = Context(prec=60)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What came out, and how."""

    amount: int
    arithmetic: str


@dataclass(frozen=True, slots=True)
class Side:
    """Points of a month in one direction: what moved, what of it came back, and what the rest is worth."""

    points: int
    returned: int
    worth: Decimal  # minor units, exact

    @property
    def net(self) -> int:
        return self.points - self.returned


def exchange(amount: int, rate: Decimal, *, given: str, taken: str) -> Exchanged:
    """floor(amount × rate); `given` and `taken` name the two sides."""
    out = floor(_EXACT.multiply(Decimal(amount), rate))
    return Exchanged(out, f"floor({amount} {given} × {rate.normalize():f}) = {out} {taken}")


def members_gain(points_per_unit: Decimal, units_per_point: Decimal) -> bool:
    """Whether a member who exchanges units for points and these for units again may have more than before."""
    return _EXACT.multiply(points_per_unit, units_per_point) > 1


def partner_gains(points_per_unit: Decimal, issued_price: Decimal, accepted_price: Decimal) -> bool:
    """Whether a partner that issues points and accepts them again would be paid more than it pays."""
    return points_per_unit > 0 and accepted_price > issued_price


def following(month: date) -> date:
    """The first day of the month after that of a first day."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def net_points(issued: Side, accepted: Side) -> int:
    """What the month does to the partner's account: it owes what it issued, less what it accepted."""
    return accepted.net - issued.net


def net_money(issued: Side, accepted: Side) -> int:
    """Minor units that the partner pays us, rounded down once; negative: we pay the partner."""
    return floor(_EXACT.subtract(issued.worth, accepted.worth))


def floor(number: Decimal) -> int:
    """The largest whole number that is not above this one."""
    return int(number.to_integral_value(ROUND_FLOOR, context=_EXACT))
