"""What answers add up to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from services.feedback.surveys.rules import GROUPS, SurveyKind, check_score, result, student_quantile
from shared.problems import Invalid

SCALES: dict[SurveyKind, tuple[int, int]] = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}


def test_nps_is_promoters_less_detractors() -> None:
    figures = result("nps", {10: 5, 9: 1, 8: 2, 7: 0, 6: 1, 0: 1})
    assert figures.score == 40.0
    assert figures.groups == {"promoters": 6, "passives": 2, "detractors": 2}
    assert figures.mean == 8.1


def test_nps_interval_is_the_adjusted_wald_of_the_paper() -> None:
    # 10 promoters, 5 passives, 5 detractors; with 0.75, 1.5 and 0.75 added: n = 23.
    interval = result("nps", {10: 10, 8: 5, 3: 5}).interval
    assert interval is not None
    promoters, detractors = 10.75 / 23, 5.75 / 23
    half = 1.959964 * ((promoters + detractors - (promoters - detractors) ** 2) / 23) ** 0.5
    assert interval.low == pytest.approx(100 * (promoters - detractors - half), abs=0.01)
    assert interval.high == pytest.approx(100 * (promoters - detractors + half), abs=0.01)


def test_csat_is_the_share_of_the_satisfied_with_wilsons_interval() -> None:
    figures = result("csat", {5: 40, 4: 41, 3: 10, 2: 5, 1: 4})
    expected = stats.binomtest(81, 100).proportion_ci(method="wilson")
    assert figures.score == 81.0
    assert figures.interval is not None
    assert (figures.interval.low, figures.interval.high) == pytest.approx(
        (100 * expected.low, 100 * expected.high), abs=0.01
    )


def test_ces_is_the_mean_with_students_interval() -> None:
    scores = [7, 6, 6, 5, 4, 7, 2, 6]
    figures = result("ces", {score: scores.count(score) for score in set(scores)})
    mean = sum(scores) / len(scores)
    expected = stats.t.interval(0.95, len(scores) - 1, loc=mean, scale=stats.sem(scores))
    assert figures.score == round(mean, 2)
    assert figures.interval is not None
    assert (figures.interval.low, figures.interval.high) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("degrees", [1, 2, 3, 5, 10, 30, 1000])
def test_the_quantile_is_students(degrees: int) -> None:
    assert student_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=0.01)


@pytest.mark.parametrize("kind", list(SCALES))
def test_without_answers_there_is_no_figure(kind: SurveyKind) -> None:
    figures = result(kind, {})
    assert (figures.answers, figures.score, figures.mean, figures.interval) == (0, None, None, None)
    assert set(figures.groups.values()) == {0}


def test_one_answer_has_a_wide_interval_or_none() -> None:
    nps = result("nps", {10: 1}).interval
    assert nps is not None
    assert nps.low < 50
    assert result("ces", {7: 1}).interval is None


@given(st.data(), st.sampled_from(list(SCALES)))
def test_every_answer_is_in_one_group_and_the_score_in_its_interval(
    data: st.DataObject, kind: SurveyKind
) -> None:
    lowest, highest = SCALES[kind]
    counts = data.draw(st.dictionaries(st.integers(lowest, highest), st.integers(1, 10_000), min_size=1))
    figures = result(kind, counts)
    assert sum(figures.groups.values()) == figures.answers == sum(counts.values())
    assert set(figures.groups) == {name for name, _ in GROUPS[kind]}
    if figures.interval is not None and figures.score is not None and figures.answers > 50:
        assert figures.interval.low - 0.1 <= figures.score <= figures.interval.high + 0.1


@pytest.mark.parametrize(("score", "fits"), [(0, False), (1, True), (5, True), (6, False)])
def test_a_score_stays_on_its_scale(score: int, fits: bool) -> None:
    if fits:
        check_score(score, lowest=1, highest=5)
    else:
        with pytest.raises(Invalid):
            check_score(score, lowest=1, highest=5)
