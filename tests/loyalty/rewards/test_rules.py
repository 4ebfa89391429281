"""The price of a reward by tier, and who may have it when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.loyalty.rewards.rules import LimitReached, OutOfStock, Terms, WindowClosed, check, price

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TERMS = Terms(500, {"gold": 400}, left=3, limit_per_customer=2, starts_at=NOON, ends_at=None)


@pytest.mark.parametrize(("tier", "points"), [("regular", 500), ("gold", 400)])
def test_a_tier_pays_its_own_price_where_it_has_one(tier: str, points: int) -> None:
    assert price(500, {"gold": 400}, tier) == points


def test_the_window_is_open_from_its_first_moment_until_before_its_last() -> None:
    terms = replace(TERMS, ends_at=NOON + timedelta(hours=1))
    check(terms, quantity=1, taken_before=0, now=NOON)
    check(terms, quantity=1, taken_before=0, now=NOON + timedelta(minutes=59))
    for now in (NOON - timedelta(seconds=1), NOON + timedelta(hours=1)):
        with pytest.raises(WindowClosed):
            check(terms, quantity=1, taken_before=0, now=now)


def test_what_is_retired_is_not_given() -> None:
    with pytest.raises(WindowClosed):
        check(replace(TERMS, retired=True), quantity=1, taken_before=0, now=NOON)


def test_all_that_is_left_may_be_taken_and_no_more() -> None:
    terms = replace(TERMS, limit_per_customer=None)
    check(terms, quantity=3, taken_before=9, now=NOON)
    with pytest.raises(OutOfStock) as refused:
        check(terms, quantity=4, taken_before=0, now=NOON)
    assert refused.value.extensions == {"left": 3}
    check(replace(terms, left=None), quantity=1000, taken_before=0, now=NOON)


def test_the_limit_counts_what_was_taken_before() -> None:
    check(TERMS, quantity=1, taken_before=1, now=NOON)
    with pytest.raises(LimitReached) as refused:
        check(TERMS, quantity=1, taken_before=2, now=NOON)
    assert refused.value.extensions == {"limit": 2, "taken": 2}
