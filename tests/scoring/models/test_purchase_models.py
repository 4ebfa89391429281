"""MBG/NBD, Pareto/NBD, BG/BB and shifted-beta-geometric: gradients, closed forms, extremes, refusals."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.special import hyp2f1

from services.scoring.facts.histories import Histories, fold
from services.scoring.models import bg_bb, bg_nbd, mbg_nbd, pareto_nbd
from services.scoring.models import shifted_beta_geometric as sbg
from services.scoring.models.bg_bb import BgBb
from services.scoring.models.estimation import (
    LogLikelihood,
    NoRepeatBuyers,
    NotConverged,
    NoVariance,
    TooFewCustomers,
)
from services.scoring.models.mbg_nbd import MbgNbd
from services.scoring.models.pareto_nbd import ParetoNbd
from services.scoring.models.shifted_beta_geometric import ShiftedBetaGeometric, tenures_of

positive = st.floats(0.05, 20.0)
HISTORIES = fold([0, 0, 1, 3, 40, 3, 2], [0, 0, 5, 20, 39, 20, 9], [10, 39, 39, 25, 39, 25, 9])
OCCASIONS = fold([0, 0, 1, 3, 30, 3, 2], [0, 0, 5, 20, 39, 20, 9], [10, 39, 39, 25, 39, 25, 9])
TENURES = tenures_of({"one": [100, 70, 60, 55], "two": [50, 20, 20]})

LIKELIHOODS: dict[str, tuple[LogLikelihood, int]] = {
    "mbg_nbd": (mbg_nbd.log_likelihood_of(HISTORIES), 4),
    "pareto_nbd": (pareto_nbd.log_likelihood_of(HISTORIES), 4),
    "bg_bb": (bg_bb.log_likelihood_of(OCCASIONS), 4),
    "shifted_beta_geometric": (sbg.log_likelihood_of(TENURES), 2),
}


@pytest.mark.parametrize("model", LIKELIHOODS)
@given(first=positive, second=positive, third=positive, fourth=positive)
def test_gradients_are_those_of_the_likelihoods(
    model: str, first: float, second: float, third: float, fourth: float
) -> None:
    log_likelihood, count = LIKELIHOODS[model]
    params = np.array([first, second, third, fourth][:count])
    _, gradient = log_likelihood(params)
    numeric = approx_fprime(params, lambda p: log_likelihood(p)[0], 1e-7 * params)
    assert gradient == pytest.approx(numeric, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize(
    ("x", "recency", "age"), [(0, 0, 0), (1, 0, 0), (900, 900, 900), (900, 1, 4000), (5000, 4999, 5000)]
)
def test_extreme_histories_stay_finite(x: float, recency: float, age: float) -> None:
    for module, model in (
        (mbg_nbd, MbgNbd(0.525, 6.183, 0.891, 1.614)),
        (pareto_nbd, ParetoNbd(0.553, 10.578, 0.606, 11.669)),
        (pareto_nbd, ParetoNbd(0.553, 1e-3, 0.606, 1e4)),
        (pareto_nbd, ParetoNbd(0.553, 1e4, 1.0, 1e-3)),
    ):
        params = np.array([getattr(model, name) for name in model.names])
        value, gradient = module.log_likelihood_of(fold(x, recency, age))(params)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert 0 <= model.p_alive(x, recency, age)[0] <= 1
        expected = model.expected_purchases(52.0, x, recency, age)[0]
        assert np.isfinite(expected)
        assert expected >= 0


@given(st.integers(1, 900), st.integers(0, 900))
def test_occasions_by_the_hundred_stay_finite(last: int, silent: int) -> None:
    history = (last, last, last + silent)  # bought every time until they stopped
    value, gradient = bg_bb.log_likelihood_of(fold(*history))(np.array([1.2, 0.75, 0.66, 2.78]))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert 0 <= BgBb(1.2, 0.75, 0.66, 2.78).p_alive(*history)[0] <= 1


@given(st.floats(0.1, 5), st.floats(1, 50), st.floats(0.2, 5), st.floats(1, 50), st.integers(0, 12))
def test_pareto_p_alive_equals_the_notes_hypergeometric_form(
    r: float, alpha: float, s: float, beta: float, x: int
) -> None:
    """The note's equations (18) to (20), where their digits last: few purchases."""
    age, recency = 40.0, 20.0 if x else 0.0
    total = r + s + x
    far, near, second = (alpha, beta, s + 1) if alpha >= beta else (beta, alpha, r + x)

    def part(at: float) -> float:
        return float(hyp2f1(total, second, total + 1, (far - near) / (far + at)) / (far + at) ** total)

    a_0 = part(recency) - part(age)
    closed = 1 / (1 + s / total * (alpha + age) ** (r + x) * (beta + age) ** s * a_0)
    assert ParetoNbd(r, alpha, s, beta).p_alive(x, recency, age)[0] == pytest.approx(closed, rel=1e-7)


