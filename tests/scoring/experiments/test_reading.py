"""Peeking every day does not make effects: simulated experiments, sample sizes of the literature, arms."""

import hashlib
import json
import math
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from scipy.stats import chisquare
from typer.testing import CliRunner

from services.scoring.cli import app
from services.scoring.experiments.assignment import BUCKETS, bucket, edges, place, widths
from services.scoring.experiments.reading import (
    Floats,
    Moments,
    customers_needed,
    effect,
    fixed_spread,
    mismatch,
    relative,
    spread,
)
from services.scoring.experiments.sizing import of_means, of_shares, penalty, size

EXPERIMENTS, DAYS, PER_DAY, ALPHA = 1000, 28, 60, 0.05


def daily(y: Floats, x: Floats | None = None) -> Moments:
    """What is known at the end of each day of outcomes of shape (experiments, days, customers a day)."""
    n = np.arange(1, y.shape[1] + 1) * float(y.shape[2]) * np.ones((y.shape[0], 1))

    def mean(values: Floats) -> Floats:
        found: Floats = values.sum(axis=2).cumsum(axis=1) / n
        return found

    def covariance(a: Floats, b: Floats) -> Floats:
        found: Floats = (mean(a * b) - mean(a) * mean(b)) * n / (n - 1)
        return found

    active = (y != 0).sum(axis=2).cumsum(axis=1).astype(float)
    if x is None:
        return Moments(n, mean(y), covariance(y, y), active)
    return Moments(n, mean(y), covariance(y, y), active, mean(x), covariance(x, x), covariance(y, x))


def missed(treated: Moments, control: Moments, truth: float, *, share: bool) -> tuple[float, float]:
    """The share of experiments whose interval ever missed the truth: always-valid, and fixed-horizon."""
    found = effect(treated, control, share=share)
    off = np.abs(found.estimate - truth) / found.error
    planned = 1000.0
    return (
        float((off > spread(planned, ALPHA, found.customers)).any(axis=1).mean()),
        float((off > fixed_spread(ALPHA)).any(axis=1).mean()),
    )


def revenue(rng: np.random.Generator, shape: tuple[int, ...], lift: float = 0.0) -> tuple[Floats, Floats]:
    """Heavy-tailed spend of which 30 % is anything, and what the same customers spent before."""
    habit = rng.lognormal(0, 1, shape)
    buys = rng.random(shape) < 0.3
    y = buys * habit * rng.lognormal(7, 1, shape) + lift
    return y, habit * rng.lognormal(7, 0.5, shape)


def test_peeking_daily_at_no_effect_finds_one_in_at_most_6_of_100() -> None:
    rng = np.random.default_rng(7)
    shape = (EXPERIMENTS, DAYS, PER_DAY)
    for rate in (0.03, 0.3):
        arms = [daily((rng.random(shape) < rate).astype(float)) for _ in range(2)]
        safe, fixed = missed(*arms, 0, share=True)
        assert safe <= 0.06
        assert fixed > 0.15, "the simulation must be one in which peeking does harm"
    arms = [daily(*revenue(rng, shape)) for _ in range(2)]
    safe, fixed = missed(*arms, 0, share=False)
    assert safe <= 0.06
    assert fixed > 0.15


def test_outcomes_that_still_grow_and_uneven_arms_are_no_excuse() -> None:
    # Everyone is exposed on the first day or later; what each has bought so far is read daily. Nine in ten
    # are treated, so the control arm is small.
    rng = np.random.default_rng(11)
    everyone, share = 1200, 0.9
    for late in (1, DAYS):
        begins = rng.integers(0, late, (EXPERIMENTS, everyone))
        buys = begins + rng.exponential(60, (EXPERIMENTS, everyone))  # the day of the first purchase
        treated = rng.random((EXPERIMENTS, everyone)) < share
        looks = []
        for arm in (treated, ~treated):
            n = np.stack([(arm & (begins <= d)).sum(axis=1) for d in range(DAYS)], axis=1).astype(float)
            bought = np.stack([(arm & (buys <= d + 1)).sum(axis=1) for d in range(DAYS)], axis=1)
            p = bought / np.maximum(n, 1)
            looks.append(Moments(n, p, p * (1 - p), bought.astype(float)))
        safe, _ = missed(*looks, 0, share=True)
        assert safe <= 0.06


