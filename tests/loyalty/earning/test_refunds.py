"""What is taken back: each share once, the same however it is cut up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.earning.refunds import Taken, due_back, due_back_arithmetic


@pytest.mark.parametrize(
    ("award", "due"),
    [
        (Taken(129, 0, 12900, 12900, 0), 129),  # all
        (Taken(129, 0, 12900, 6450, 0), 64),  # half, rounded down
        (Taken(129, 0, 12900, 12900, 64), 65),  # the other half takes the rest
        (Taken(129, 0, 12900, 99999, 0), 129),  # never more than was earned
        (Taken(129, 0, 12900, 6450, 64), 0),  # done
        (Taken(129, 0, 12900, 6450, 129), 0),  # an operator took it all before
        (Taken(0, 0, 50, 50, 0), 0),
        (Taken(100, 29, 0, 0, 0), 29),  # a recount found 29 too many
        (Taken(100, 29, 12900, 6450, 29), 50),  # and half of what stayed came back
    ],
)
def test_refunds_and_recounts_take_back_their_share(award: Taken, due: int) -> None:
    assert due_back(award) == due


@given(st.integers(0, 2**53), st.integers(1, 2**53), st.lists(st.integers(1, 2**50), max_size=20))
def test_many_small_refunds_take_exactly_what_one_large_one_does(
    earned: int, paid: int, parts: list[int]
) -> None:
    taken = 0
    for n in range(len(parts)):
        taken += due_back(Taken(earned, 0, paid, sum(parts[: n + 1]), taken))
    assert taken == due_back(Taken(earned, 0, paid, sum(parts), 0))
    assert 0 <= taken <= earned


def test_the_share_that_is_taken_back_is_shown() -> None:
    assert due_back_arithmetic(Taken(129, 0, 12900, 6450, 0)) == "floor(129 × 6450 ÷ 12900) = 64"
    assert due_back_arithmetic(Taken(129, 0, 12900, 12900, 64)) == (
        "floor(129 × 12900 ÷ 12900) = 129, less 64 taken before"
    )
    assert due_back_arithmetic(Taken(100, 29, 0, 0, 0)) == "29 too much by the order of time"
