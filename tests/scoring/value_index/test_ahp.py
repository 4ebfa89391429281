"""Saaty's worked examples, incomplete judgements, and those that contradict one another."""

from itertools import combinations

import pytest

from services.scoring.value_index.ahp import (
    Contradictory,
    Judgement,
    Unconnected,
    Weights,
    consistent,
    weigh,
)
from shared.problems import Invalid

# Saaty (2008), "Decision making with the analytic hierarchy process", International Journal of Services
# Sciences 1(1), 83-98, table 3: which drink is consumed more in the United States; statistics beside it.
DRINKS = ("coffee", "wine", "tea", "beer", "sodas", "milk", "water")
DRINK_ROWS = ((9, 5, 2, 1, 1, 1 / 2), (1 / 3, 1 / 9, 1 / 9, 1 / 9, 1 / 9), (1 / 3, 1 / 4, 1 / 3, 1 / 9),
              (1 / 2, 1, 1 / 3), (2, 1 / 2), (1 / 3,))  # fmt: skip

# Saaty (1990), "How to make a decision", European Journal of Operational Research 48(1), 9-26, table 2:
# which house to buy; its consistency is discussed in Saaty (2003), EJOR 145(1), 85-91.
HOUSE = ("size", "transport", "neighbourhood", "age", "yard", "modern", "condition", "financing")
HOUSE_ROWS = ((5, 3, 7, 6, 6, 1 / 3, 1 / 4), (1 / 3, 5, 3, 3, 1 / 5, 1 / 7), (6, 3, 4, 6, 1 / 5),
              (1 / 3, 1 / 4, 1 / 7, 1 / 8), (1 / 2, 1 / 5, 1 / 6), (1 / 5, 1 / 6), (1 / 2,))  # fmt: skip


def judged(things: tuple[str, ...], rows: tuple[tuple[float, ...], ...]) -> list[Judgement]:
    """The judgements of a matrix, from its rows right of the diagonal."""
    ratios = [ratio for row in rows for ratio in row]
    return [Judgement(a, b, r) for (a, b), r in zip(combinations(things, 2), ratios, strict=True)]


def rounded(weights: Weights) -> list[float]:
    return [round(weight, 3) for weight in weights.weights.values()]


def test_the_drinks_of_saaty_2008() -> None:
    weights = consistent(weigh(DRINKS, judged(DRINKS, DRINK_ROWS)))
    assert rounded(weights) == [0.177, 0.019, 0.042, 0.116, 0.190, 0.129, 0.327]
    assert round(weights.consistency_ratio, 3) == 0.022


def test_the_house_of_saaty_1990_is_refused_and_its_worst_judgement_named() -> None:
    judgements = judged(HOUSE, HOUSE_ROWS)
    weights = weigh(HOUSE, judgements)
    assert rounded(weights) == [0.173, 0.054, 0.188, 0.018, 0.031, 0.036, 0.167, 0.333]
    assert round(weights.largest_eigenvalue, 3) == 9.669
    assert round(weights.consistency_index, 3) == 0.238
    assert round(weights.consistency_ratio, 3) == 0.169
    with pytest.raises(Contradictory, match=r"0\.169.* neighbourhood matters 6 times as much as condition"):
        consistent(weights)
    # As Saaty (2003) does: the neighbourhood matters half as much as the condition.
    better = [
        Judgement(j.more, j.less, 0.5) if (j.more, j.less) == ("neighbourhood", "condition") else j
        for j in judgements
    ]
    mended = consistent(weigh(HOUSE, better))
    assert rounded(mended) == [0.175, 0.062, 0.103, 0.019, 0.034, 0.041, 0.221, 0.345]
    assert mended.largest_eigenvalue == pytest.approx(8.811, abs=0.002)
    assert mended.consistency_ratio == pytest.approx(0.083, abs=0.001)


def test_missing_judgements_are_left_to_the_others() -> None:
    # The example of Harker (1987): 1 is twice 2, 2 is twice 3, so 1 is four times 3 without being told.
    weights = weigh(("a", "b", "c"), [Judgement("a", "b", 2), Judgement("b", "c", 2)])
    assert list(weights.weights.values()) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert weights.largest_eigenvalue == pytest.approx(3)
    assert weights.consistency_ratio == 0
    full = weigh(HOUSE, judged(HOUSE, HOUSE_ROWS)).weights
    told = [Judgement(a, b, full[a] / full[b]) for a, b in combinations(HOUSE, 2) if "age" not in (a, b)]
    incomplete = weigh(HOUSE, [*told, Judgement("age", "yard", full["age"] / full["yard"])])
    assert incomplete.weights == pytest.approx(full)


def test_incomplete_judgements_that_contradict_are_refused() -> None:
    circle = [Judgement("a", "b", 5), Judgement("b", "c", 5), Judgement("c", "a", 5), Judgement("c", "d", 1)]
    with pytest.raises(Contradictory):
        consistent(weigh(("a", "b", "c", "d"), circle))


def test_judgements_that_do_not_fit_are_refused() -> None:
    assert weigh(("a", "b"), []).weights == {"a": 0.5, "b": 0.5}
    with pytest.raises(Unconnected, match="from a to d"):
        weigh(("a", "b", "c", "d"), [Judgement("a", "b", 2), Judgement("b", "c", 2)])
    for judgements in (
        [Judgement("a", "z", 2)],
        [Judgement("a", "a", 2)],
        [Judgement("a", "b", 2), Judgement("b", "a", 2)],
    ):
        with pytest.raises(Invalid):
            weigh(("a", "b"), judgements)
