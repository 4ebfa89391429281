"""The whole road, over real processes: one customer, one webhook, one purchase, one view."""

import asyncio
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.databases import ROOT
from tests.support.system import Partner, System, feedback, view_shows

SIGN_UP = 500  # points of the default rule

pytestmark = [pytest.mark.processes, pytest.mark.broker]


def a_customer() -> dict[str, object]:
    tag = uuid4().hex[:8]
    return {
        "name": "李雷",
        "email": f"{tag}@example.com",
        "external_ids": {"shop": f"C-{tag}"},
        "attributes": {"plan": "pro"},
    }


def a_purchase(customer: dict[str, object], **changed: object) -> dict[str, object]:
    return {
        "customer": customer,
        "source": "shop",
        "source_id": f"O-{uuid4().hex[:10]}",
        "occurred_at": "2026-03-01T10:00:00Z",
        "currency": "CNY",
        "amount": 12900,
        "lines": [{"sku": "A1", "category": "kitchen", "quantity": 1, "amount": 12900, "cost": 8000}],
    } | changed


async def registered(client: httpx.AsyncClient) -> tuple[str, dict[str, object]]:
    customer = a_customer()
    answer = await client.post("/v1/customers", json=customer)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], customer


async def test_a_webhook_and_a_purchase_become_one_view(client: httpx.AsyncClient, partner: Partner) -> None:
    customer_id, customer = await registered(client)
    posted = await partner.post(feedback(contact={"email": customer["email"]}))
    assert posted.status_code == 202, posted.text
    bought = await client.post("/v1/purchases", json=a_purchase({"email": customer["email"]}))
    assert bought.status_code == 201, bought.text

    def whole(body: dict[str, dict[str, object]]) -> bool:
        return bool(
            body["profile"]
            and (body["feedback"] or {}).get("open_tickets")
            and (body["loyalty"] or {}).get("balance") == SIGN_UP + 129
            and (body["scoring"] or {}).get("rfm")
        )

    view = await view_shows(client, customer_id, whole)
    assert view["customer_id"] == customer_id
    assert view["merged_into"] is None
    assert view["meta"]["complete"] is True
    assert {s["source"] for s in view["meta"]["sections"].values()} == {"view"}
    live = (await client.get(f"/v1/customers/{customer_id}/360", params={"fresh": "true"})).json()
    assert {s["source"] for s in live["meta"]["sections"].values()} == {"live"}
    for section in ("profile", "feedback", "loyalty"):
        assert live[section] == view[section]
    found = await client.get("/v1/customers/360", params={"email": customer["email"]})
    assert found.json()["customer_id"] == customer_id


