"""When a coupon holds, and what it takes off."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.coupons import rules
from services.loyalty.coupons.rules import Terms, Uses, check, discount

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TENTH = Terms(Decimal(10), None, "CNY", 5000, None, True, 1, 2, NOON, NOON + DAY)
UNUSED = Uses(0, 0, False, [])


@pytest.mark.parametrize(
    ("terms", "basket", "off"),
    [
        ({"percent": Decimal(10)}, 12_909, 1290),
        ({"percent": Decimal("12.5")}, 999, 124),
        ({"percent": Decimal(100)}, 1, 1),
        ({"percent": Decimal(50), "most_off": 300}, 1000, 300),
        ({"percent": None, "amount": 500}, 1000, 500),
        ({"percent": None, "amount": 500}, 300, 300),
    ],
)
def test_what_comes_off(terms: dict[str, Any], basket: int, off: int) -> None:
    assert discount(replace(TENTH, **terms), basket) == off


@given(st.decimals("0.01", 100, places=2), st.integers(1, 2**53))
def test_a_percentage_is_rounded_down_once(percent: Decimal, basket: int) -> None:
    off = discount(replace(TENTH, percent=percent), basket)
    assert 0 <= off <= basket
    assert off * 10_000 <= basket * int(percent * 100) < (off + 1) * 10_000


def test_it_holds_within_its_terms() -> None:
    check(TENTH, Uses(0, 1, False, [True, True]), currency="CNY", basket=5000, now=NOON)


@pytest.mark.parametrize(
    ("refusal", "terms", "uses", "given"),
    [
        (rules.CouponExpired, {}, {}, {"now": NOON + DAY}),
        (rules.CouponExpired, {}, {"cancelled": True}, {}),
        (rules.CouponNotYetValid, {}, {}, {"now": NOON - DAY}),
        (rules.CouponUsed, {}, {"of_code": 1}, {}),
        (rules.CouponUsed, {"uses_per_code": None}, {"code_is_on_basket": True}, {}),
        (rules.CouponLimitReached, {}, {"by_customer": 2}, {}),
        (rules.NotCombinable, {}, {"others_combinable": [True, False]}, {}),
        (rules.NotCombinable, {"combinable": False}, {"others_combinable": [True]}, {}),
        (rules.WrongCurrency, {}, {}, {"currency": "EUR"}),
        (rules.MinimumSpend, {}, {}, {"basket": 4999}),
    ],
)
def test_each_refusal(refusal: type[Exception], terms: Any, uses: Any, given: Any) -> None:
    asked = {"currency": "CNY", "basket": 5000, "now": NOON} | given
    with pytest.raises(refusal) as refused:
        check(replace(TENTH, **terms), replace(UNUSED, **uses), **asked)
    assert type(refused.value) is refusal
