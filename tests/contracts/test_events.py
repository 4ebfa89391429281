"""Contracts: envelopes are CloudEvents, every event is heard, shapes only grow."""

from datetime import UTC, datetime
from uuid import uuid4

import orjson
import pytest

from shared.contracts import UnknownEvent, decode, encode
from shared.contracts.envelope import event_types
from shared.contracts.loyalty import PointsEarned
from shared.contracts.subscriptions import SUBSCRIPTIONS
from shared.ids import new_id

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)


def earned() -> PointsEarned:
    return PointsEarned(
        customer_id=uuid4(), transfer_id=uuid4(), points=5, balance=5, reason="purchase", occurred_at=NOW
    )


def test_an_event_reads_back_as_it_was_written() -> None:
    data, event_id = earned(), new_id()
    event = decode(encode(data, event_id=event_id, time=NOW, traceparent="00-a-b-01"))
    assert event.data == data
    assert (event.id, event.type, event.source) == (event_id, "points.earned", "/loyalty")
    assert (event.subject, event.traceparent, event.time) == (str(data.customer_id), "00-a-b-01", NOW)


def test_the_envelope_holds_what_cloudevents_requires() -> None:
    envelope = orjson.loads(encode(earned(), event_id=new_id(), time=NOW, traceparent=None))
    assert envelope["specversion"] == "1.0"
    assert envelope["dataschema"] == "/schemas/points.earned.v1.json"
    assert {"id", "source", "type", "time", "subject", "datacontenttype", "data"} <= envelope.keys()
    assert "traceparent" not in envelope


def test_optional_fields_added_by_a_newer_producer_are_ignored() -> None:
    envelope = orjson.loads(encode(earned(), event_id=new_id(), time=NOW, traceparent=None))
    envelope["data"]["added_later"] = 1
    assert decode(orjson.dumps(envelope)).type == "points.earned"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b'{"type": "points.earned"}',
        b'{"type": "no.such", "dataschema": "/schemas/no.such.v1.json"}',
        b'{"type": "points.earned", "dataschema": "/schemas/points.earned.v9.json"}',
        b'{"type": ["a"], "dataschema": "/schemas/points.earned.v1.json"}',
    ],
)
def test_what_is_not_an_event_is_refused_as_unknown(body: bytes) -> None:
    with pytest.raises(UnknownEvent):
        decode(body)


# Said to whoever asked for an erasure, and to whoever watches: no part of ours reacts to them.
OUTGOING = {"erasure.completed", "alert.raised"}


def test_every_event_has_a_listener_and_every_listener_an_event() -> None:
    known = {model.type for model in event_types()}
    heard = {kind for kinds in SUBSCRIPTIONS.values() for kind in kinds}
    assert known - OUTGOING == heard


def test_every_domain_event_is_a_line_of_the_journey() -> None:
    domain = {
        model.type
        for model in event_types()
        if not model.type.startswith("section.")
        and model.type not in {"feedback.received", "customer.erased", *OUTGOING}
    }
    assert set(SUBSCRIPTIONS["gateway.timeline"]) == domain
