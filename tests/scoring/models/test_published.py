"""Published results on the CDNOW sample, to the digits that were printed.

Sources: Fader, Hardie & Lee (2005), Marketing Science 24(2), table 2 (parameters, log-likelihood); Fader &
Hardie (2013), brucehardie.com/notes/025 (Gamma-Gamma); the quick start of lifetimes 0.11 (standard errors,
predictions, lifetime values); the walkthrough of R's BTYD 2.4 (customer 1516 over 52 weeks).
"""

from datetime import date

import numpy as np
import pytest

from services.scoring.facts.histories import read_log
from services.scoring.models import bg_nbd, gamma_gamma
from services.scoring.models.bg_nbd import BgNbd
from services.scoring.models.estimation import Estimate
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.value.lifetime import present_value
from tests.scoring.cdnow import CALIBRATION_END, needs_sample, sample

pytestmark = needs_sample

PUBLISHED = BgNbd(0.243, 4.414, 0.793, 2.426)


@pytest.fixture(scope="module")
def fits() -> tuple[Estimate, Estimate]:
    histories, spending = read_log(sample(), end=CALIBRATION_END, unit="week")
    return bg_nbd.fit(histories), gamma_gamma.fit(spending)


def test_bg_nbd_parameters_and_likelihood_are_those_of_the_paper(fits: tuple[Estimate, Estimate]) -> None:
    estimate, _ = fits
    assert {name: round(value, 3) for name, value in estimate.params.items()} == {
        "r": 0.243,
        "alpha": 4.414,
        "a": 0.793,
        "b": 2.426,
    }
    assert round(estimate.log_likelihood, 1) == -9582.4
    assert estimate.customers == 2357


def test_bg_nbd_standard_errors_are_those_of_lifetimes(fits: tuple[Estimate, Estimate]) -> None:
    errors = fits[0].standard_errors
    assert errors == pytest.approx({"r": 0.012557, "alpha": 0.378221, "a": 0.185719, "b": 0.705345}, rel=2e-4)


def test_gamma_gamma_parameters_are_those_of_the_note(fits: tuple[Estimate, Estimate]) -> None:
    estimate = fits[1]
    assert {name: round(value, 2) for name, value in estimate.params.items()} == {
        "p": 6.25,
        "q": 3.74,
        "gamma": 15.44,
    }
    assert estimate.customers == 946


@pytest.mark.parametrize(
    ("x", "recency", "age", "expected"),
    [
        (18, 35.14, 35.86, 0.424877),
        (19, 34.00, 34.14, 0.474738),
        (17, 28.43, 28.86, 0.486526),
        (29, 37.71, 38.00, 0.662396),
        (26, 30.86, 31.00, 0.710623),
    ],
)
def test_purchases_of_the_best_customers_in_the_next_week(
    fits: tuple[Estimate, Estimate], x: int, recency: float, age: float, expected: float
) -> None:
    model = BgNbd(**fits[0].params)
    assert model.expected_purchases(1.0, x, recency, age)[0] == pytest.approx(expected, rel=2e-5)


def test_customer_1516_is_expected_to_buy_26_times_in_a_year() -> None:
    assert PUBLISHED.expected_purchases(52, 26, 30.857, 31)[0] == pytest.approx(25.76, abs=0.005)
    assert PUBLISHED.p_alive(26, 30.857, 31)[0] == pytest.approx(0.9688, abs=5e-5)


def test_a_new_customer_is_expected_to_buy_again_1_44_times_in_a_year(
    fits: tuple[Estimate, Estimate],
) -> None:
    model = BgNbd(**fits[0].params)
    assert model.expected_purchases(52, 0, 0, 0)[0] == pytest.approx(1.44, abs=0.005)


def test_expected_spend_and_discounted_lifetime_value(fits: tuple[Estimate, Estimate]) -> None:
    purchases, spend = BgNbd(**fits[0].params), GammaGamma(**fits[1].params)
    x = np.array([2.0, 1.0, 0.0, 7.0])
    recency, age = np.array([30.43, 1.71, 0.0, 29.43]), np.full(4, 38.86)
    mean = spend.expected_spend(x, [22.35, 11.77, 0.0, 73.74])
    assert mean == pytest.approx([24.658619, 18.911489, 35.170981, 71.462843], rel=1e-4)
    steps = 30.0 * np.arange(1, 13)
    discounts = np.power(1.01, -np.arange(1.0, 13.0))
    value = present_value(purchases.expected_purchases(steps, x, recency, age), discounts) * mean
    assert value == pytest.approx([140.096211, 18.943467, 38.180574, 1003.868107], rel=1e-4)


def test_the_hold_out_is_predicted_by_number_of_purchases(fits: tuple[Estimate, Estimate]) -> None:
    """The paper's figure 3: conditional expectations over the next 39 weeks, by x (7 stands for 7+)."""
    by_customer: dict[object, list[date]] = {}
    for purchase in sample():
        by_customer.setdefault(purchase.customer, []).append(purchase.on)
    rows = []
    for days in by_customer.values():
        known = sorted({day for day in days if day <= CALIBRATION_END})
        later = {day for day in days if day > CALIBRATION_END}
        first = known[0]
        rows.append(
            (len(known) - 1, (known[-1] - first).days / 7, (CALIBRATION_END - first).days / 7, len(later))
        )
    x, recency, age, bought = np.array(rows, dtype=float).T
    expected = BgNbd(**fits[0].params).expected_purchases(39.0, x, recency, age)
    groups = np.minimum(x, 7)
    predicted = [expected[groups == g].mean() for g in range(8)]
    actual = [bought[groups == g].mean() for g in range(8)]
    assert np.corrcoef(predicted, actual)[0, 1] > 0.98
    assert np.abs(np.subtract(predicted, actual)).mean() < 0.5
