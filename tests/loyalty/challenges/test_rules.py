"""Windows and streaks: weeks from Monday, months and years in UTC; badges for windows in a row."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.challenges.rules import Challenge, Every, badges, streaks, window
from tests.loyalty.points import MORNING

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "start", "end"),
    [
        ("week", datetime(2026, 2, 23, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)),
        ("month", MARCH, datetime(2026, 4, 1, tzinfo=UTC)),
        ("year", datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_window_of_a_moment(every: Every, start: datetime, end: datetime) -> None:
    assert window(every, MORNING) == (start, end)


@given(
    st.sampled_from(["week", "month", "year", "once"]),
    st.integers(0, 10**8).map(
        lambda minutes: datetime(1970, 1, 1, tzinfo=UTC) + minutes * timedelta(minutes=1)
    ),
)
def test_windows_hold_their_moment_and_follow_one_another(every: Every, moment: datetime) -> None:
    start, end = window(every, moment)
    assert start <= moment < end
    assert window(every, start) == (start, end)
    if every != "once":
        assert window(every, end)[0] == end
        assert window(every, end - timedelta(microseconds=1)) == (start, end)


TWICE = Challenge("c", 1, "c", "purchase", 1, "month", 2, "b", 0, MARCH, None)


def months(*numbers: int) -> list[datetime]:
    return [datetime(2026, month, 1, tzinfo=UTC) for month in numbers]


def test_a_badge_for_windows_in_a_row_begins_again_after_a_gap_and_after_it_was_given() -> None:
    met = months(1, 2, 4, 5, 6, 7)
    assert [streaks("month", reversed(met))[start] for start in met] == [1, 2, 1, 2, 3, 4]
    assert badges(TWICE, met, given=()) == months(2, 5, 7)
    assert badges(TWICE, met, given=months(5)) == months(2, 7)


@given(st.permutations(range(1, 13)), st.integers(1, 4), st.integers(0, 12))
def test_late_windows_bring_as_many_badges_as_windows_in_order(
    order: list[int], in_a_row: int, heard: int
) -> None:
    challenge = replace(TWICE, in_a_row=in_a_row)
    met, given_for = months(*order[:heard]), set[datetime]()
    for number in range(1, heard + 1):
        new = badges(challenge, met[:number], given_for)
        assert not given_for & set(new)
        given_for |= set(new)
    assert len(given_for) == len(badges(challenge, met, given=()))
