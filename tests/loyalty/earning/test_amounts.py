"""Money and numbers: exact, and written as people write them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.earning.amounts import expiry, floor_product, money

rates = st.decimals(Decimal(0), Decimal(10_000), places=6)


@given(st.integers(-(2**53), 2**53), rates, rates)
def test_a_product_is_rounded_down_once_and_exactly(amount: int, one: Decimal, other: Decimal) -> None:
    exact = amount * int(one * 10**6) * int(other * 10**6)
    assert floor_product(amount, one, other) == exact // 10**12


def test_points_expire_counted_from_when_they_were_earned() -> None:
    at = datetime(1997, 3, 1, tzinfo=UTC)
    assert expiry(at, 30) == at + timedelta(days=30)
    assert expiry(at, None) is None
    assert expiry(datetime(9999, 6, 1, tzinfo=UTC), 365) is None


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (12900, "CNY", "129.00 CNY"),
        (5, "USD", "0.05 USD"),
        (12900, "JPY", "12900 JPY"),
        (-1, "BHD", "-0.001 BHD"),
    ],
)
def test_money_is_written_as_people_write_it(amount: int, currency: str, shown: str) -> None:
    assert money(amount, currency) == shown
