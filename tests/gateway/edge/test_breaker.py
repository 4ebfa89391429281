"""The breaker's rules, on a clock of the test's own."""

import pytest

from gateway.edge.breaker import Breaker, BreakerOpen


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(3, 10.0, clock)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.admit()
        breaker.failed()


def test_only_failures_in_a_row_open_it(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.admit()
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"


def test_open_it_refuses_and_says_for_how_long(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 4
    with pytest.raises(BreakerOpen) as refused:
        breaker.admit()
    assert refused.value.retry_after_s == pytest.approx(6)


def test_then_exactly_one_probe_passes(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    breaker.admit()
    assert breaker.state == "probing"
    with pytest.raises(BreakerOpen):
        breaker.admit()
    breaker.succeeded()
    breaker.admit()
    assert breaker.state == "closed"


def test_a_failed_probe_opens_it_again_at_once(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    fail(breaker, 1)
    assert breaker.state == "open"
    with pytest.raises(BreakerOpen):
        breaker.admit()


def test_a_probe_whose_caller_went_away_leaves_room_for_another(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    breaker.admit()
    breaker.given_up()
    breaker.admit()
    assert breaker.state == "probing"
