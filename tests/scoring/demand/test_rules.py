"""Intervals of demand: moments against simulated customers, coverage on populations, CDNOW's hold-out."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pytest
from scipy import stats

from services.scoring.demand.rules import Buyers, Estimated, Spends, forecast, interval, week_moments
from services.scoring.facts.histories import Floats, fold, read_log
from services.scoring.models import bg_nbd
from services.scoring.models.bg_nbd import BgNbd
from services.scoring.models.mbg_nbd import MbgNbd
from services.scoring.models.pareto_nbd import ParetoNbd
from services.scoring.models.purchasing import Purchasing
from services.scoring.processes import one_thread
from tests.scoring.cdnow import CALIBRATION_END, needs_sample, sample


@pytest.fixture(autouse=True)
def on_one_thread() -> Iterator[None]:
    """As in the process that forecasts: the matrices are small, and threads would wait for one another."""
    with one_thread("scipy.linalg"):
        yield


TRUE = (0.8, 6.0, 0.9, 2.5)
WEEKS = np.arange(13.0)


def buyers_of(frequency: Floats, recency: Floats, age: Floats, customers: Floats | None = None) -> Buyers:
    """Histories of one cell, without spend."""
    n = frequency.size
    ones, zeros = np.ones(n), np.zeros(n)
    counts = ones if customers is None else customers
    return Buyers(np.zeros(n, dtype=np.int64), frequency, recency, age, zeros, counts, zeros, zeros)


def lives(rng: np.random.Generator, n: int, age: Floats, ahead: float) -> tuple[Floats, ...]:
    """n customers of the BG/NBD: x and t_x until each one's age, and purchases in each week ahead."""
    r, alpha, a, b = TRUE
    rate, leaves = rng.gamma(r, 1 / alpha, n), rng.beta(a, b, n)
    at, alive = np.zeros(n), np.ones(n, dtype=bool)
    x, last, later = np.zeros(n), np.zeros(n), np.zeros((n, int(ahead)))
    while alive.any():
        at[alive] += rng.exponential(1 / rate[alive])
        alive &= at < age + ahead
        past = alive & (at < age)
        x[past] += 1
        last[past] = at[past]
        future = np.flatnonzero(alive & ~past)
        np.add.at(later, (future, (at[future] - age[future]).astype(int)), 1)
        alive &= rng.random(n) >= leaves
    return x, last, later


@pytest.mark.parametrize(
    "model",
    [BgNbd(*TRUE), MbgNbd(0.5, 6.0, 0.9, 1.6), ParetoNbd(0.6, 10.0, 0.7, 12.0)],
    ids=lambda m: type(m).__name__,
)
def test_second_moments_are_those_of_simulated_customers(model: Purchasing) -> None:
    rng = np.random.default_rng(5)
    draws, x, last, age = 200_000, 4, 18.0, 20.0
    edges = np.array([0.0, 4.0, 8.0])
    alive = rng.random(draws) < model.p_alive(x, last, age)[0]
    rate = rng.gamma(model.r + x, 1 / (model.alpha + age), draws)
    ends = np.where(alive, np.inf, 0.0)
    leaves = np.zeros(draws)
    if isinstance(model, ParetoNbd):
        ends = np.where(alive, rng.exponential((model.beta + age) / rng.gamma(model.s, 1, draws)), 0)
    else:
        leaves = rng.beta(model.a, model.b + x + isinstance(model, MbgNbd), draws)
    came, at = np.zeros((draws, 2)), np.zeros(draws)
    while alive.any():
        at[alive] += rng.exponential(1 / rate[alive])
        alive &= (at < ends) & (at < edges[-1])
        np.add.at(came, (np.flatnonzero(alive), (at[alive] / 4).astype(int)), 1)
        alive &= rng.random(draws) >= leaves
    mean, pairs = week_moments(model, buyers_of(*(np.array([float(v)]) for v in (x, last, age))), edges)
    assert mean[0] == pytest.approx(came.mean(axis=0), rel=0.02)
    assert pairs[0] == pytest.approx((came * (came - 1)).mean(axis=0), rel=0.05)


