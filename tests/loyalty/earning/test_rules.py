"""The arithmetic of earning: floor once, shown; what rules concern, how they add up and where they end."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.earning.amounts import minor_digits
from services.loyalty.earning.rules import (
    Award,
    Deed,
    Part,
    Rule,
    Terms,
    awards,
    concerns,
    in_order,
    qualifying,
    unlimited,
)
from services.loyalty.tiers.rules import Tier
from tests.loyalty.earning.making import START, TERMS, TIERS, a_purchase, a_rule

GOLD = TIERS.tiers[2]
DAY = timedelta(days=1)


def give(deed: Deed, *rules: Rule, tier: Tier | None = None, first: bool = False) -> list[Award]:
    return awards(deed, in_order(rules), TERMS, {}, tier=tier, first=first)


@pytest.mark.parametrize(
    ("amount", "currency", "rate", "points", "arithmetic"),
    [
        (12900, "CNY", "1", 129, "floor(129.00 CNY × 1) = 129"),
        (12999, "CNY", "1", 129, "floor(129.99 CNY × 1) = 129"),
        (1000, "JPY", "1", 50, "floor(1000 JPY × 1 × 0.05 CNY/JPY) = 50"),
        (12345, "KWD", "2", 24, "floor(12.345 KWD × 2) = 24"),
        (333, "USD", "1.50", 4, "floor(3.33 USD × 1.5) = 4"),
        (10000, "USD", "0.1", 10, "floor(100.00 USD × 0.1) = 10"),  # not 9, as binary fractions would have it
    ],
)
def test_a_purchase_earns_the_floor_of_amount_times_rate(
    amount: int, currency: str, rate: str, points: int, arithmetic: str
) -> None:
    (award,) = give(a_purchase(amount, currency=currency), a_rule(rate=Decimal(rate)))
    assert (award.points, award.rule, award.arithmetic) == (points, "purchase", arithmetic)


@pytest.mark.parametrize("amount", [99, 0, -500])
def test_what_is_less_than_a_point_gives_none(amount: int) -> None:
    assert give(a_purchase(amount), a_rule()) == []


def test_tier_and_campaign_multiply_before_the_one_floor() -> None:
    double = a_rule("double-week", multiplier=Decimal(2))
    triple = a_rule("triple-day", multiplier=Decimal("2.5"))
    (award,) = give(a_purchase(12999), a_rule(), double, triple, tier=GOLD)
    assert award.points == 487  # 129.99 × 1.5 × 2.5 = 487.4625; three floors would have given 482
    assert award.arithmetic == "floor(129.99 CNY × 1 × 1.5 gold × 2.5 triple-day) = 487"


def test_a_campaign_raises_only_the_lines_it_names() -> None:
    kitchen = a_rule("kitchen-week", multiplier=Decimal(3), categories=frozenset({"kitchen"}))
    lines = (Part(5050, "kitchen", "A"), Part(2000, "garden", "B"))
    (award,) = give(a_purchase(7999, parts=lines), a_rule(), kitchen)
    assert award.points == 180  # 50.50 × 3 + 20.00 + 9.49 for what no line tells = 180.99
    assert award.arithmetic == "floor((50.50 × 3 kitchen-week + 29.49) CNY × 1) = 180"


def test_a_rule_for_a_category_or_sku_counts_its_lines_and_never_more_than_was_paid() -> None:
    rule = a_rule("pans", rate=Decimal(2), categories=frozenset({"kitchen"}), skus=frozenset({"B"}))
    lines = (Part(5000, "kitchen", "A"), Part(2000, "garden", "B"), Part(900, "garden", "C"))
    assert [award.points for award in give(a_purchase(7900, parts=lines), rule)] == [140]
    (award,) = give(a_purchase(3950, parts=lines), rule)  # half of what the lines say
    assert (award.points, award.arithmetic) == (70, "floor(70.00 CNY × 39.50/79.00 paid × 2) = 70")
    assert give(a_purchase(900, parts=lines[2:]), rule) == []


@pytest.mark.parametrize(
    "lines", [((8000, "kitchen"), (2000, "garden")), ((8000, "kitchen"), (-2500, None), (2000, "garden"))]
)
def test_what_is_taken_off_a_purchase_falls_on_its_lines_in_proportion_and_in_any_order(
    lines: tuple[tuple[int, str | None], ...],
) -> None:
    kitchen = a_rule("kitchen-week", multiplier=Decimal(3), categories=frozenset({"kitchen"}))
    garden = a_rule("garden", rate=Decimal(1), categories=frozenset({"garden"}))
    parts = tuple(Part(amount, category, "A") for amount, category in lines)
    for order in (parts, parts[::-1]):
        raised, by_garden = give(a_purchase(7500, parts=order), garden, a_rule(), kitchen)[::-1]
        assert (raised.points, by_garden.points) == (195, 15)  # 60.00 × 3 + 15.00 of the 75.00 that was paid


def test_rules_add_up_each_by_name_unless_one_is_exclusive() -> None:
    bonus = a_rule("first-bonus", points=100, first_only=True, priority=5)
    deed = a_purchase(5000)
    assert [(a.rule, a.points) for a in give(deed, a_rule(), bonus, first=True)] == [
        ("first-bonus", 100),
        ("purchase", 50),
    ]
    assert [a.rule for a in give(deed, a_rule(), bonus)] == ["purchase"]
    alone = a_rule("staff", rate=Decimal("0.5"), exclusive=True, priority=9)
    assert [(a.rule, a.points) for a in give(deed, a_rule(), bonus, alone, first=True)] == [("staff", 25)]


def test_limits_of_the_day_and_the_month_leave_what_is_left() -> None:
    rule = a_rule("activity", kind="activity", points=10, daily_limit=25, monthly_limit=40)
    used: dict[str, Any] = {}
    given = []
    for n, days in enumerate([0, 0, 0, 0, 1, 1, 2, 40]):
        deed = a_purchase(0, n, kind="activity", at=START + days * DAY)
        given.append([award.points for award in awards(deed, [rule], TERMS, used)])
    assert given == [[10], [10], [5], [], [10], [5], [], [10]]
    (award,) = awards(a_purchase(0, 9, kind="activity", at=START + 41 * DAY), [rule], TERMS, used)
    assert award.arithmetic == "10 each"


def test_a_deed_earns_no_more_by_a_rule_than_the_programme_allows() -> None:
    terms = Terms("CNY", {}, 1000)
    (award,) = awards(a_purchase(2**53), [a_rule()], terms, {})
    assert (award.points, award.arithmetic[-14:]) == (1000, ", at most 1000")


def test_points_wait_and_expire_counted_from_the_deed() -> None:
    (award,) = give(a_purchase(100), a_rule(pending_days=14, points_days=30))
    assert (award.pending_until, award.expires_at) == (START + 14 * DAY, START + 30 * DAY)


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ({}, True),
        ({"kind": "activity", "points": 1}, False),
        ({"starts_at": START + DAY}, False),
        ({"ends_at": START}, False),
        ({"made_at": START + DAY}, False),  # made after we heard of it
        ({"currency": "JPY"}, False),
        ({"channels": frozenset({"web"})}, True),
        ({"channels": frozenset({"shop"})}, False),
        ({"subjects": frozenset({"review"})}, False),
    ],
)
def test_whom_a_rule_concerns(said: dict[str, Any], fits: bool) -> None:
    assert concerns(a_rule(**said), a_purchase(100, channel="web")) is fits


@given(st.integers(1, 2**53), st.sampled_from(["CNY", "KWD", "CLF"]), st.decimals(0, 10_000, places=6))
def test_the_floor_is_exact(amount: int, currency: str, rate: Decimal) -> None:
    terms = Terms("CNY", {}, 10**30)
    given_by = awards(a_purchase(amount, currency=currency), [a_rule(rate=rate)], terms, {}, tier=GOLD)
    points = sum(award.points for award in given_by)
    unit = 10 ** (7 + minor_digits(currency))
    assert points * unit <= amount * int(rate * 10**6) * 15 < (points + 1) * unit


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), st.integers(0, 10**6))
def test_splitting_a_purchase_into_lines_changes_nothing_without_campaigns_that_name_lines(
    lines: list[int], rest: int
) -> None:
    parts = tuple(Part(amount, "kitchen", f"S{n}") for n, amount in enumerate(lines))
    double = a_rule("double", multiplier=Decimal(2))
    one = give(a_purchase(sum(lines) + rest), a_rule(), double)
    split = give(a_purchase(sum(lines) + rest, parts=parts), a_rule(), double)
    assert [award.points for award in one] == [award.points for award in split]


def test_what_qualifies_is_told_in_the_programmes_money() -> None:
    assert qualifying(a_purchase(12999), TERMS) == 12999
    assert qualifying(a_purchase(1000, currency="JPY"), TERMS) == 5000  # 1000 yen, 50 yuan
    assert qualifying(a_purchase(12345, currency="KWD"), TERMS) == 1234
    assert qualifying(a_purchase(-5), TERMS) == 0


@pytest.mark.parametrize(
    ("rule", "bounded"),
    [
        (a_rule(), True),
        (a_rule(points=500, kind="sign-up"), True),
        (a_rule(points=10, kind="activity"), False),
        (a_rule(points=10, kind="activity", daily_limit=50), True),
        (a_rule(points=10), False),
        (a_rule(points=10, first_only=True), True),
        (a_rule(rate=Decimal(50)), False),  # 50 + 1 of the other, doubled by platinum: all that is paid
        (a_rule(rate=Decimal(50), monthly_limit=100), True),
        (a_rule(multiplier=Decimal(2)), False),
        (a_rule(multiplier=Decimal(2), ends_at=START), True),
        (a_rule(multiplier=Decimal(50), ends_at=START), False),
    ],
)
def test_what_would_award_without_limit_is_told(rule: Rule, bounded: bool) -> None:
    why = unlimited(
        rule, [a_rule("other")], cost_per_point=Decimal(1), currency="CNY", highest_tier=Decimal(2)
    )
    assert (why is None) is bounded
