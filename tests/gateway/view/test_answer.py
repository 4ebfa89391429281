"""How answers are put together and handles read; no database."""

from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.view.answer import EMPTY, choose, compose, entity_tag, from_rows, stamp, unchanged
from gateway.view.identities import digest, e164, handle_of_parameter, handles_of
from gateway.view.lines import lines_of, ticket_owners
from gateway.view.position import Position, parse
from gateway.view.schemas import View
from shared.contracts.feedback import TicketOpened
from shared.contracts.sections import SECTIONS
from shared.ids import new_id
from shared.problems import Invalid
from tests.gateway.view.made import linked, purchases, resolved, ticket

CUSTOMER = UUID("01a20a2c-9b56-70da-9b7a-2a1518f727ab")
bodies = st.one_of(
    st.none(),
    st.dictionaries(
        st.text(max_size=5), st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.text())
    ),
)


@given(st.dictionaries(st.sampled_from(SECTIONS), st.tuples(st.integers(1, 2**62), bodies)))
def test_an_answer_is_json_of_the_promised_shape(
    stored: dict[str, tuple[int, dict[str, object] | None]],
) -> None:
    rows = [
        (name, version, '"2026-03-01T12:00:00+00:00"', None if body is None else orjson.dumps(body).decode())
        for name, (version, body) in stored.items()
    ]
    shown = from_rows(rows)
    gone = stored.get("profile", (1, {}))[1] is None or not any(
        body is not None for _, body in stored.values()
    )
    assert (shown is None) == gone
    if shown is not None:
        answer = orjson.loads(compose(CUSTOMER, shown))
        View.model_validate(answer)
        assert list(answer) == ["customer_id", "merged_into", *SECTIONS, "meta"]
        for name, (version, body) in stored.items():
            assert answer[name] == body
            state = answer["meta"]["sections"][name]
            assert (state["version"], state["as_of"]) == (version, "2026-03-01T12:00:00Z")
        assert answer["meta"]["complete"] is ("profile" in stored)


def test_equal_versions_of_two_customers_are_two_answers() -> None:
    shown = dict.fromkeys(SECTIONS, EMPTY)
    assert entity_tag(CUSTOMER, shown) != entity_tag(new_id(), shown)


@pytest.mark.parametrize(
    ("held", "same"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ("", False),
    ],
)
def test_preconditions_are_compared_weakly(held: str, same: bool) -> None:
    assert unchanged(held, '"a"') is same


def test_sections_are_chosen_in_the_answers_order() -> None:
    assert choose("scoring,profile,scoring", "sections") == ["profile", "scoring"]
    assert choose(None, "sections") == SECTIONS
    with pytest.raises(Invalid):
        choose("profile,", "sections")


@pytest.mark.parametrize("microsecond", [0, 120])
def test_times_are_rfc_3339(microsecond: int) -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, microsecond, tzinfo=UTC)
    assert stamp(moment).endswith("Z")
    assert datetime.fromisoformat(stamp(moment)) == moment


@given(st.lists(st.integers(0, 10**17), min_size=5, max_size=5))
def test_positions_read_as_they_were_written(numbers: list[int]) -> None:
    position = Position(numbers[0], tuple(numbers[1:]))
    assert parse(str(position)) == position


@given(st.emails(), st.emails())
def test_addresses_that_differ_in_case_only_are_one(one: str, other: str) -> None:
    assert digest("email", one) == digest("email", one.upper().lower())
    assert (digest("email", one) == digest("email", other)) == (one.lower() == other.lower())


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+8613800138000", "+8613800138000"),
        ("+86 138-0013-8000", "+8613800138000"),
        ("13800138000", None),
        ("+", None),
        ("abc", None),
        ("+86²", None),
    ],
)
def test_phone_numbers_are_international(written: str, number: str | None) -> None:
    assert e164(written) == number


def test_kinds_and_sources_keep_handles_apart() -> None:
    held = [digest("external_id", "C-1", "shop"), digest("external_id", "C-1", "crm"), digest("email", "C-1")]
    assert len(set(held)) == 3
    assert handle_of_parameter("external_id", "shop:C-1") == held[0]


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_identities_of_any_shape_are_read_or_passed_over(identities: object) -> None:
    assert isinstance(handles_of({"identities": identities}), set)
    assert handles_of({"identities": [identities]}) == set() or isinstance(identities, dict)


def test_batched_events_give_a_line_for_each_item() -> None:
    one, other = new_id(), new_id()
    lines = list(lines_of(purchases(one, other)))
    assert [(line.customer_id, line.item) for line in lines] == [(one, 0), (other, 1)]


def test_events_about_tickets_say_whose_they_are_in_any_order() -> None:
    customer, one, other = new_id(), new_id(), new_id()
    told = [linked(one, customer), ticket(TicketOpened, one, None), ticket(TicketOpened, other, None)]
    assert ticket_owners(told) == {one: customer, other: None}
    assert ticket_owners([ticket(TicketOpened, other, None), resolved(other, customer)]) == {other: customer}