def test_intervals_hold_what_came_as_often_as_they_say() -> None:
    """Chance and estimation together: populations are simulated, fitted, forecast and lived on."""
    rng = np.random.default_rng(12)
    covered, populations, customers = 0, 30, 400
    for _ in range(populations):
        age = rng.uniform(20, 40, customers).round()
        x, last, later = lives(rng, customers, age, 12)
        histories = fold(x, last, age)
        estimate = bg_nbd.fit(histories)
        totals = forecast(
            BgNbd,
            Estimated(np.array(list(estimate.params.values())), np.array(estimate.covariance)),
            {},
            buyers_of(histories.frequency, histories.recency, histories.age, histories.customers),
            cells=1,
            edges=WEEKS,
            sums=np.ones((1, 1)),
        )
        for week in range(12):
            bounds = interval(totals.purchases[0, week], totals.purchases_variance[0, week], counted=True)
            assert bounds is not None
            covered += bounds[0] <= later[:, week].sum() <= bounds[1]
        assert np.isnan(totals.revenue).all()
    assert 0.93 <= covered / (12 * populations) <= 0.985


def test_revenue_varies_as_simulated_purchases_of_simulated_worth() -> None:
    rng = np.random.default_rng(3)
    model, n, draws = BgNbd(*TRUE), 40, 20_000
    p, q, gamma = 6.0, 4.0, 1500.0
    age = np.full(n, 30.0)
    x, last, _ = lives(rng, n, age, 1)
    spend = x * rng.uniform(200, 900, n)
    buyers = Buyers(np.zeros(n, dtype=np.int64), x, last, age, x, np.ones(n), spend, spend**2)
    spends = {0: Spends(Estimated(np.array([p, q, gamma]), None), 0.1)}
    totals = forecast(
        BgNbd, Estimated(np.array(TRUE), None), spends, buyers, cells=1, edges=WEEKS[:2], sums=np.ones((1, 1))
    )
    alive = rng.random((draws, n)) < model.p_alive(x, last, age)
    rate = rng.gamma(TRUE[0] + x, 1 / (TRUE[1] + age), (draws, n))
    leaves, at = rng.beta(TRUE[2], TRUE[3] + x, (draws, n)), np.zeros((draws, n))
    worth, revenue = rng.gamma(q + p * x, 1 / (gamma + spend), (draws, n)), np.zeros((draws, n))
    while alive.any():
        at += rng.exponential(1 / rate)
        alive &= at < 1
        revenue[alive] += 0.9 * rng.gamma(p, 1 / worth[alive])
        alive &= rng.random((draws, n)) >= leaves
    assert totals.revenue[0, 0] == pytest.approx(revenue.sum(axis=1).mean(), rel=0.04)
    assert totals.revenue_variance[0, 0] == pytest.approx(revenue.sum(axis=1).var(), rel=0.08)
    assert interval(100.0, float("inf"), counted=False) is None
    assert interval(0.0, 0.0, counted=True) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("mean", "variance"), [(0.3, 0.3), (7.0, 6.0), (7.0, 12.0), (150.0, 400.0), (9e5, 2e6)]
)
def test_bounds_are_those_of_the_distribution_with_this_mean_and_variance(
    mean: float, variance: float
) -> None:
    if variance <= mean:
        law = stats.poisson(mean)
    else:
        law = stats.nbinom(mean**2 / (variance - mean), mean / variance)
    bounds = interval(mean, variance, counted=True)
    assert bounds == pytest.approx((law.ppf(0.025), law.ppf(0.975)), rel=1e-3)


@needs_sample
def test_cdnow_weeks_after_the_calibration() -> None:
    """The 39 weeks of the hold-out: 30 lie within bounds of 95 %, and 14 % more came than was expected. Fader
    & Hardie (2001), "Forecasting Repeat Sales at CDNOW: A Case Study", needed a component that varies with
    time to capture how these customers' repeat buying changed; the BG/NBD has none."""
    purchases = list(sample())
    histories, _ = read_log(purchases, end=CALIBRATION_END, unit="week")
    estimate = bg_nbd.fit(histories)
    edges = np.arange(40.0)
    totals = forecast(
        BgNbd,
        Estimated(np.array(list(estimate.params.values())), np.array(estimate.covariance)),
        {},
        buyers_of(histories.frequency, histories.recency, histories.age, histories.customers),
        cells=1,
        edges=edges,
        sums=np.ones((1, 1)),
    )
    days = {(p.customer, p.on) for p in purchases if CALIBRATION_END < p.on <= date(1998, 6, 30)}
    came = np.bincount([((on - CALIBRATION_END).days - 1) // 7 for _, on in days], minlength=39)
    bounds = [
        interval(m, v, counted=True)
        for m, v in zip(totals.purchases[0], totals.purchases_variance[0], strict=True)
    ]
    inside = [b is not None and b[0] <= c <= b[1] for b, c in zip(bounds, came, strict=True)]
    assert totals.purchases.sum() == pytest.approx(came.sum(), rel=0.13)
    assert sum(inside) == 30
