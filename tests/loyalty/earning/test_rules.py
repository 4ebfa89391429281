"""The arithmetic of earning: floor once, shown, the same however it is cut up."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.earning.rules import (
    Refunded,
    due_back,
    due_back_arithmetic,
    expiry,
    for_purchase,
    for_sign_up,
    minor_digits,
    money,
)

ONE = Decimal(1)
LIMIT = 10**9
amounts = st.integers(1, 2**53)
rates = st.decimals(Decimal(0), Decimal(10_000), places=6)


@pytest.mark.parametrize(
    ("amount", "currency", "rate", "points", "arithmetic"),
    [
        (12900, "CNY", "1", 129, "floor(129.00 CNY × 1) = 129"),
        (12999, "CNY", "1", 129, "floor(129.99 CNY × 1) = 129"),
        (99, "CNY", "1", 0, "floor(0.99 CNY × 1) = 0"),
        (1000, "JPY", "0.01", 10, "floor(1000 JPY × 0.01) = 10"),
        (12345, "KWD", "2", 24, "floor(12.345 KWD × 2) = 24"),
        (333, "USD", "1.50", 4, "floor(3.33 USD × 1.5) = 4"),
        (
            100_00,
            "USD",
            "0.1",
            10,
            "floor(100.00 USD × 0.1) = 10",
        ),  # not 9, as binary fractions would have it
        (0, "CNY", "1", 0, "floor(0.00 CNY × 1) = 0"),
        (-500, "CNY", "1", 0, "floor(-5.00 CNY × 1) = 0"),
    ],
)
def test_a_purchase_earns_the_floor_of_amount_times_rate(
    amount: int, currency: str, rate: str, points: int, arithmetic: str
) -> None:
    earned = for_purchase(amount, currency, rate=Decimal(rate), limit=LIMIT)
    assert (earned.points, earned.rule, earned.arithmetic) == (points, "purchase", arithmetic)


def test_a_purchase_earns_no_more_than_the_limit_and_says_so() -> None:
    earned = for_purchase(2**53, "JPY", rate=ONE, limit=1000)
    assert earned.points == 1000
    assert earned.arithmetic.endswith("= 9007199254740992, at most 1000")


@given(amounts, st.sampled_from(["CNY", "JPY", "KWD", "CLF", "XTS"]), rates)
def test_the_floor_is_exact(amount: int, currency: str, rate: Decimal) -> None:
    points = for_purchase(amount, currency, rate=rate, limit=10**30).points
    exact_thousandths = amount * int(rate * 10**6)
    unit = 10 ** (6 + minor_digits(currency))
    assert points * unit <= exact_thousandths < (points + 1) * unit


@given(amounts, amounts, rates)
def test_who_pays_more_never_earns_less(one: int, other: int, rate: Decimal) -> None:
    less, more = sorted([one, other])
    assert (
        for_purchase(less, "CNY", rate=rate, limit=LIMIT).points
        <= for_purchase(more, "CNY", rate=rate, limit=LIMIT).points
    )


def test_a_sign_up_gives_its_points_once() -> None:
    assert for_sign_up(500).arithmetic == "500 once"


@pytest.mark.parametrize(
    ("earned", "paid", "refunded", "taken", "due"),
    [
        (129, 12900, 12900, 0, 129),  # all
        (129, 12900, 6450, 0, 64),  # half, rounded down
        (129, 12900, 12900, 64, 65),  # the other half takes the rest
        (129, 12900, 99999, 0, 129),  # never more than was earned
        (129, 12900, 6450, 64, 0),  # done
        (129, 12900, 6450, 129, 0),  # an operator took it all before
        (0, 50, 50, 0, 0),
    ],
)
def test_refunds_take_back_their_share(earned: int, paid: int, refunded: int, taken: int, due: int) -> None:
    assert due_back(Refunded(earned, paid, refunded, taken)) == due


@given(st.integers(0, 2**53), st.integers(1, 2**53), st.lists(st.integers(1, 2**50), max_size=20))
def test_many_small_refunds_take_exactly_what_one_large_one_does(
    earned: int, paid: int, parts: list[int]
) -> None:
    taken = 0
    for n in range(len(parts)):
        taken += due_back(Refunded(earned, paid, sum(parts[: n + 1]), taken))
    assert taken == due_back(Refunded(earned, paid, sum(parts), 0))
    assert 0 <= taken <= earned


def test_the_share_that_is_taken_back_is_shown() -> None:
    assert due_back_arithmetic(Refunded(129, 12900, 6450, 0)) == "floor(129 × 6450 ÷ 12900) = 64"
    assert due_back_arithmetic(Refunded(129, 12900, 12900, 64)) == (
        "floor(129 × 12900 ÷ 12900) = 129, less 64 taken before"
    )


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
