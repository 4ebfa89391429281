"""How things that happened are put into events."""

from hypothesis import given
from hypothesis import strategies as st

from services.profile.batches import EVENT_BYTES, in_events


@given(st.lists(st.integers(1, EVENT_BYTES * 2), max_size=2000))
def test_every_item_travels_once_in_order_in_events_of_bounded_size(sizes: list[int]) -> None:
    items = list(enumerate(sizes))
    parts = list(in_events((item, item[1]) for item in items))
    assert [item for part in parts for item in part] == items
    for part in parts:
        assert 1 <= len(part) <= 500
        assert len(part) == 1 or sum(size for _, size in part) <= EVENT_BYTES


def test_a_thousand_small_items_are_two_events() -> None:
    assert [len(part) for part in in_events((n, 100) for n in range(1000))] == [500, 500]
