"""The hold-out: splitting a log, judging models by it, the table and the chart."""

from datetime import date, timedelta
from xml.etree import ElementTree

import numpy as np
import pytest

from services.scoring.facts.histories import Purchased
from services.scoring.models.evaluation import Quality, SpendQuality, evaluate, repeat_the_rate, split
from services.scoring.models.pareto_nbd import ParetoNbd
from services.scoring.models.report import as_svg, compare
from tests.scoring.cdnow import CALIBRATION_END, needs_sample, sample

END = date(2026, 3, 31)


def log(*days: int) -> list[Purchased]:
    """Purchases of one customer on days counted from the calibration's end."""
    return [Purchased("c", END + timedelta(days=day)) for day in days]


def test_a_log_is_split_at_the_end_of_calibration() -> None:
    purchases = [*log(-70, -70, -14, 1, 20, 35), Purchased("later", END + timedelta(days=3))]
    hold_out = split(purchases, calibration_end=END, until=END + timedelta(days=28), unit="week")
    seen = hold_out.histories
    assert (seen.frequency, seen.recency, seen.age, seen.customers) == ([1], [8], [10], [1])
    assert (hold_out.bought, hold_out.horizon) == ([2], 4)
    assert repeat_the_rate(hold_out) == pytest.approx([0.4])


def test_occasions_are_periods_that_end_with_the_calibration() -> None:
    # Weeks before: day 0 and -6 are in the last one, -7 in the one before it.
    hold_out = split(
        log(-20, -7, -6, 0, 1, 7, 8, 21, 23),
        calibration_end=END,
        until=END + timedelta(days=23),
        unit="week",
        occasions=True,
    )
    seen = hold_out.histories
    assert (seen.frequency, seen.recency, seen.age) == ([2], [2], [2])
    assert (hold_out.bought, hold_out.horizon) == ([3], 3)


def test_a_hold_out_of_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than one week"):
        split(log(-5), calibration_end=END, until=END + timedelta(days=3), unit="week")


@needs_sample
def test_cdnow_is_predicted_as_the_paper_shows_it() -> None:
    """Fader, Hardie & Lee (2005), figure 4: conditional expectations, as BTYD's walkthrough prints them."""
    comparison = compare(
        list(sample()), calibration_end=CALIBRATION_END, until=date(1998, 6, 30), unit="week"
    )
    judged = {one.model: one.quality for one in comparison.models}
    assert list(judged) == ["bg_nbd", "mbg_nbd", "pareto_nbd", "bg_bb", "gamma_gamma"]
    pareto = judged["pareto_nbd"]
    assert isinstance(pareto, Quality)
    assert [group.customers for group in pareto.groups] == [1411, 439, 214, 100, 62, 38, 29, 64]
    assert np.round([group.bought for group in pareto.groups[:3]], 4).tolist() == [0.2367, 0.6970, 1.3925]
    assert np.round([group.predicted for group in pareto.groups[:3]], 3).tolist() == [0.138, 0.599, 1.196]
    for quality in judged.values():
        assert isinstance(quality, Quality | SpendQuality)
        assert quality.error < quality.heuristic_error
    chart = ElementTree.fromstring(as_svg(comparison))  # noqa: S314
    names = [element.text for element in chart.iter("{http://www.w3.org/2000/svg}text")]
    assert {"came", "bg_nbd", "mbg_nbd", "pareto_nbd", "heuristic", "7+"} <= set(names)
    assert len(list(chart.iter("{http://www.w3.org/2000/svg}polyline"))) == 5


def test_models_that_refuse_are_named_with_the_reason() -> None:
    comparison = compare(log(-70, -3, 5), calibration_end=END, until=END + timedelta(days=28), unit="week")
    assert {one.model for one in comparison.models if one.refused} == {
        "bg_nbd", "mbg_nbd", "pareto_nbd", "bg_bb", "gamma_gamma",
    }  # fmt: skip
    with pytest.raises(ValueError, match="nothing to draw"):
        as_svg(comparison)


def test_errors_are_means_over_customers_not_over_histories() -> None:
    purchases = [
        Purchased(n, END - timedelta(days=70 - 35 * again)) for n in range(9) for again in range(1 + (n == 0))
    ]
    hold_out = split(purchases, calibration_end=END, until=END + timedelta(days=7), unit="week")
    quality = evaluate(ParetoNbd(0.5, 10.0, 0.6, 11.0), hold_out)
    assert quality.heuristic_error == pytest.approx(0.1 / 9)
    assert [group.customers for group in quality.groups] == [8, 1]
