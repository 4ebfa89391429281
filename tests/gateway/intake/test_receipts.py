"""Receipts: read by who may, listed, mended, forgotten in time."""

from datetime import timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from gateway.intake.store import purge
from shared.contracts import decode
from shared.contracts.gateway import FeedbackReceived
from shared.ids import new_id
from tests.gateway.edge.doors import caller
from tests.gateway.intake.conftest import Partner
from tests.support.apps import eventually

GOOD: dict[str, Any] = {"type": "feedback.created", "data": {"text": "快递丢了", "source_id": "F-1"}}
BAD: dict[str, Any] = {"type": "feedback.created", "data": {"words": "快递丢了", "source_id": "F-1"}}


async def test_an_accepted_receipt_keeps_nothing_of_the_customer(
    partner: Partner, operator: httpx.AsyncClient, gateway: FastAPI
) -> None:
    sent = (await partner.send(GOOD, "msg_1")).json()
    receipt = (await operator.get(f"/v1/receipts/{sent['receipt_id']}")).json()
    assert receipt.pop("received_at")
    assert receipt == {
        "receipt_id": sent["receipt_id"],
        "partner": "taobao",
        "webhook_id": "msg_1",
        "status": "accepted",
        "reason": None,
        "mended_at": None,
        "body": None,
    }
    rows = await gateway.state.database.pool.fetch("SELECT receipts::text AS everything FROM receipts")
    assert "快递" not in rows[0]["everything"]


async def test_a_partners_key_reads_its_own_receipts_only(
    partner: Partner, operator: httpx.AsyncClient, gateway: FastAPI
) -> None:
    made = (await operator.post("/v1/admin/partners", json={"name": "jd"})).json()
    theirs = (await Partner(gateway, "jd", made["secret"]).send(GOOD)).headers["location"]
    ours = (await partner.send(BAD)).headers["location"]
    key = (
        await operator.post("/v1/admin/keys", json={"name": "k", "role": "partner", "partner": "taobao"})
    ).json()["key"]
    async with caller(gateway, key) as client:
        own = (await client.get(ours)).json()
        assert (own["status"], own["body"]) == ("quarantined", None)  # without pii:read
        assert (await client.get(theirs)).status_code == 404
        assert [item["partner"] for item in (await client.get("/v1/receipts")).json()["items"]] == ["taobao"]
        assert (await client.post(f"{ours}/replay")).status_code == 403


async def test_a_mended_receipt_becomes_its_event_once(
    partner: Partner, operator: httpx.AsyncClient, gateway: FastAPI
) -> None:
    heard: list[Any] = []
    gateway.state.bus.listen([FeedbackReceived.type], lambda envelope: heard.append(decode(envelope)))
    location = (await partner.send(BAD, "msg_1")).headers["location"]
    receipt = (await operator.get(location)).json()
    assert "快递丢了" in receipt["body"]
    still = await operator.post(f"{location}/replay")
    assert (still.status_code, still.json()["type"]) == (422, "/problems/invalid")
    assert "/data/text" in still.json()["errors"][0]["detail"]
    mended = await operator.post(f"{location}/replay", json=GOOD)
    assert mended.json() == {"receipt_id": receipt["receipt_id"], "status": "accepted"}
    (event,) = await eventually(lambda: heard)
    assert (str(event.data.receipt_id), event.data.text) == (receipt["receipt_id"], "快递丢了")
    again = await operator.post(f"{location}/replay", json=GOOD)
    assert (again.status_code, again.json()["type"]) == (409, "/problems/not-quarantined")
    after = (await operator.get(location)).json()
    assert (after["status"], after["body"], after["reason"]) == ("accepted", None, None)
    assert after["mended_at"] is not None


async def test_quarantined_ones_are_found(partner: Partner, operator: httpx.AsyncClient) -> None:
    await partner.send(GOOD)
    bad = [(await partner.send(BAD)).json()["receipt_id"] for _ in range(3)]
    found, query = [], {"status": "quarantined", "limit": 2}
    for _ in range(3):
        page = (await operator.get("/v1/receipts", params=query)).json()
        found += [item["receipt_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == bad[::-1]


async def test_what_is_not_there_is_404(operator: httpx.AsyncClient) -> None:
    assert (await operator.get(f"/v1/receipts/{new_id()}")).status_code == 404
    assert (await operator.post(f"/v1/receipts/{new_id()}/replay")).status_code == 404
    assert (await operator.get("/v1/receipts/not-an-id")).status_code == 422


async def test_old_receipts_are_forgotten_and_quarantined_ones_later(
    partner: Partner, gateway: FastAPI
) -> None:
    database = gateway.state.database
    await partner.send(GOOD, "new")
    await database.pool.execute(
        """INSERT INTO receipts (id, partner, webhook_id, status)
           SELECT uuid7_floor(now() - interval '31 days'), 'taobao', status, status
           FROM unnest(ARRAY['accepted', 'quarantined']) WITH ORDINALITY AS s (status, n)
           WHERE n = 1
           UNION ALL
           SELECT uuid7_floor(now() - interval '32 days'), 'taobao', 'quarantined', 'quarantined'"""
    )
    await purge(database, accepted=timedelta(days=30), quarantined=timedelta(days=180))
    rows = await database.pool.fetch("SELECT webhook_id FROM receipts ORDER BY id")
    assert [row["webhook_id"] for row in rows] == ["quarantined", "new"]
