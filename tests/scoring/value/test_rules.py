"""Fifths, segments and the words for what is not known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.value.rules import SEGMENTS, WHY_UNKNOWN, explain_unknown, fifths, segment_of


def test_a_value_on_a_cut_point_belongs_below_it() -> None:
    assert fifths(np.array([1, 10, 11, 40, 41]), (10, 20, 30, 40)).tolist() == [1, 1, 2, 4, 5]


def test_equal_values_score_equally_even_when_cuts_coincide() -> None:
    assert fifths(np.array([1, 2, 3, 9]), (1, 1, 2, 4)).tolist() == [1, 3, 4, 5]


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4).map(sorted), st.lists(st.integers(0, 2000)))
def test_fifths_rise_with_the_value(cuts: list[int], values: list[int]) -> None:
    scores = fifths(np.array(sorted(values), dtype=float), cuts)
    assert ((scores >= 1) & (scores <= 5)).all()
    assert (np.diff(scores) >= 0).all()


def test_all_eleven_segments_are_reached() -> None:
    named = {segment_of(r, f, m) for r in range(1, 6) for f in range(1, 6) for m in range(1, 6)}
    assert named == {name for row in SEGMENTS for name in row}
    assert len(named) == 11


@pytest.mark.parametrize(
    ("scores", "segment"),
    [
        ((5, 5, 5), "champions"),
        ((5, 1, 1), "new_customers"),
        ((4, 1, 1), "promising"),
        ((4, 4, 3), "loyal_customers"),
        ((3, 3, 3), "needs_attention"),
        ((2, 4, 4), "at_risk"),
        ((1, 5, 5), "cannot_lose_them"),
        ((1, 1, 1), "lost"),
    ],
)
def test_segments_say_what_they_should(scores: tuple[int, int, int], segment: str) -> None:
    assert segment_of(*scores) == segment


def test_what_is_not_known_is_said_in_words() -> None:
    assert explain_unknown(["clv.no_model"]) == [{"what": "clv", "why": WHY_UNKNOWN["no_model"]}]