def test_intervals_cover_the_effect_at_all_looks_and_find_it() -> None:
    rng = np.random.default_rng(13)
    shape = (EXPERIMENTS, DAYS, PER_DAY)
    treated, control = (daily((rng.random(shape) < rate).astype(float)) for rate in (0.16, 0.10))
    assert missed(treated, control, 0.06, share=True)[0] <= 0.06
    found = effect(treated, control, share=True)
    low = found.estimate - spread(3000, ALPHA, found.customers) * found.error
    assert (low > 0).any(axis=1).mean() > 0.9

    lift = 700.0
    treated, control = daily(*revenue(rng, shape, lift)), daily(*revenue(rng, shape))
    assert missed(treated, control, lift, share=False)[0] <= 0.06
    found = effect(treated, control, share=False)
    assert found.reduced[:, -1].mean() > 0.04, "what was spent before explains some of what is spent now"
    plain = effect(
        Moments(treated.n, treated.mean, treated.variance, treated.active),
        Moments(control.n, control.mean, control.variance, control.active),
        share=False,
    )
    assert found.error[:, -1].mean() < plain.error[:, -1].mean()
    low = found.estimate - spread(3000, ALPHA, found.customers) * found.error
    assert (low > 0).any(axis=1).mean() > 0.8
    # Relative to the control's mean: covered at the end as often as a single reading should be.
    share, low, high = relative(found, treated, control, np.array(1.96))
    truth = lift / control.mean.mean(axis=0)[-1]
    known = np.isfinite(share[:, -1])
    assert known.mean() > 0.9
    assert 0.93 < ((low[:, -1] < truth) & (truth < high[:, -1]))[known].mean() <= 1
    assert np.median(share[known, -1]) == pytest.approx(truth, rel=0.05)


def test_too_few_customers_or_no_variance_give_no_interval() -> None:
    def arm(n: float, mean: float, variance: float, active: float) -> Moments:
        return Moments(*(np.array(v) for v in (n, mean, variance, active)))

    assert np.isnan(effect(arm(49, 0.1, 0.09, 5), arm(900, 0.1, 0.09, 90), share=True).error)
    assert np.isnan(effect(arm(900, 5, 40, 29), arm(900, 5, 40, 500), share=False).error)
    assert np.isnan(effect(arm(900, 5, 0, 900), arm(900, 5, 0, 900), share=False).error)
    # A share of nobody has a standard error all the same: none of 60 is not exactly zero.
    assert effect(arm(60, 0, 0, 0), arm(540, 0.05, 0.0475, 27), share=True).error > 0.018


def test_sizes_are_those_of_the_literature() -> None:
    # Zar (1999), Biostatistical Analysis, example 24.26: 45 % against 25 %, alpha 0.05, power 0.9, with the
    # correction for continuity: 127.2343 each, and 83.1527 in the smaller of arms of 1 to 3.
    def corrected(n: float, ratio: float) -> float:
        return n / 4 * (1 + math.sqrt(1 + 2 * (ratio + 1) / (n * ratio * 0.2))) ** 2

    assert corrected(of_shares(0.45, -0.20, ratio=1, alpha=0.05, power=0.9), 1) == pytest.approx(
        127.2343, abs=0.01
    )
    assert corrected(of_shares(0.45, -0.20, ratio=3, alpha=0.05, power=0.9), 3) == pytest.approx(
        83.1527, abs=0.01
    )
    # Chow, Shao & Wang (2003), example 3.2.4, as in the R package TrialSize.
    assert math.ceil(of_means(0.1, 0.05, ratio=1, alpha=0.05, power=0.8)) == 63
    kwargs: dict[str, Any] = {"baseline": 0.1, "deviation": None, "effect": 0.02, "control": 0, "alpha": 0.05}
    even = size(**kwargs, shares=[0.5, 0.5], power=0.8, per_day=100.0)
    assert (even.once, even.days_once) == (2 * 3841, 77)
    assert even.any_time == pytest.approx(even.once * penalty(0.05, 0.8), abs=1)
    assert 1.9 < penalty(0.05, 0.8) < 2.1
    assert size(**kwargs, shares=[0.4, 0.3, 0.3], power=0.8, per_day=None).once > even.once
    # Read at any time, the number asked for is the number after which the effect is mostly seen.
    needed = customers_needed(0.01, 1000, 0.02, 0.05, 0.8)
    spread_then = float(spread(needed, 0.05, np.array(needed))) * 0.01 * math.sqrt(1000 / needed)
    assert spread_then + 0.8416 * 0.01 * math.sqrt(1000 / needed) == pytest.approx(0.02, rel=1e-3)


