"""What feedback must say, and the event it becomes."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake.rules import Unusable, read_feedback
from shared.contracts.gateway import FeedbackReceived
from shared.ids import new_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXAMPLE: dict[str, Any] = {
    "type": "feedback.created",
    "timestamp": "2026-03-01T11:00:00+08:00",
    "data": {
        "source_id": "F-9",
        "channel": "review",
        "kind": "complaint",
        "rating": 1,
        "text": "快递把包裹弄丢了,客服一直不回复",
        "contact": {"email": "lilei@example.com"},
        "occurred_at": "2026-03-01T10:00:00Z",
    },
}


def read(body: bytes | dict[str, Any]) -> FeedbackReceived:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_feedback(content, receipt_id=new_id(), partner="taobao", webhook_id="msg_1", now=NOW)


def with_data(**data: Any) -> dict[str, Any]:
    kept = {key: value for key, value in (EXAMPLE["data"] | data).items() if value is not ...}
    return EXAMPLE | {"data": kept}


def test_the_contracts_example_becomes_its_event() -> None:
    event = read(EXAMPLE)
    assert (event.partner, event.source_id, event.channel, event.kind) == (
        "taobao",
        "F-9",
        "review",
        "complaint",
    )
    assert event.text == EXAMPLE["data"]["text"]
    assert event.rating == 1
    assert event.occurred_at == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert [(h.kind, h.value, h.source) for h in event.contact] == [("email", "lilei@example.com", "")]
    assert event.raw == EXAMPLE["data"]


def test_what_is_left_out_has_a_meaning() -> None:
    event = read({"type": "feedback.created", "data": {"text": " ok "}})
    assert (event.source_id, event.channel, event.kind, event.text) == ("msg_1", "webhook", "review", "ok")
    assert (event.contact, event.contact_name, event.rating, event.occurred_at) == ((), None, None, NOW)
    assert read(with_data(occurred_at=...)).occurred_at == datetime(2026, 3, 1, 3, tzinfo=UTC)


def test_every_handle_of_a_contact_is_kept_once() -> None:
    contact = {
        "name": "李雷",
        "email": "lilei@example.com",
        "phone": 8613800138000,
        "external_id": {"source": "shop", "id": "C-17"},
        "external_ids": {"shop": "C-17", "crm": 5, "empty": ""},
        "wechat": "ll",
    }
    event = read(with_data(contact=contact))
    assert event.contact_name == "李雷"
    assert [(h.kind, h.source, h.value) for h in event.contact] == [
        ("external_id", "shop", "C-17"),
        ("external_id", "crm", "5"),
        ("email", "", "lilei@example.com"),
        ("phone", "", "8613800138000"),
    ]
    assert event.raw["contact"]["wechat"] == "ll"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'"\\ud800"', "not valid JSON"),
        (b"[]", "model_type"),
        (b"null", "model_type"),
        ({"type": "feedback.deleted", "data": {"text": "x"}}, "/type"),
        ({"data": {"text": "x"}}, "/type: missing"),
        ({"type": "feedback.created"}, "/data: missing"),
        (with_data(text=...), "/data/text: missing"),
        (with_data(text="  "), "/data/text: string_too_short"),
        (with_data(text="x" * 20_001), "/data/text: string_too_long"),
        (with_data(text=["x"]), "/data/text"),
        (with_data(rating="good"), "/data/rating"),
        (with_data(rating=1e300), "/data/rating"),
        (with_data(occurred_at="2026-03-01T10:00:00"), "/data/occurred_at: timezone_aware"),
        (with_data(occurred_at="0001-01-01T00:00:00+14:00"), "cannot be stored"),
        (with_data(contact="lilei@example.com"), "/data/contact"),
        (with_data(contact={"external_id": "C-17"}), "/data/contact/external_id"),
        (with_data(text="a\x00b"), "NUL"),
        (with_data(extra={"k\x00": 1}), "NUL"),
        (b'{"type": "feedback.created", "data": ' + b"[" * 500 + b"]" * 500 + b"}", "nested deeper"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_no_feedback_says_why_without_the_value(body: Any, reason: str) -> None:
    with pytest.raises(Unusable) as refused:
        read(body)
    assert reason in refused.value.reason
    assert "lilei" not in refused.value.reason
    assert "快递" not in refused.value.reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_unusable(body: bytes) -> None:
    with pytest.raises(Unusable):
        read(body)


@given(st.dictionaries(st.sampled_from([*EXAMPLE["data"], "other"]), json_values))
def test_no_json_raises_anything_but_unusable(data: dict[str, Any]) -> None:
    import json

    body = json.dumps(EXAMPLE | {"data": EXAMPLE["data"] | data}).encode()
    try:
        event = read(body)
    except Unusable:
        return
    assert FeedbackReceived.model_validate_json(event.model_dump_json()) == event
