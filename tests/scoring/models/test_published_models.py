"""Published results of Pareto/NBD, MBG/NBD, BG/BB and shifted-beta-geometric, to the digits printed.

Sources: Fader, Hardie & Lee (2005), Marketing Science 24(2), table 2 (Pareto/NBD on CDNOW); the walkthrough
of R's BTYD 2.4 (customer 1516, BG/BB customers A and B); R's BTYDplus, repeated by the tests of lifetimes
0.11 (MBG/NBD on CDNOW); Fader, Hardie & Shang (2010), Marketing Science 29(6), tables 2, 3, 6 and 7 (BG/BB
on donations); Fader & Hardie (2007), Journal of Interactive Marketing 21(1) and its spreadsheets (sBG).
"""

import numpy as np
import pytest

from services.scoring.facts.histories import Histories, read_log
from services.scoring.models import bg_bb, mbg_nbd, pareto_nbd
from services.scoring.models import shifted_beta_geometric as sbg
from services.scoring.models.bg_bb import BgBb
from services.scoring.models.pareto_nbd import ParetoNbd
from services.scoring.models.shifted_beta_geometric import ShiftedBetaGeometric, tenures_of
from tests.scoring.cdnow import CALIBRATION_END, needs_sample, sample

# x, t_x and how many of the 11,104 donors of 1995 gave so in the six years to 2001.
DONATIONS = (
    (6, 6, 1203), (5, 6, 728), (4, 6, 512), (3, 6, 357), (2, 6, 234), (1, 6, 129), (5, 5, 335), (4, 5, 284),
    (3, 5, 225), (2, 5, 173), (1, 5, 119), (4, 4, 240), (3, 4, 181), (2, 4, 155), (1, 4, 78), (3, 3, 322),
    (2, 3, 255), (1, 3, 129), (2, 2, 613), (1, 2, 277), (1, 1, 1091), (0, 0, 3464),
)  # fmt: skip

# Subscribers who survive year by year, in percent; the models are fitted to the first seven years.
REGULAR = (100, 63.1, 46.8, 38.2, 32.6, 28.9, 26.2, 24.1, 22.3, 20.7, 19.4, 18.3, 17.3)
HIGH_END = (100, 86.9, 74.3, 65.3, 59.3, 55.1, 51.7, 49.1, 46.8, 44.5, 42.7, 40.9, 39.4)


def rounded(params: dict[str, float]) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in params.values())


@needs_sample
def test_pareto_nbd_on_cdnow() -> None:
    estimate = pareto_nbd.fit(read_log(sample(), end=CALIBRATION_END, unit="week")[0])
    assert tuple(estimate.params) == ("r", "alpha", "s", "beta")
    assert rounded(estimate.params) == (0.553, 10.578, 0.606, 11.669)
    assert round(estimate.log_likelihood, 1) == -9595.0
    model = ParetoNbd(**estimate.params)
    assert model.expected_purchases(52, 0, 0, 0)[0] == pytest.approx(1.473434, abs=2e-6)
    assert model.expected_purchases(52, 26, 30.86, 31)[0] == pytest.approx(25.46, abs=0.005)
    assert model.p_alive(26, 30.86, 31)[0] == pytest.approx(0.9979, abs=5e-5)


@needs_sample
def test_mbg_nbd_on_cdnow() -> None:
    estimate = mbg_nbd.fit(read_log(sample(), end=CALIBRATION_END, unit="week")[0])
    assert rounded(estimate.params) == pytest.approx((0.525, 6.183, 0.891, 1.614), abs=1e-9)


def test_bg_bb_on_donations() -> None:
    x, last, donors = np.array(DONATIONS, dtype=float).T
    estimate = bg_bb.fit(Histories(x, last, np.full(x.size, 6.0), donors))
    assert estimate.customers == 11104
    assert rounded(estimate.params) == (1.204, 0.750, 0.657, 2.783)
    assert round(estimate.log_likelihood, 1) == -33225.6
    model = BgBb(**estimate.params)
    assert model.expected_purchases(10, [0, 4], [0, 5], 6) == pytest.approx([0.1302169, 3.627858], rel=1e-4)
    assert np.round(model.p_alive([0, 2, 6], [0, 4, 6], 6), 2).tolist() == [0.11, 0.59, 0.93]
    assert np.round(model.expected_purchases(5, [0, 6], [0, 6], 6), 2).tolist() == [0.07, 3.75]


@pytest.mark.parametrize(
    ("survivors", "params", "log_likelihood"),
    [(REGULAR, (0.704, 1.182), -1680.3), (HIGH_END, (0.668, 3.806), -1611.2)],
)
def test_shifted_beta_geometric_on_the_two_cohorts(
    survivors: tuple[float, ...], params: tuple[float, ...], log_likelihood: float
) -> None:
    estimate = sbg.fit(tenures_of({"cohort": [10 * share for share in survivors[:8]]}))
    assert rounded(estimate.params) == params
    assert round(estimate.log_likelihood, 1) == log_likelihood
    projected = ShiftedBetaGeometric(**estimate.params).survival(12)
    assert 100 * projected[8:] == pytest.approx(survivors[8:], abs=1.7)
