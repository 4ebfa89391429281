"""The probability of no purchase against simulated customers, and against plain integration."""

import numpy as np
import pytest
from scipy.integrate import quad

from services.scoring.churn.silence import p_silence, reasons
from services.scoring.facts.histories import Floats
from services.scoring.models.bg_nbd import BgNbd
from services.scoring.models.mbg_nbd import MbgNbd
from services.scoring.models.pareto_nbd import ParetoNbd
from services.scoring.models.purchasing import Purchasing

CUSTOMERS, AGE, HORIZON = 60_000, 30.0, 13.0
MODELS = [BgNbd(0.8, 4.4, 0.8, 2.4), MbgNbd(0.8, 6.2, 0.9, 3.6), ParetoNbd(0.8, 6.0, 0.6, 11.7)]


def simulated(model: Purchasing, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Repeat purchases up to AGE, when the last was, and whether nothing came in HORIZON after; (n,) each."""
    rate = rng.gamma(model.r, 1 / model.alpha, CUSTOMERS)  # type: ignore[attr-defined]
    if isinstance(model, ParetoNbd):
        ends, leaves = rng.exponential(1 / rng.gamma(model.s, 1 / model.beta, CUSTOMERS)), np.zeros(CUSTOMERS)
    else:
        assert isinstance(model, BgNbd | MbgNbd)
        ends, leaves = np.full(CUSTOMERS, np.inf), rng.beta(model.a, model.b, CUSTOMERS)
    x, last, silent = np.zeros(CUSTOMERS), np.zeros(CUSTOMERS), np.ones(CUSTOMERS)
    alive = rng.random(CUSTOMERS) >= leaves if isinstance(model, MbgNbd) else np.ones(CUSTOMERS, dtype=bool)
    at = np.zeros(CUSTOMERS)
    while alive.any():
        at = at + rng.exponential(1 / rate)
        alive &= (at <= ends) & (at <= AGE + HORIZON)
        seen = alive & (at <= AGE)
        x[seen] += 1
        last[seen] = at[seen]
        silent[alive & (at > AGE)] = 0
        alive &= rng.random(CUSTOMERS) >= leaves
    return x, last, silent


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_silence_is_as_frequent_as_predicted(model: Purchasing) -> None:
    x, last, silent = simulated(model, np.random.default_rng(5))
    risk = p_silence(model, HORIZON, x, last, np.full(CUSTOMERS, AGE))
    order = np.argsort(risk, kind="stable")
    for group in [*np.array_split(order, 5), np.flatnonzero(x == 0), np.flatnonzero(x >= 5)]:
        error = np.sqrt(0.25 / group.size)
        assert risk[group].mean() == pytest.approx(silent[group].mean(), abs=4 * error)


def test_extreme_customers_stay_exact_and_finite() -> None:
    model = ParetoNbd(0.01, 10.0, 50.0, 1.0)
    busy, rest, waning = 600.01, 41.0, 32.0
    bought = quad(
        lambda u: np.exp(np.log(busy / rest) - (busy + 1) * np.log1p(u / rest) - 50 * np.log1p(u / waning)),
        0,
        13,
        epsrel=1e-12,
        points=[0.01, 0.1, 1],
    )[0]
    alive = model.p_alive(600, 31, 31)[0]
    assert p_silence(model, 13, 600, 31, 31)[0] == pytest.approx(1 - alive * bought, abs=1e-12)
    for one in MODELS:
        risk = p_silence(one, 1e5, [0, 1, 900, 900], [0, 0, 30, 1], [0, 4000, 30, 4000])
        assert np.isfinite(risk).all()
        assert ((risk >= 0) & (risk <= 1)).all()
        assert p_silence(one, 0, 3, 10, 20)[0] == pytest.approx(1)


def test_silence_is_explained_in_days() -> None:
    assert reasons(120, 60, 3, 0.204) == [
        "last bought 120 days ago, before that once in 20 days",
        "is still a customer with a probability of 0.20",
    ]
    assert reasons(1, 0, 0, 1.0)[0] == "last bought 1 day ago, never before that"
