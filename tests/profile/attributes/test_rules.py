"""Survivorship: most trusted, then most recent; the losers stay readable."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.profile.attributes.rules import Value, observe, shown, survive

T0 = datetime(2026, 1, 1, tzinfo=UTC)
TRUST = {"crm": 80, "shop": 50, "web": 50, "ticket": 20}

values = st.builds(
    lambda value, source, days: Value(value, source, TRUST[source], T0 + timedelta(days=days)),
    st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.sampled_from(["pro", "free"])),
    st.sampled_from(sorted(TRUST)),
    st.integers(0, 5),
)


def test_the_most_trusted_source_wins_over_a_later_one() -> None:
    crm = Value("pro", "crm", 80, T0)
    web = Value("free", "web", 50, T0 + timedelta(days=9))
    assert survive([web, crm]) == [crm, web]


def test_among_equals_the_most_recent_wins() -> None:
    old, new = Value("free", "web", 50, T0), Value("pro", "shop", 50, T0 + timedelta(days=1))
    assert shown(survive([old, new])) == "pro"


def test_null_is_a_value_too() -> None:
    gone = Value(None, "web", 50, T0 + timedelta(days=1))
    assert shown(observe([Value("pro", "web", 50, T0)], [gone], keep=5)) is None


def test_one_and_true_are_two_values() -> None:
    assert len(observe([Value(1, "web", 50, T0)], [Value(True, "web", 50, T0)], keep=5)) == 2


def test_the_same_value_again_is_one_value_seen_later() -> None:
    again = Value("pro", "web", 50, T0 + timedelta(days=3))
    assert observe([Value("pro", "web", 50, T0)], [again], keep=5) == [again]
    assert observe([again], [Value("pro", "web", 50, T0)], keep=5) == [again]


def test_a_source_whose_trust_changed_is_trusted_alike_in_all_it_said() -> None:
    known = [Value("a", "web", 50, T0), Value("b", "shop", 40, T0)]
    after = observe(known, [Value("c", "shop", 90, T0 - timedelta(days=9))], keep=9)
    assert [(v.value, v.trust) for v in after] == [("b", 90), ("c", 90), ("a", 50)]


@given(st.lists(values, max_size=8), st.randoms())
def test_the_order_of_arrival_makes_no_difference(seen: list[Value], random: object) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one_by_one: list[Value] = []
    for value in shuffled:
        one_by_one = observe(one_by_one, [value], keep=99)
    assert one_by_one == observe([], seen, keep=99)


@given(st.lists(values, max_size=8))
def test_seeing_the_same_again_changes_nothing(seen: list[Value]) -> None:
    once = observe([], seen, keep=99)
    assert observe(once, seen, keep=99) == once


@given(st.lists(values, min_size=1, max_size=8), st.integers(1, 4))
def test_the_shown_value_is_never_outranked_and_the_list_is_bounded(seen: list[Value], keep: int) -> None:
    after = observe([], seen, keep=keep)
    assert 1 <= len(after) <= keep
    best = (after[0].trust, after[0].observed_at)
    assert best == max((value.trust, value.observed_at) for value in seen)
