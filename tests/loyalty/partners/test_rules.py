"""Two sides of an exchange, rounded down once, and a month netted."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.partners.rules import (
    Side,
    exchange,
    following,
    members_gain,
    net_money,
    net_points,
    partner_gains,
)

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


@given(st.integers(1, 2**53 - 1), RATES, RATES)
def test_nobody_gains_by_exchanging_to_and_fro(amount: int, there: Decimal, back: Decimal) -> None:
    if members_gain(there, back):
        there, back = there / 10**6, back / 10**6  # no rate is above a million
    again = exchange(exchange(amount, there, given="a", taken="b").amount, back, given="b", taken="a").amount
    assert again <= amount


def test_rates_and_prices_by_which_somebody_would_gain() -> None:
    assert members_gain(Decimal("0.8"), Decimal("1.250001"))
    assert not members_gain(Decimal("0.8"), Decimal("1.25"))
    assert partner_gains(Decimal("0.8"), Decimal("0.5"), Decimal("0.500001"))
    assert not partner_gains(Decimal("0.8"), Decimal("0.5"), Decimal("0.5"))
    assert not partner_gains(Decimal(0), Decimal(0), Decimal(1))  # it issues nothing


def test_a_month_ends_where_the_next_begins() -> None:
    assert following(date(2026, 11, 1)) == date(2026, 12, 1)
    assert following(date(2026, 12, 1)) == date(2027, 1, 1)


def test_a_month_is_netted_in_points_and_in_money() -> None:
    issued = Side(1000, 100, worth=Decimal("900") * Decimal("0.75"))  # 675.00
    accepted = Side(400, 0, worth=Decimal("400") * Decimal("0.501"))  # 200.40
    assert net_points(issued, accepted) == -500
    assert net_money(issued, accepted) == 474  # floor(474.60)
    assert net_money(accepted, issued) == -475  # floor(-474.60)
