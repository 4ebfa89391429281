"""Who is compared with whom, and that the interval holds the truth as often as it says."""

from typing import Any

import numpy as np
import pytest

from services.loyalty.effect.rules import History, Observations, comparable, effect, matched, observe

PERIOD = {"start": 0.0, "end": 7.0, "after": 30.0, "now": 100.0}
PURCHASES, SPEND, CHURN = range(3)


def seen(*histories: History, **period: float) -> Observations:
    return observe(histories, **PERIOD | period)


def test_what_is_bought_after_the_week_counts_and_nothing_else() -> None:
    member = History([-40, 6.9, 7, 20, 36.9, 37], [1, 2, 4, 8, 16, 32], had_at=3)
    observed = seen(member)
    assert observed.had.tolist() == [True]
    assert observed.outcomes[:, 0].tolist() == [3, 4 + 8 + 16, 0]
    assert seen(History([1], [5], had_at=3)).outcomes[:, 0].tolist() == [0, 0, 1]


def test_who_had_it_before_is_not_compared_and_who_gets_it_later_is_until_then() -> None:
    with_it = History([1], [1], had_at=3)
    others = [History([1], [1], had_at=at) for at in (-1, 7, 36, 37)] + [History([1], [1])]
    assert seen(with_it, *others).member.tolist() == [0, 2, 3, 4, 5]
    both = seen(with_it, others[1], end=14.0)
    assert (both.member.tolist(), both.had.tolist()) == ([0, 1, 1], [True, False, True])


def test_who_is_looked_at_for_having_had_it_stands_for_nobody_else() -> None:
    later = History([1], [1], had_at=8, control=False)
    both = seen(History([1], [1], had_at=3), later, end=14.0)
    assert (both.member.tolist(), both.had.tolist()) == ([0, 1], [True, True])


def test_weeks_without_an_outcome_yet_are_left_out() -> None:
    member = History([1, 8], [1, 1], had_at=9)
    assert len(seen(member, end=14.0).had) == 1
    assert len(seen(member, end=14.0, now=43.9).had) == 0


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (History([1], [1]), True),
        (History([6], [9]), True),
        (History([-2], [1]), False),  # bought longer ago
        (History([0.5, 1], [1, 1]), False),  # and more often
        (History([-400, 1], [1, 1]), True),  # but not in the last year
        (History([1], [1], tiers=[(-5, "gold")]), False),
        (History([1], [1], tiers=[(2, "gold")]), True),  # in the week itself
        (History([-400], [1]), False),
        (History([], []), False),
    ],
)
def test_who_is_alike(other: History, alike: bool) -> None:
    compared = matched(comparable(seen(History([1], [1], had_at=3), other)))
    assert (compared.had, compared.without) == ((1, 1) if alike else (0, 0))


def test_the_effect_is_the_mean_difference_within_strata() -> None:
    """Two strata: with it 4 and 6 against 2 (a difference of 3), and 10 against 1 and 3 (of 8): 14 ÷ 3."""
    observed = Observations(
        member=np.arange(6),
        stratum=np.array([0, 0, 0, 1, 1, 1]),
        had=np.array([True, True, False, True, False, False]),
        outcomes=np.array([[4.0, 6, 2, 10, 1, 3]]),
    )
    found = effect(observed, 0)
    assert found.difference == pytest.approx(14 / 3)
    assert found.had == pytest.approx(20 / 3)
    assert found.without == pytest.approx(2)
    assert found.low < found.difference < found.high


def _world(chance: Any, truth: float) -> Observations:
    """Members of unlike strata, in some of which more have it and buy more anyway; each in up to 3 weeks."""
    member = np.repeat(np.arange(600), 3)
    habit = np.repeat(chance.normal(0, 0.5, 600), 3)  # the same in all weeks of a member
    group = np.repeat(chance.integers(0, 4, 600), 3)
    had = (chance.random(1800) < 0.05 + 0.1 * group) & (np.tile([0, 1, 2], 600) == chance.integers(0, 3))
    bought = 1.0 + group + habit + chance.normal(0, 1, 1800) + truth * had
    return Observations(member, group * 3 + np.tile([0, 1, 2], 600), had, bought[None, :])


def test_the_interval_holds_the_truth_nineteen_times_in_twenty() -> None:
    chance = np.random.default_rng(7)
    estimates = [effect(comparable(_world(chance, 0.4)), 0) for _ in range(400)]
    held = np.mean([found.low <= 0.4 <= found.high for found in estimates])
    assert 0.92 <= held <= 0.975
    assert np.mean([found.difference for found in estimates]) == pytest.approx(0.4, abs=0.03)


def test_without_an_effect_one_in_twenty_seems_to_have_one() -> None:
    chance = np.random.default_rng(8)
    estimates = [effect(comparable(_world(chance, 0.0)), 0) for _ in range(400)]
    assert np.mean([found.low > 0 or found.high < 0 for found in estimates]) <= 0.08


def test_a_rule_that_pays_for_purchases_and_changes_nothing_seems_to_change_nothing() -> None:
    """All buy alike, and a purchase in three is paid for: who is paid later is who buys later."""
    chance = np.random.default_rng(9)

    def member() -> History:
        days = np.sort(chance.uniform(-60, 100, chance.poisson(5)))
        paid = days[chance.random(len(days)) < 1 / 3]
        return History(days.tolist(), [100] * len(days), (), float(paid[0]) if len(paid) else None)

    worlds = [comparable(seen(*(member() for _ in range(500)), after=60.0)) for _ in range(60)]
    purchases, churn = ([effect(world, each) for world in worlds] for each in (PURCHASES, CHURN))
    assert np.mean([found.difference for found in purchases]) == pytest.approx(0, abs=0.15)
    assert np.mean([found.difference for found in churn]) == pytest.approx(0, abs=0.05)
    assert np.mean([found.low > 0 or found.high < 0 for found in purchases]) <= 0.12