async def test_a_signed_webhook_is_in_the_view_within_a_second(
    client: httpx.AsyncClient, partner: Partner
) -> None:
    customer_id, customer = await registered(client)
    await view_shows(client, customer_id, lambda body: body["profile"])
    times = []
    for number in range(1, 6):
        started = time.monotonic()
        await partner.post(feedback(contact={"email": customer["email"]}))
        await view_shows(
            client,
            customer_id,
            lambda body, n=number: (body["feedback"] or {}).get("open_tickets", {}).get("count") == n,
        )
        times.append(time.monotonic() - started)
    assert sorted(times)[len(times) // 2] < 1.0, times


async def test_a_new_contact_becomes_a_customer(client: httpx.AsyncClient, partner: Partner) -> None:
    contact = {"email": f"{uuid4().hex[:8]}@example.com"}
    await partner.post(feedback(contact=contact))
    deadline = time.monotonic() + 10
    while (found := await client.get("/v1/customers/360", params=contact)).status_code != 200:
        assert time.monotonic() < deadline, found.text
        await asyncio.sleep(0.02)
    await view_shows(client, found.json()["customer_id"], lambda body: body["feedback"])


async def test_a_repeat_answers_duplicate_and_opens_nothing(
    client: httpx.AsyncClient, partner: Partner
) -> None:
    data, webhook_id = feedback(), f"msg_{uuid4().hex}"
    first = await partner.post(data, webhook_id)
    again = await partner.post(data, webhook_id)
    assert (first.status_code, first.json()["status"]) == (202, "accepted")
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert first.json()["receipt_id"] == again.json()["receipt_id"]
    receipt = await client.get(first.headers["location"])
    assert receipt.status_code == 200


async def test_bad_signatures_get_401_and_nothing_else(client: httpx.AsyncClient, partner: Partner) -> None:
    body, good = partner.sign(feedback())
    old = str(int((datetime.now(UTC) - timedelta(minutes=6)).timestamp()))
    bad: list[tuple[bytes, dict[str, str]]] = [
        (body + b" ", good),
        (body, good | {"webhook-timestamp": old}),
        (body, {"content-type": "application/json"}),
        (body, good | {"webhook-signature": "v1,%%%"}),
        (body, good | {"webhook-signature": "v1," + "A" * 44}),
        (body, good | {"webhook-timestamp": "now"}),
        (b"\xff\xfe\x00", good),
    ]
    for content, headers in bad:
        answer = await partner.send(content, headers)
        assert answer.status_code == 401, (headers, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    stranger = Partner(client, "nobody-knows", "whsec_" + "QUFB" * 8)
    assert (await stranger.post(feedback())).status_code == 401


async def test_a_webhook_is_kept_while_feedback_is_down(
    system: System, client: httpx.AsyncClient, partner: Partner
) -> None:
    customer_id, customer = await registered(client)
    await view_shows(client, customer_id, lambda body: body["profile"])
    pid = system.signal("feedback", signal.SIGSTOP)
    try:
        posted = await partner.post(feedback(contact={"email": customer["email"]}))
        assert posted.status_code == 202
    finally:
        os.kill(pid, signal.SIGKILL)
    await view_shows(
        client, customer_id, lambda body: (body["feedback"] or {}).get("open_tickets"), within_s=30
    )


async def test_the_view_answers_in_full_while_a_service_is_away(
    system: System, client: httpx.AsyncClient
) -> None:
    customer_id, _ = await registered(client)
    await client.post("/v1/purchases", json=a_purchase({"id": customer_id}))
    earned = SIGN_UP + 129
    view = await view_shows(
        client, customer_id, lambda body: (body["loyalty"] or {}).get("balance") == earned
    )
    pid = system.signal("loyalty", signal.SIGSTOP)
    try:
        still = (await client.get(f"/v1/customers/{customer_id}/360")).json()
        assert still["loyalty"] == view["loyalty"]
        assert still["meta"]["complete"] is True
        fresh = (await client.get(f"/v1/customers/{customer_id}/360", params={"fresh": "true"})).json()
        assert fresh["meta"]["sections"]["loyalty"]["status"] == "stale"
        assert fresh["meta"]["sections"]["loyalty"]["source"] == "view"
        assert fresh["meta"]["sections"]["profile"]["source"] == "live"
        assert fresh["loyalty"] == view["loyalty"]
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_points_are_redeemed_once_per_key(client: httpx.AsyncClient) -> None:
    customer_id, _ = await registered(client)
    await client.post("/v1/purchases", json=a_purchase({"id": customer_id}, amount=100_000))
    await view_shows(
        client, customer_id, lambda body: (body["loyalty"] or {}).get("balance") == SIGN_UP + 1000
    )
    path, body = f"/v1/loyalty/{customer_id}/redemptions", {"points": 500, "reason": "voucher"}
    key = {"Idempotency-Key": uuid4().hex}
    assert (await client.post(path, json=body)).status_code == 428
    first, again = [await client.post(path, json=body, headers=key) for _ in range(2)]
    assert (first.status_code, first.json()["points"]) == (201, 500)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    greedy = await client.post(
        path, json={"points": 10**9, "reason": "voucher"}, headers={"Idempotency-Key": uuid4().hex}
    )
    assert greedy.status_code == 409
    assert greedy.json()["type"].endswith("/insufficient-points")


async def test_a_batch_says_what_it_took_and_what_not(client: httpx.AsyncClient) -> None:
    customer_id, _ = await registered(client)
    good = a_purchase({"id": customer_id})
    items = [good, good, a_purchase({"id": customer_id}, currency="XXQ"), a_purchase({"id": str(uuid4())})]
    answer = await client.post("/v1/purchases:batch", json={"items": items})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["accepted"], body["duplicates"]) == (1, 1)
    assert [rejected["index"] for rejected in body["rejected"]] == [2, 3]


async def test_surveys_and_tickets_answer_as_written(client: httpx.AsyncClient, partner: Partner) -> None:
    customer_id, customer = await registered(client)
    answered = await client.post(
        "/v1/surveys/nps/responses",
        json={"customer_id": customer_id, "score": 9, "comment": "很好", "touchpoint": "delivery"},
    )
    assert answered.status_code == 201, answered.text
    await partner.post(feedback(contact={"email": customer["email"]}))

    async def ticket() -> dict[str, object] | None:
        items = (await client.get("/v1/tickets", params={"customer_id": customer_id})).json()["items"]
        return items[0] if items else None

    deadline = time.monotonic() + 10
    while (opened := await ticket()) is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    moved = await client.post(
        f"/v1/tickets/{opened['id']}/transition", json={"to": "resolved", "comment": "已补发"}
    )
    assert moved.status_code == 200, moved.text
    assert moved.json()["status"] == "resolved"


async def test_callers_without_key_or_scope_are_refused(system: System, client: httpx.AsyncClient) -> None:
    async with system.client("c360_wrong_" + "x" * 43) as stranger:
        assert (await stranger.get("/v1/customers")).status_code == 401
    made = await client.post("/v1/admin/keys", json={"name": "shop", "role": "frontend"})
    assert made.status_code == 201, made.text
    async with system.client(made.json()["key"]) as frontend:
        refused = await frontend.get("/v1/admin/keys")
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")


async def test_the_document_and_its_page_are_served(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "/v1/customers/{customer_id}/360" in document["paths"]
    assert (await client.get("/asyncapi.json")).json()["asyncapi"].startswith("3.")
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "cdn." not in page.text


async def test_a_rebuild_changes_nothing_and_the_view_equals_the_services(
    system: System, client: httpx.AsyncClient
) -> None:
    customer_id, _ = await registered(client)
    await client.post("/v1/purchases", json=a_purchase({"id": customer_id}))
    view = await view_shows(
        client, customer_id, lambda body: (body["loyalty"] or {}).get("balance") == SIGN_UP + 129
    )
    rebuilt = await _c360(system, "view", "rebuild", "--json")
    assert {outcome["status"] for outcome in rebuilt.values()} == {"ok"}
    verified = await _c360(system, "view", "verify", "--json")
    assert verified["differences"] == []
    assert verified["unavailable"] == []
    assert verified["checked"] >= 1
    again = (await client.get(f"/v1/customers/{customer_id}/360")).json()
    assert {name: again[name] for name in ("profile", "loyalty")} == {
        name: view[name] for name in ("profile", "loyalty")
    }


async def _c360(system: System, *arguments: str) -> Any:
    """What the command line prints as JSON, run against the system."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "infra.cli",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "C360_URL": system.url, "C360_KEY": system.key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, out.decode() + error.decode()
    return json.loads(out)
