"""The order of time decides: any order of arrival ends at the same points per item and the same tier."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.earning.replay import GivenBack, Item, each_alone, place, points_of, replay, start
from services.loyalty.earning.rules import Deed
from tests.loyalty.earning.making import LADDER, START, a_programme, a_purchase, a_rule

DAY = timedelta(days=1)
PROGRAMME = a_programme(
    a_rule(),
    a_rule("first", points=300, first_only=True),
    a_rule("daily", rate=Decimal("0.5"), daily_limit=800, monthly_limit=2_000),
    a_rule("spring", multiplier=Decimal(2), starts_at=START + 60 * DAY, ends_at=START + 120 * DAY),
)
items = st.lists(
    st.tuples(st.integers(0, 900), st.integers(1, 900_000), st.integers(0, 10)), min_size=1, max_size=10
)


def a_history(drawn: Sequence[tuple[int, int, int]]) -> list[Item]:
    """Purchases by day and amount; some come back in part, some days later."""
    history: list[Item] = []
    for number, (days, amount, back) in enumerate(drawn, start=1):
        at = START + days * DAY
        history.append(a_purchase(amount, number, at=at))
        if back > 7:
            history.append(
                GivenBack(
                    UUID(int=100 + number), UUID(int=number), amount // 2 + 1, amount, at + (back - 7) * DAY
                )
            )
    return history


@dataclass(frozen=True)
class Ended:
    points: dict[UUID, list[tuple[str, int]]]
    tiers: list[tuple[str, str]]
    total: int


def in_one(history: list[Item]) -> Ended:
    position = start(PROGRAMME)
    outcomes, changes = replay(position, history, PROGRAMME)
    points = {outcome.deed.id: [(a.rule, a.points) for a in outcome.awards] for outcome in outcomes}
    return Ended(points, [(change.before, change.after) for change in changes], position.standing.total)


@given(items, st.randoms(use_true_random=False))
def test_the_order_of_arrival_plays_no_part(drawn: list[tuple[int, int, int]], chance: random.Random) -> None:
    history = a_history(drawn)
    expected = in_one(history)
    chance.shuffle(history)
    assert in_one(history) == expected


@given(items)
def test_going_on_from_a_position_ends_as_counting_from_the_beginning(
    drawn: list[tuple[int, int, int]],
) -> None:
    bought = sorted((item for item in a_history(drawn) if isinstance(item, Deed)), key=place)
    position = start(PROGRAMME)
    points: dict[UUID, list[tuple[str, int]]] = {}
    tiers: list[tuple[str, str]] = []
    for item in bought:
        outcomes, changes = replay(position, [item], PROGRAMME)
        points |= {outcome.deed.id: [(a.rule, a.points) for a in outcome.awards] for outcome in outcomes}
        tiers += [(change.before, change.after) for change in changes]
    assert Ended(points, tiers, position.standing.total) == in_one(list(bought))


def test_a_late_purchase_changes_those_after_it() -> None:
    early, later = a_purchase(600_000, 1), a_purchase(100_000, 2, at=START + DAY)
    programme = a_programme(a_rule(), a_rule("first", points=300, first_only=True))
    (alone,), _ = replay(start(programme), [later], programme)
    assert points_of(alone) == 300 + 1_000
    outcomes, changes = replay(start(programme), [later, early], programme)
    assert [points_of(outcome) for outcome in outcomes] == [300 + 6_000, 1_250]  # silver by then
    assert [(change.at, change.after) for change in changes] == [(START, "silver")]


def test_a_purchase_that_reaches_a_tier_earns_by_the_one_before() -> None:
    (outcome,), _ = replay(start(a_programme(a_rule())), [a_purchase(5_000_000)], a_programme(a_rule()))
    assert points_of(outcome) == 50_000
    assert outcome.tier is not None
    assert outcome.tier.name == "regular"


def test_points_may_be_what_qualifies() -> None:
    programme = a_programme(a_rule(rate=Decimal(300)), ladder=replace(LADDER, basis="points"))
    position = start(programme)
    (outcome,), _ = replay(position, [a_purchase(200_000)], programme)
    assert outcome.qualifying == position.standing.total == 600_000
    replay(
        position,
        [a_purchase(100, 2, at=START + DAY)],
        programme,
    )
    assert position.standing.tier == "silver"


@given(st.permutations(list(range(8))))
def test_limits_leave_the_same_whatever_came_first(order: list[int]) -> None:
    rule = a_rule("activity", kind="activity", points=10, daily_limit=25)
    deeds = [a_purchase(0, n, kind="activity", at=START + n * timedelta(hours=1)) for n in range(8)]
    outcomes = each_alone([deeds[n] for n in order], a_programme(rule))
    assert [points_of(outcome) for outcome in outcomes] == [10, 10, 5, 0, 0, 0, 0, 0]
