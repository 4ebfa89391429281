"""The token bucket: never more than the rate over any window, and never less when asked evenly."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.limits import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_empties_the_bucket_and_waiting_refills_it() -> None:
    clock = Clock()
    limit = RateLimit("read", "5/10", tracked=10, clock=clock)
    verdicts = [limit.take("a") for _ in range(6)]
    assert [v.allowed for v in verdicts] == [True] * 5 + [False]
    assert [v.remaining for v in verdicts] == [4, 3, 2, 1, 0, 0]
    assert verdicts[-1].retry_after_s == 2
    assert limit.take("b").allowed
    clock.now += 2
    assert limit.take("a").allowed
    assert not limit.take("a").allowed
    clock.now += 100
    assert limit.take("a").remaining == 4


def test_headers_follow_the_draft() -> None:
    limit = RateLimit("write", "100/60", tracked=10, clock=Clock())
    assert limit.headers(limit.take("a")) == [
        (b"ratelimit", b'"write";r=99;t=1'),
        (b"ratelimit-policy", b'"write";q=100;w=60'),
    ]


def test_the_number_of_buckets_is_bounded() -> None:
    limit = RateLimit("read", "1/10", tracked=3, clock=Clock())
    for key in "abcd":
        assert limit.take(key).allowed
    assert not limit.take("d").allowed
    assert limit.take("a").allowed  # forgotten, in the caller's favour


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.integers(1, 8), st.integers(1, 5))
def test_no_window_sees_more_than_burst_and_refill(pauses: list[float], count: int, window: int) -> None:
    clock = Clock()
    limit = RateLimit("read", f"{count}/{window}", tracked=10, clock=clock)
    passed = []
    for pause in pauses:
        clock.now += pause
        verdict = limit.take("a")
        assert verdict.allowed == (verdict.retry_after_s == 0)
        assert 0 <= verdict.remaining < count
        if verdict.allowed:
            passed.append(clock.now)
    for i, start in enumerate(passed):
        for j in range(i, len(passed)):
            assert j - i + 1 <= count + (passed[j] - start) * count / window + 1e-6
