"""BG/NBD on made data: gradients, closed forms, extremes and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.special import hyp2f1

from services.scoring.facts.histories import Histories, fold
from services.scoring.models.bg_nbd import BgNbd, fit, log_likelihood_of
from services.scoring.models.dropout import start_values
from services.scoring.models.estimation import (
    NoRepeatBuyers,
    NotConverged,
    NoVariance,
    TooFewCustomers,
)

positive = st.floats(0.05, 20.0)


def made(params: BgNbd, customers: int, seed: int) -> Histories:
    """Histories of customers who follow the model, observed for 20 to 60 units."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(params.r, 1 / params.alpha, customers)
    dropout = rng.beta(params.a, params.b, customers)
    age = rng.integers(20, 60, customers).astype(float)
    x, last = np.zeros(customers), np.zeros(customers)
    for i in range(customers):
        at = 0.0
        while (at := at + rng.exponential(1 / rates[i])) <= age[i]:
            x[i], last[i] = x[i] + 1, at
            if rng.random() < dropout[i]:
                break
    return fold(x, last, age)


@given(positive, positive, positive, positive)
def test_the_gradient_is_that_of_the_likelihood(r: float, alpha: float, a: float, b: float) -> None:
    histories = fold([0, 0, 1, 3, 40, 3], [0, 0, 5, 20, 39, 20], [10, 39, 39, 25, 39, 25])
    log_likelihood = log_likelihood_of(histories)
    params = np.array([r, alpha, a, b])
    _, gradient = log_likelihood(params)
    numeric = approx_fprime(params, lambda p: log_likelihood(p)[0], 1e-7 * params)
    assert gradient == pytest.approx(numeric, rel=2e-3, abs=2e-3)


def test_folding_identical_histories_changes_nothing() -> None:
    x, recency, age = np.array([[2, 0, 2, 2, 0], [5, 0, 5, 6, 0], [9, 4, 9, 9, 4]], dtype=float)
    folded = fold(x, recency, age)
    single = Histories(x, recency, age, np.ones(5))
    params = np.array([0.4, 5.0, 0.8, 2.5])
    assert folded.frequency.size == 3
    assert folded.total == 5
    value, gradient = log_likelihood_of(folded)(params)
    expected, expected_gradient = log_likelihood_of(single)(params)
    assert value == pytest.approx(expected, rel=1e-14)
    assert gradient == pytest.approx(expected_gradient, rel=1e-12)


@pytest.mark.parametrize(
    ("x", "recency", "age"), [(0, 0, 0), (1, 0, 0), (900, 900, 900), (900, 1, 4000), (5000, 4999, 5000)]
)
def test_extreme_histories_stay_finite(x: float, recency: float, age: float) -> None:
    value, gradient = log_likelihood_of(fold(x, recency, age))(np.array([0.3, 4.0, 0.8, 2.4]))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    model = BgNbd(0.3, 4.0, 0.8, 2.4)
    assert 0 <= model.p_alive(x, recency, age)[0] <= 1
    expected = model.expected_purchases(52.0, x, recency, age)[0]
    assert np.isfinite(expected)
    assert expected >= 0


@given(
    st.floats(0.1, 5),
    st.floats(1, 50),
    st.floats(0.1, 5).filter(lambda a: abs(a - 1) > 0.05),
    st.floats(0.2, 20),
    st.integers(0, 30),
    st.integers(30, 200),
    st.floats(1, 104),
)
def test_expected_purchases_equal_the_papers_closed_form(  # noqa: PLR0917
    r: float, alpha: float, a: float, b: float, x: int, age: int, horizon: float
) -> None:
    model = BgNbd(r, alpha, a, b)
    recency = age / 2 if x else 0.0
    z = horizon / (alpha + age + horizon)
    c = a + b + x - 1
    # The paper's equation (10) after Euler's transformation, with which scipy keeps its digits.
    within = (1 - (1 - z) ** (a - 1) * hyp2f1(c - r - x, a - 1, c, z)) * c / (a - 1)
    closed = within * model.p_alive(x, recency, age)[0]
    assert model.expected_purchases(horizon, x, recency, age)[0] == pytest.approx(closed, rel=1e-8)


