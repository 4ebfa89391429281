"""Two sides of an exchange, rounded down once, and a month netted."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.partners.rules import Side, exchange, net_money, net_points

RATES = st.decimals(0, 1_000_000, places=6)


@pytest.mark.parametrize(
    ("units", "rate", "points"), [(1000, "0.8", 800), (7, "1.5", 10), (1, "0.999999", 0), (3, "0", 0)]
)
def test_an_exchange_shows_both_sides(units: int, rate: str, points: int) -> None:
    exchanged = exchange(units, Decimal(rate), given="miles", taken="points")
    assert exchanged.amount == points
    assert exchanged.arithmetic == f"floor({units} miles × {Decimal(rate).normalize():f}) = {points} points"


@given(st.integers(1, 2**53 - 1), RATES)
def test_rounding_is_down_and_loses_less_than_one(units: int, rate: Decimal) -> None:
    out = exchange(units, rate, given="a", taken="b").amount
    millionths = units * int(rate.scaleb(6))
    assert out * 10**6 <= millionths < (out + 1) * 10**6


def test_a_month_is_netted_in_points_and_in_money() -> None:
    issued = Side(1000, 100, worth=Decimal("900") * Decimal("0.75"))  # 675.00
    accepted = Side(400, 0, worth=Decimal("400") * Decimal("0.501"))  # 200.40
    assert net_points(issued, accepted) == -500
    assert net_money(issued, accepted) == 474  # floor(474.60)
    assert net_money(accepted, issued) == -475  # floor(-474.60)
