"""Gamma-Gamma on made data: gradients, shrinkage and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from services.scoring.facts.histories import Spending
from services.scoring.models.estimation import NotConverged, NoVariance, TooFewCustomers
from services.scoring.models.gamma_gamma import GammaGamma, fit, log_likelihood_of


def made(truth: GammaGamma, customers: int, seed: int) -> Spending:
    rng = np.random.default_rng(seed)
    rates = rng.gamma(truth.q, 1 / truth.gamma, customers)
    purchases = rng.integers(1, 12, customers).astype(float)
    return Spending(purchases, rng.gamma(truth.p * purchases, 1 / rates) / purchases)


@given(st.floats(0.2, 20), st.floats(1.1, 20), st.floats(1, 1e4))
def test_the_gradient_is_that_of_the_likelihood(p: float, q: float, gamma: float) -> None:
    log_likelihood = log_likelihood_of(
        Spending(np.array([1.0, 2.0, 30.0, 2.0]), np.array([900.0, 1500.0, 20.0, 31000.0]))
    )
    params = np.array([p, q, gamma])
    _, gradient = log_likelihood(params)
    numeric = approx_fprime(params, lambda x: log_likelihood(x)[0], 1e-7 * params)
    assert gradient * params == pytest.approx(numeric * params, rel=5e-3, abs=5e-3)


def test_a_fit_finds_the_parameters_that_made_the_data() -> None:
    truth = GammaGamma(4.0, 5.0, 6000.0)
    estimate = fit(made(truth, 3000, seed=2))
    for name in truth.names:
        assert abs(estimate.params[name] - getattr(truth, name)) / estimate.standard_errors[name] < 3, name


def test_a_fit_does_not_depend_on_the_unit_of_money() -> None:
    minor = made(GammaGamma(4.0, 5.0, 6000.0), 400, seed=3)
    a, b = fit(minor), fit(Spending(minor.purchases, minor.mean / 100))
    assert b.params["gamma"] == pytest.approx(a.params["gamma"] / 100, rel=1e-6)
    assert b.params["q"] == pytest.approx(a.params["q"], rel=1e-6)


@given(st.floats(0.5, 10), st.floats(1.2, 10), st.floats(10, 1e5), st.integers(1, 500), st.floats(1, 1e6))
def test_expected_spend_lies_between_the_population_and_the_customer(
    p: float, q: float, gamma: float, purchases: int, own: float
) -> None:
    model = GammaGamma(p, q, gamma)
    low, high = sorted([model.population_mean, own])
    expected = model.expected_spend(purchases, own)[0]
    assert low * (1 - 1e-9) <= expected <= high * (1 + 1e-9)
    assert model.expected_spend(0, 0.0)[0] == pytest.approx(model.population_mean)


def test_free_purchases_are_left_out() -> None:
    paid = made(GammaGamma(4.0, 5.0, 6000.0), 200, seed=4)
    more = Spending(np.append(paid.purchases, [2.0, 0.0]), np.append(paid.mean, [0.0, 0.0]))
    assert fit(more).params == fit(paid).params
    assert fit(more).customers == 200


def test_too_few_and_equal_spenders_are_refused() -> None:
    with pytest.raises(TooFewCustomers, match="paid repeat purchases: 2"):
        fit(Spending(np.array([1.0, 1.0]), np.array([5.0, 6.0])))
    with pytest.raises(NoVariance):
        fit(Spending(np.arange(1.0, 31.0), np.full(30, 500.0)))


def test_an_infinite_mean_is_refused() -> None:
    with pytest.raises(NotConverged, match="infinite"):
        fit(made(GammaGamma(4.0, 0.7, 6000.0), 2000, seed=9))


def test_numbers_that_are_no_money_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        fit(Spending(np.ones(20), np.full(20, np.nan)))