def test_expected_purchases_are_smooth_where_the_closed_form_divides_by_zero() -> None:
    below, at, above = (
        BgNbd(0.3, 4.0, a, 2.4).expected_purchases(52, 3, 20, 30)[0] for a in (0.999, 1, 1.001)
    )
    assert below > at > above
    assert at == pytest.approx((below + above) / 2, rel=1e-6)


@given(st.integers(1, 50), st.floats(0, 1), st.floats(0.5, 100))
def test_predictions_keep_their_order(x: int, share: float, horizon: float) -> None:
    model = BgNbd(0.243, 4.414, 0.793, 2.426)
    early, late = model.p_alive([x, x], [39 * share * 0.9, 39 * share], [39, 39])
    assert 0 <= early <= late <= 1
    near, far = model.expected_purchases(np.array([horizon, horizon * 2]), x, 39 * share, 39)[0]
    assert 0 <= near <= far


def test_many_customers_are_scored_as_each_alone() -> None:
    model = BgNbd(0.243, 4.414, 0.793, 2.426)
    rng = np.random.default_rng(7)
    x = rng.integers(0, 12, 300).astype(float)
    age = rng.integers(1, 80, 300).astype(float)
    recency = np.where(x > 0, np.floor(age * rng.random(300)), 0.0)
    together = model.expected_purchases(np.array([10.0, 52.0]), x, recency, age)
    alone = np.array(
        [
            model.expected_purchases(np.array([10.0, 52.0]), *row)[0]
            for row in zip(x, recency, age, strict=True)
        ]
    )
    assert (together == alone).all()


def test_a_fit_finds_the_parameters_that_made_the_data() -> None:
    truth = BgNbd(0.6, 6.0, 0.9, 2.8)
    estimate = fit(made(truth, 4000, seed=11))
    for name in truth.names:
        off = abs(estimate.params[name] - getattr(truth, name)) / estimate.standard_errors[name]
        assert off < 3, name


def test_a_fit_does_not_depend_on_the_unit_of_time() -> None:
    weeks = made(BgNbd(0.6, 6.0, 0.9, 2.8), 500, seed=3)
    days = fold(weeks.frequency, weeks.recency * 7, weeks.age * 7, weeks.customers)
    a, b = fit(weeks), fit(days)
    assert b.params["alpha"] == pytest.approx(7 * a.params["alpha"], rel=1e-6)
    assert b.params["r"] == pytest.approx(a.params["r"], rel=1e-6)


def test_start_values_lie_inside_the_bounds() -> None:
    for histories in (
        fold([0, 1], [0, 1], [0, 1]),
        fold([900, 0], [30, 0], [31, 1]),
        made(BgNbd(1, 9, 1, 3), 50, 1),
    ):
        assert all(np.isfinite(v) and 1e-4 < v < 1e6 for v in start_values(histories))


def test_too_few_customers_are_refused() -> None:
    with pytest.raises(TooFewCustomers, match=r"have bought: 3\. A fit needs at least 10"):
        fit(fold([1, 2, 0], [3, 4, 0], [5, 5, 5]))


def test_all_one_time_buyers_are_refused() -> None:
    with pytest.raises(NoRepeatBuyers):
        fit(fold(np.zeros(50), np.zeros(50), np.arange(50)))


def test_customers_without_differences_are_refused() -> None:
    with pytest.raises(NoVariance):
        fit(fold(np.full(50, 2), np.full(50, 7), np.full(50, 9)))


def test_histories_that_do_not_determine_a_parameter_are_refused_by_its_name() -> None:
    rng = np.random.default_rng(5)
    age = rng.integers(20, 60, 300).astype(float)
    x = rng.poisson(0.2 * age) + 1.0  # one rate for all, and nobody ever stops
    with pytest.raises(NotConverged, match=r"estimate of (r|a|b|alpha) runs off"):
        fit(fold(x, age, age))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_numbers_that_are_no_history_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        fit(fold([bad] * 20, [1] * 20, [2] * 20))
    with pytest.raises(ValueError, match="after the observation date"):
        fit(fold([1] * 20, [3] * 20, [2] * 20))
