"""Plans for a budget: optimal against all plans there are, within every limit, at the right price."""

from itertools import product

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from services.scoring.actions.programme import NOTHING, Programme, solve


def test_the_plan_is_the_best_of_all_there_are() -> None:
    rng = np.random.default_rng(7)
    for _ in range(5):
        gains = rng.integers(-5, 40, (5, 2)).astype(float)
        programme = Programme(gains, np.array([4.0, 9.0]), np.array([2.0, 2.0]), 22.0)
        best = 0.0
        for plan in product((NOTHING, 0, 1), repeat=5):
            taken = [(n, j) for n, j in enumerate(plan) if j >= 0]
            counts = np.bincount([j for _, j in taken], minlength=2)
            if (counts <= 2).all() and counts @ programme.costs <= 22:
                best = max(best, sum(gains[n, j] for n, j in taken))
        assert solve(programme).value == pytest.approx(best)


def test_one_more_unit_of_budget_brings_its_shadow_price() -> None:
    gains = np.linspace(1, 100, 100)[:, None]
    costs, capacities = np.array([10.0]), np.array([1000.0])
    plan, more = (solve(Programme(gains, costs, capacities, budget)) for budget in (300.0, 310.0))
    assert plan.optimal
    assert (plan.chosen >= 0).sum() == 30
    assert plan.prices[0] * 10 == pytest.approx(more.value - plan.value, abs=1.1)


def test_no_budget_and_no_gain_are_no_plan() -> None:
    for gains, budget in ((5.0, 0.0), (-5.0, 100.0)):
        plan = solve(Programme(np.full((3, 1), gains), np.array([1.0]), np.array([9.0]), budget))
        assert (plan.chosen == NOTHING).all()


def _shop(n: int) -> Programme:
    """Customers of very different worth and four actions, with limits that bind."""
    rng = np.random.default_rng(0)
    costs = np.array([100.0, 500.0, 1500.0, 50.0])
    gains = rng.lognormal(9, 1.2, n)[:, None] * rng.beta(1, 20, (n, 4)) - costs
    return Programme(gains, costs, np.array([0.2, 0.1, 0.03, 0.3]) * n, 60.0 * n)


def test_many_customers_are_solved_to_the_optimum_within_every_limit() -> None:
    programme = _shop(20_000)
    plan = solve(programme)
    someone = plan.chosen >= 0
    taken = np.bincount(plan.chosen[someone], minlength=4)
    assert (taken <= programme.capacities).all()
    assert taken @ programme.costs <= programme.budget
    assert plan.value == pytest.approx(programme.gains[someone, plan.chosen[someone]].sum())
    assert plan.gap <= 1e-6
    assert plan.optimal
    assert "Optimal" in plan.status


def test_the_whole_programme_given_to_highs_finds_no_better_plan() -> None:
    programme = _shop(2_500)
    n, k = programme.gains.shape
    budget = np.tile(programme.costs, n)
    whole = milp(
        -programme.gains.ravel(),
        integrality=np.ones(n * k),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(budget, -np.inf, programme.budget),
            LinearConstraint(sparse.kron(np.ones((1, n)), sparse.eye(k)), -np.inf, programme.capacities),
            LinearConstraint(sparse.kron(sparse.eye(n), np.ones((1, k))), -np.inf, 1),
        ],
        options={"mip_rel_gap": 1e-7},
    )
    assert solve(programme).value == pytest.approx(-whole.fun, rel=1e-6)


def test_customers_who_are_all_the_same_are_solved_too() -> None:
    gains = np.tile([300.0, 960.0], (50_000, 1))
    plan = solve(Programme(gains, np.array([500.0, 1500.0]), np.array([50_000.0, 1_000.0]), 1e7))
    assert np.bincount(plan.chosen + 1).tolist() == [32_000, 17_000, 1_000]
    assert plan.gap == 0