def test_a_size_is_reckoned_without_a_gateway() -> None:
    def ask(*more: str) -> Any:
        return CliRunner().invoke(app, ["experiment", "size", "--effect", "0.02", *more])

    told = json.loads(ask("--baseline", "0.1", "--per-day", "100", "--json").output)
    assert (told["once"], told["days_once"], told["any_time"]) == (7682, 77, 14713)
    for wrong, words in (
        (("--baseline", "0.99"), "must lie between 0 and 1"),
        (("--baseline", "0.1", "--shares", "0.5,0.4"), "shares must sum to 1, not 0.9"),
        (("--baseline", "0.1", "--shares", "half,half"), "must be numbers"),
    ):
        refused = ask(*wrong)
        assert (refused.exit_code, words in refused.output) == (1, True), refused.output


def test_an_arm_is_found_by_a_partner_who_has_only_the_salt() -> None:
    customer = UUID("0197f2a0-0000-7000-8000-00000000002a")
    by_hand = (
        int(hashlib.sha256(b"pepper:0197f2a0-0000-7000-8000-00000000002a").hexdigest()[:16], 16) % 10_000
    )
    assert bucket("pepper", customer) == by_hand
    assert place("pepper", customer, [by_hand / BUCKETS, 1 - by_hand / BUCKETS]) == 1
    assert place("pepper", customer, [(by_hand + 1) / BUCKETS, 1 - (by_hand + 1) / BUCKETS]) == 0
    assert edges([1 / 3, 1 / 3, 1 / 3])[-1] == BUCKETS
    assert sum(widths([1 / 3, 1 / 3, 1 / 3])) == pytest.approx(1)


def test_arms_are_as_large_as_their_shares_and_independent_between_experiments() -> None:
    shares = [0.5, 0.3, 0.2]
    customers = [UUID(int=n) for n in range(20_000)]  # ids that differ in little are divided as well
    first = np.array([place("one", c, shares) for c in customers])
    second = np.array([place("two", c, shares) for c in customers])
    counts = np.bincount(first, minlength=3).tolist()
    assert mismatch(counts, shares) > 0.01
    assert mismatch([5300, 4700], [0.5, 0.5]) < 0.0005
    assert mismatch([44_000, 45_000], [0.5, 0.5]) == pytest.approx(0.0008, abs=0.0001)
    for sizes in ([30, 25, 20], [30, 25, 20, 25], [5, 5]):
        expected = chisquare(sizes).pvalue
        assert mismatch(sizes, [1 / len(sizes)] * len(sizes)) == pytest.approx(expected)
    together = np.histogram2d(first, second, bins=3)[0].ravel().tolist()
    expected = np.outer(shares, shares).ravel().tolist()
    assert mismatch([int(n) for n in together], expected) > 0.01
    buckets = np.bincount([bucket("one", c) // 100 for c in customers], minlength=100)
    assert mismatch(buckets.tolist(), [0.01] * 100) > 0.01