@pytest.mark.parametrize("params", [(0.5, 8.0, 0.3, 1e-3), (0.4, 1e-3, 0.6, 900.0), (3.0, 900.0, 9.0, 1e-2)])
@pytest.mark.parametrize("history", [(0, 0.0, 300.0), (2, 1.0, 300.0), (400, 30.0, 300.0)])
def test_pareto_p_alive_holds_where_the_scales_lie_far_apart(
    params: tuple[float, float, float, float], history: tuple[int, float, float]
) -> None:
    (r, alpha, s, beta), (x, recency, age) = params, history

    def log_integrand(tau: float) -> float:
        return -(r + x) * np.log(alpha + tau) - (s + 1) * np.log(beta + tau)

    top = log_integrand(recency)
    pieces = recency + (age - recency) * np.concatenate(([0], np.geomspace(1e-9, 1, 60)))
    integral = sum(
        quad(lambda tau: np.exp(log_integrand(tau) - top), low, high, epsabs=0, epsrel=1e-12)[0]
        for low, high in pairwise(pieces)
    )
    left = np.log(s) + top + np.log(integral)
    alive = -(r + x) * np.log(alpha + age) - s * np.log(beta + age)
    expected = np.exp(alive - np.logaddexp(alive, left))
    assert ParetoNbd(*params).p_alive(*history)[0] == pytest.approx(expected, rel=1e-8)


def test_pareto_expectation_is_smooth_at_s_of_one() -> None:
    below, at, above = (
        ParetoNbd(0.553, 10.578, s, 11.669).expected_purchases(52, 3, 20, 30)[0] for s in (0.9999, 1, 1.0001)
    )
    assert at == pytest.approx((below + above) / 2, rel=1e-7)


def test_mbg_is_the_bg_for_who_has_survived_one_more_purchase() -> None:
    mbg, bg = MbgNbd(0.5, 6.0, 0.9, 1.6), bg_nbd.BgNbd(0.5, 6.0, 0.9, 2.6)
    for history in ((3, 20.0, 39.0), (0, 0.0, 0.0)):
        alive = mbg.expected_purchases(39, *history) / mbg.p_alive(*history)
        assert alive == pytest.approx(bg.expected_purchases(39, *history) / bg.p_alive(*history), rel=1e-12)
    assert mbg.p_alive(0, 0, 0)[0] == pytest.approx(1.6 / 2.5)


def made(draw: Callable[[np.random.Generator], tuple[float, float]], customers: int) -> Histories:
    """Histories of customers who buy at a rate until a moment of leaving, both drawn, for 30 to 60 units."""
    rng = np.random.default_rng(11)
    rows = []
    for _ in range(customers):
        rate, leaves = draw(rng)
        age = float(rng.integers(30, 60))
        times = np.sort(rng.uniform(0, min(leaves, age), rng.poisson(rate * min(leaves, age))))
        rows.append((times.size, times[-1] if times.size else 0.0, age))
    return fold(*np.array(rows).T)


def test_a_pareto_fit_finds_the_parameters_that_made_the_data() -> None:
    truth = ParetoNbd(0.8, 6.0, 0.9, 12.0)

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        return rng.gamma(truth.r) / truth.alpha, rng.exponential(truth.beta / rng.gamma(truth.s))

    estimate = pareto_nbd.fit(made(draw, 4000))
    for name in truth.names:
        off = abs(estimate.params[name] - getattr(truth, name)) / estimate.standard_errors[name]
        assert off < 3, name


def test_histories_that_cannot_determine_a_model_are_refused() -> None:
    for module in (mbg_nbd, pareto_nbd, bg_bb):
        with pytest.raises(TooFewCustomers):
            module.fit(fold([1, 2, 0], [3, 4, 0], [5, 5, 5]))
        with pytest.raises(NoRepeatBuyers):
            module.fit(fold(np.zeros(50), np.zeros(50), np.arange(50)))
        with pytest.raises(NoVariance):
            module.fit(fold(np.full(50, 2), np.full(50, 7), np.full(50, 9)))
        with pytest.raises(ValueError, match="finite"):
            module.fit(fold([np.nan] * 20, [1] * 20, [2] * 20))


def test_busy_customers_who_never_leave_do_not_determine_a_lifetime() -> None:
    rng = np.random.default_rng(5)
    age = rng.integers(20, 60, 300).astype(float)
    with pytest.raises(NotConverged, match=r"estimate of \w+ runs off .* longer period"):
        pareto_nbd.fit(fold(rng.poisson(0.2 * age) + 1.0, age, age))


def test_occasions_are_whole_numbers() -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        bg_bb.fit(fold([1, 0] * 20, [1.5, 0] * 20, [4, 4] * 20))
    with pytest.raises(ValueError, match="more often"):
        bg_bb.fit(fold([3, 0] * 20, [2, 0] * 20, [4, 4] * 20))


def test_cohorts_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="can only lose"):
        tenures_of({"one": [100, 90, 95]})
    with pytest.raises(ValueError, match="finite"):
        tenures_of({"one": [100, float("nan")]})
    with pytest.raises(TooFewCustomers):
        sbg.fit(tenures_of({"one": [5, 3, 2]}))
    with pytest.raises(NoVariance):
        sbg.fit(tenures_of({"one": [100, 100, 100]}))


def test_renewals_ahead_are_the_survival_from_here() -> None:
    model = ShiftedBetaGeometric(0.668, 3.806)
    survival = model.survival(12)
    assert model.expected_renewals(5, 4)[0] == pytest.approx(survival[5:10].sum() / survival[4])
    discounted = model.discounted_renewals(0.9 ** np.arange(1, 6), 4)[0]
    assert discounted == pytest.approx((0.9 ** np.arange(1, 6)) @ survival[5:10] / survival[4])
