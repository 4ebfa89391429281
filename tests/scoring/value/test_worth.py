"""What customers have been and will be worth."""

from datetime import date

import numpy as np
import pytest

from services.scoring.facts.histories import Purchased
from services.scoring.value.appraisal import appraise
from services.scoring.value.lifetime import Terms
from services.scoring.value.worth import historic_value, net_present_value, simple_value
from tests.scoring.cdnow import CALIBRATION_END, needs_sample, sample

TERMS = Terms(365, 0.1, 0.3)


def test_historic_and_simple_value_are_sums_and_products() -> None:
    amounts, days = np.array([100.0, 100.0]), np.array([0.0, 365.25])
    assert historic_value(amounts, TERMS) == pytest.approx(60)
    assert net_present_value(amounts, days, TERMS) == pytest.approx(30 + 30 / 1.1)
    assert simple_value(50.0, 4.0, 3.0, 0.3) == pytest.approx(180)


@needs_sample
def test_lifetime_value_comes_with_its_uncertainty() -> None:
    log = list(sample())
    by_kind = {
        kind: appraise(
            log,
            "0001",
            end=CALIBRATION_END,
            kind=kind,
            terms=Terms(365, 0.1, 1.0),
            lifespan_years=3,
            bootstrap=24 if kind == "bg_nbd" else 0,
        )
        for kind in ("bg_nbd", "mbg_nbd", "pareto_nbd")
    }
    value = by_kind["bg_nbd"]
    assert value.interval is not None
    low, high = value.interval
    assert low < value.lifetime_value < high
    # The bootstrap's interval is about as wide as four of the delta method's errors.
    assert (high - low) / value.standard_error == pytest.approx(3.9, rel=0.5)
    assert value.historic_value > value.net_present_value > 0
    for other in by_kind.values():
        assert other.lifetime_value == pytest.approx(value.lifetime_value, rel=0.5)
        assert 0 < other.standard_error < other.lifetime_value


def test_a_customer_the_log_does_not_know_is_refused() -> None:
    log = [Purchased("a", date(2026, 1, 1), 5.0)]
    with pytest.raises(ValueError, match="no purchase of b"):
        appraise(log, "b", end=date(2026, 2, 1), kind="bg_nbd", terms=TERMS, lifespan_years=3, bootstrap=0)
