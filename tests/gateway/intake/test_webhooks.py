"""Webhooks through the real door: accepted with their event, refused, repeated, quarantined."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from shared.contracts import Event, decode
from shared.contracts.gateway import FeedbackReceived
from tests.gateway.edge.doors import OPERATOR, caller
from tests.gateway.intake.conftest import Partner, StartGateway
from tests.support.apps import eventually

BODY: dict[str, Any] = {
    "type": "feedback.created",
    "timestamp": "2026-03-01T10:00:01Z",
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


async def events(gateway: FastAPI) -> list[Event[Any]]:
    """What stands in the outbox: nobody hears feedback.received here, so it stays."""
    rows = await gateway.state.database.pool.fetch("SELECT envelope FROM outbox ORDER BY id")
    return [decode(row["envelope"]) for row in rows]


@pytest.fixture
def heard(gateway: FastAPI) -> list[Event[Any]]:
    """Events that were published, kept as they come."""
    found: list[Event[Any]] = []
    gateway.state.bus.listen([FeedbackReceived.type], lambda envelope: found.append(decode(envelope)))
    return found


async def test_a_signed_webhook_is_accepted_and_becomes_one_event(
    partner: Partner, heard: list[Event[Any]]
) -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    answer = await partner.send(BODY, "msg_1", traceparent=trace)
    assert answer.status_code == 202
    receipt_id = answer.json()["receipt_id"]
    assert answer.json() == {"receipt_id": receipt_id, "status": "accepted"}
    assert answer.headers["location"] == f"/v1/receipts/{receipt_id}"
    assert answer.headers["ratelimit-policy"] == '"intake";q=20000;w=10'
    (event,) = await eventually(lambda: heard, within_s=3)
    assert (event.type, event.source, event.subject) == ("feedback.received", "/gateway", None)
    assert event.traceparent.split("-")[1] == "a" * 32
    data = event.data
    assert (str(data.receipt_id), data.partner, data.source_id) == (receipt_id, "taobao", "F-9")
    assert data.text == BODY["data"]["text"]
    assert data.contact[0].value == "lilei@example.com"
    assert data.occurred_at == datetime(2026, 3, 1, 10, tzinfo=UTC)


async def test_a_repeat_is_a_duplicate_of_the_first(partner: Partner, heard: list[Event[Any]]) -> None:
    first = await partner.send(BODY, "msg_1")
    again = await partner.send(BODY, "msg_1")
    assert again.status_code == 200
    assert again.json() == {"receipt_id": first.json()["receipt_id"], "status": "duplicate"}
    assert again.headers["location"] == first.headers["location"]
    other = await partner.send(BODY, "msg_2")
    assert other.json()["status"] == "accepted"
    await eventually(lambda: len(heard) == 2)


async def test_many_repeats_at_once_are_one_receipt_and_one_event(
    partner: Partner, gateway: FastAPI, heard: list[Event[Any]]
) -> None:
    answers = await asyncio.gather(*(partner.send(BODY, f"msg_{n % 4}") for n in range(40)))
    assert sorted(a.status_code for a in answers) == [200] * 36 + [202] * 4
    for n in range(4):
        assert len({a.json()["receipt_id"] for a in answers[n::4]}) == 1
    assert await gateway.state.database.pool.fetchval("SELECT count(*) FROM receipts") == 4
    await eventually(lambda: len(heard) == 4)


async def test_two_partners_may_use_one_webhook_id(partner: Partner, operator: httpx.AsyncClient) -> None:
    made = (await operator.post("/v1/admin/partners", json={"name": "jd"})).json()
    other = Partner(partner.app, "jd", made["secret"])
    assert (await partner.send(BODY, "msg_1")).status_code == 202
    assert (await other.send(BODY, "msg_1")).status_code == 202
    assert (await other.send(BODY, secret=partner.secret)).status_code == 401


async def test_whatever_is_not_rightly_signed_is_401_and_leaves_nothing(
    partner: Partner, gateway: FastAPI
) -> None:
    unknown = Partner(gateway, "nobody", partner.secret)
    odd = Partner(gateway, "x" * 200, partner.secret)
    answers = [
        await partner.send(BODY, **{"webhook-signature": "v1,AAAA"}),
        await partner.send(BODY, **{"webhook-signature": ""}),
        await partner.send(BODY, **{"webhook-timestamp": "1700000000"}),
        await partner.send(BODY, **{"webhook-id": "another"}),
        await unknown.send(BODY),
        await odd.send(BODY),
    ]
    async with caller(gateway, OPERATOR) as client:  # a key is no signature
        answers.append(await client.post("/webhooks/taobao", json=BODY))
        answers.append(await client.post("/webhooks/%00", json=BODY))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert await gateway.state.database.pool.fetchval("SELECT count(*) FROM receipts") == 0


async def test_a_body_beyond_the_limit_is_413(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(webhook_body_limit_bytes=2000)
    async with caller(gateway) as operator:
        made = (await operator.post("/v1/admin/partners", json={"name": "jd"})).json()
    jd = Partner(gateway, "jd", made["secret"])
    assert (await jd.send(BODY)).status_code == 202
    assert (await jd.send(b"x" * 2001)).status_code == 413


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{not json", "not valid JSON"),
        (b"", "not valid JSON"),
        ({"type": "feedback.created", "data": {"channel": "app"}}, "/data/text: missing"),
        ({"type": "order.created", "data": {}}, "/type"),
        ({"type": "feedback.created", "data": {"text": "a\x00b"}}, "NUL"),
    ],
)
async def test_signed_nonsense_is_quarantined_with_the_reason(
    partner: Partner, operator: httpx.AsyncClient, gateway: FastAPI, body: Any, reason: str
) -> None:
    answer = await partner.send(body, "msg_1")
    assert (answer.status_code, answer.json()["status"]) == (202, "quarantined")
    receipt = (await operator.get(answer.headers["location"])).json()
    assert receipt["status"] == "quarantined"
    assert reason in receipt["reason"]
    again = await partner.send(body, "msg_1")
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert await events(gateway) == []


async def test_a_partner_too_fast_is_told_so_after_its_signature_was_checked(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(rate_intake="2/60")
    async with caller(gateway) as operator:
        made = (await operator.post("/v1/admin/partners", json={"name": "jd"})).json()
    jd = Partner(gateway, "jd", made["secret"])
    for _ in range(5):  # a stranger cannot use up the partner's rate
        assert (await jd.send(BODY, **{"webhook-signature": "v1,AAAA"})).status_code == 401
    assert [(await jd.send(BODY)).status_code for _ in range(3)] == [202, 202, 429]


async def test_webhooks_are_taken_while_every_service_and_the_broker_are_away(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(amqp_url="amqp://guest:guest@127.0.0.1:1/")
    async with caller(gateway) as operator:
        made = (await operator.post("/v1/admin/partners", json={"name": "jd"})).json()
    answer = await Partner(gateway, "jd", made["secret"]).send(BODY)
    assert answer.status_code == 202
    (event,) = await events(gateway)
    assert str(event.data.receipt_id) == answer.json()["receipt_id"]


async def test_without_the_database_nothing_is_promised(partner: Partner, gateway: FastAPI) -> None:
    assert (await partner.send(BODY)).status_code == 202
    await gateway.state.database.pool.close()
    answer = await partner.send(BODY)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")


async def test_nothing_of_a_customer_reaches_the_log(
    start_gateway: StartGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await start_gateway()
    async with caller(gateway) as operator:
        made = (await operator.post("/v1/admin/partners", json={"name": "jd"})).json()
    jd = Partner(gateway, "jd", made["secret"])
    await jd.send(BODY)
    await jd.send(BODY | {"data": {"contact": {"email": "lilei@example.com"}}})
    await jd.send(BODY, **{"webhook-signature": "v1,AAAA"})
    await gateway.state.database.pool.close()
    await jd.send(BODY)
    said = "".join(capsys.readouterr())
    assert "request failed" in said
    for secret in ("lilei", "快递", made["secret"], made["secret"].removeprefix("whsec_")):
        assert secret not in said


async def test_two_gateways_on_one_database_agree_who_was_first(
    partner: Partner, gateway: FastAPI, twin_gateway: FastAPI
) -> None:
    twin = Partner(twin_gateway, partner.name, partner.secret)
    senders = [partner, twin] * 40
    answers = await asyncio.gather(*(s.send(BODY, f"msg_{n % 10}") for n, s in enumerate(senders)))
    assert sorted(a.status_code for a in answers) == [200] * 70 + [202] * 10
    assert len({a.json()["receipt_id"] for a in answers}) == 10
