"""Tiers by the order of time: up at once, down one step after grace, the same however time is cut up."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.tiers.rules import (
    BEGINNING,
    END,
    Change,
    Ladder,
    Standing,
    Tier,
    TierTable,
    advance,
    begin,
    leaves,
    next_turn,
    qualify,
    shown,
)
from tests.loyalty.earning.making import LADDER, TIERS

DAY = timedelta(days=1)
MARCH = datetime(2026, 3, 1, 10, tzinfo=UTC)


def buy(standing: Standing, at: datetime, amount: int, ladder: Ladder = LADDER) -> list[Change]:
    return [*advance(standing, ladder, at), *qualify(standing, ladder, at.date(), amount)]


def told(changes: list[Change]) -> list[tuple[datetime, str, str]]:
    return [(change.at, change.before, change.after) for change in changes]


def test_who_reaches_a_threshold_rises_at_once_over_several_tiers_if_need_be() -> None:
    standing = begin(LADDER)
    assert buy(standing, MARCH, 499_999) == []
    assert told(buy(standing, MARCH + DAY, 1)) == [(MARCH + DAY, "regular", "silver")]
    assert told(buy(standing, MARCH + 2 * DAY, 4_500_000)) == [(MARCH + 2 * DAY, "silver", "platinum")]
    assert standing.since == MARCH + 2 * DAY


def test_who_falls_below_goes_down_one_step_after_each_grace_period() -> None:
    standing = begin(LADDER)
    buy(standing, MARCH, 2_000_000)
    left = datetime(2027, 3, 1, tzinfo=UTC)
    assert advance(standing, LADDER, left - timedelta(seconds=1)) == []
    assert advance(standing, LADDER, left) == []
    assert standing.due_at == left + 30 * DAY
    assert told(advance(standing, LADDER, left + 400 * DAY)) == [
        (left + 30 * DAY, "gold", "silver"),
        (left + 60 * DAY, "silver", "regular"),
    ]
    assert next_turn(standing, LADDER) is None


def test_who_reaches_it_again_within_the_grace_period_keeps_the_tier() -> None:
    standing = begin(LADDER)
    buy(standing, MARCH, 2_000_000)
    left = datetime(2027, 3, 1, tzinfo=UTC)
    assert buy(standing, left + 29 * DAY, 2_000_000) == []
    assert standing.due_at is None
    assert told(advance(standing, LADDER, left + 300 * DAY)) == []


def test_what_was_given_back_does_not_qualify() -> None:
    standing = begin(LADDER)
    buy(standing, MARCH, 600_000)
    back = MARCH + 5 * DAY
    advance(standing, LADDER, back)
    assert qualify(standing, LADDER, MARCH.date(), -200_000) == []
    assert (standing.total, standing.due_at) == (400_000, back + 30 * DAY)
    assert told(advance(standing, LADDER, back + 31 * DAY)) == [(back + 30 * DAY, "silver", "regular")]
    advance(standing, LADDER, MARCH + 400 * DAY)
    qualify(standing, LADDER, MARCH.date(), -100_000)
    assert standing.total == 0


def test_a_calendar_year_ends_at_new_year() -> None:
    ladder = Ladder((TIERS,), "calendar", timedelta(days=30))
    standing = begin(ladder)
    buy(standing, MARCH, 500_000, ladder)
    new_year = datetime(2027, 1, 1, tzinfo=UTC)
    assert told(advance(standing, ladder, END)) == [(new_year + 30 * DAY, "silver", "regular")]


@pytest.mark.parametrize(
    ("day", "moment"),
    [
        (date(2026, 3, 1), datetime(2027, 3, 1, tzinfo=UTC)),
        (date(2024, 2, 29), datetime(2025, 3, 1, tzinfo=UTC)),
        (date(9999, 12, 31), END),
    ],
)
def test_a_day_leaves_the_rolling_period_twelve_months_later(day: date, moment: datetime) -> None:
    assert leaves(day, "rolling") == moment


def test_new_thresholds_count_from_when_they_were_made() -> None:
    easier = TierTable(
        2, MARCH + 10 * DAY, (TIERS.tiers[0], Tier("silver", 1_000, Decimal(1), {}), TIERS.tiers[3])
    )
    ladder = Ladder((TIERS, easier), "rolling", timedelta(days=30))
    standing = begin(ladder)
    assert buy(standing, MARCH, 2_500, ladder) == []
    assert told(advance(standing, ladder, MARCH + 11 * DAY)) == [(MARCH + 10 * DAY, "regular", "silver")]
    gone = begin(ladder)
    buy(gone, MARCH, 2_000_000, ladder)  # gold, which the new version does not have
    assert told(advance(gone, ladder, MARCH + 11 * DAY)) == [(MARCH + 10 * DAY, "gold", "silver")]


def test_what_is_shown_tells_the_distance_and_the_pace() -> None:
    standing = begin(LADDER)
    buy(standing, MARCH, 600_000)
    says = shown(standing, LADDER)
    assert (says["name"], says["next"], says["falls_at"]) == (
        "silver",
        {"name": "gold", "missing": 1_400_000},
        None,
    )
    assert says["projected"] == "gold"  # 6,000 in 90 days are 24,333 in a year
    advance(standing, LADDER, MARCH + 200 * DAY)
    assert shown(standing, LADDER)["projected"] == "silver"


moments = st.integers(0, 3000).map(lambda days: MARCH + days * DAY)
bought = st.lists(st.tuples(moments, st.integers(0, 3_000_000)), max_size=12)


@given(bought, st.lists(moments, max_size=12))
def test_looking_more_often_changes_nothing(items: list[tuple[datetime, int]], looks: list[datetime]) -> None:
    once, often = begin(LADDER), begin(LADDER)
    changes: list[Change] = []
    seen: list[Change] = []
    stops = sorted([*items, *((at, 0) for at in looks)])
    for at, amount in sorted(items):
        changes += buy(once, at, amount)
    for at, amount in stops:
        seen += advance(often, LADDER, at)
        if amount:
            seen += qualify(often, LADDER, at.date(), amount)
    changes += advance(once, LADDER, END)
    seen += advance(often, LADDER, END)
    assert changes == seen
    assert once == often
    assert once.tier == "regular"
    assert once.total == 0 == sum(once.window.values())


@given(bought)
def test_the_total_is_the_sum_of_the_window_and_the_tier_is_never_too_low(
    items: list[tuple[datetime, int]],
) -> None:
    standing = begin(LADDER)
    for at, amount in sorted(items):
        buy(standing, at, amount)
        assert standing.total == sum(standing.window.values())
        assert (TIERS.rank(standing.tier) or 0) >= TIERS.reached(standing.total)
        assert BEGINNING < standing.clock == at
