"""Purchases over HTTP: each once, whoever sends it how often."""

import asyncio
import random
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.profile.made import LI_LEI, PURCHASE, Profile, together


def purchase(number: int, **changes: Any) -> dict[str, Any]:
    return PURCHASE | {"source_id": f"O-{number}"} | changes


async def send(profile: Profile, items: list[Any]) -> dict[str, Any]:
    answer = await profile.client.post("/v1/purchases:batch", json={"items": items})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_purchase_is_recorded_as_the_contract_writes_it(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI)
    answer = await profile.client.post("/v1/purchases", json=PURCHASE)
    assert answer.status_code == 201
    body = answer.json()
    assert body["customer_id"] == customer_id
    assert {key: body[key] for key in ("source", "source_id", "currency", "amount", "lines", "refunded")} == {
        "source": "shop",
        "source_id": "O-1001",
        "currency": "CNY",
        "amount": 12900,
        "lines": PURCHASE["lines"],
        "refunded": 0,
    }
    assert (await profile.client.get(answer.headers["Location"])).json() == body


async def test_a_purchase_is_told_with_its_lines(profile: Profile) -> None:
    await profile.client.post("/v1/purchases", json=PURCHASE | {"touchpoint": "checkout", "channel": "web"})
    (event,) = await profile.events("purchase.recorded")
    (item,) = event.items
    assert (item.source_id, item.amount, item.currency, item.channel) == ("O-1001", 12900, "CNY", "web")
    assert (item.lines[0].sku, item.lines[0].cost) == ("A1", 8000)
    (registered,) = await profile.events("customer.registered")
    assert registered.customer_id == item.customer_id


async def test_a_repeat_gets_the_first_answer_and_tells_nothing(profile: Profile) -> None:
    first = await profile.client.post("/v1/purchases", json=PURCHASE)
    again = await profile.client.post("/v1/purchases", json=PURCHASE)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert again.json() == first.json()
    await profile.none_waiting()
    assert len(await profile.events("purchase.recorded")) == 1


async def test_the_same_purchase_with_another_amount_is_a_conflict(profile: Profile) -> None:
    await profile.client.post("/v1/purchases", json=PURCHASE)
    for change in ({"amount": 1}, {"currency": "EUR"}):
        answer = await profile.client.post("/v1/purchases", json=PURCHASE | change)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/purchase-differs")


async def test_a_customer_named_by_an_address_is_made_and_by_an_unknown_id_refused(profile: Profile) -> None:
    by_email = await profile.client.post(
        "/v1/purchases", json=purchase(1, customer={"email": "New@example.com"})
    )
    by_phone = await profile.client.post("/v1/purchases", json=purchase(2, customer={"phone": "13800138000"}))
    assert [by_email.status_code, by_phone.status_code] == [201, 201]
    by_id = purchase(3, customer={"id": by_email.json()["customer_id"]})
    assert (await profile.client.post("/v1/purchases", json=by_id)).json()["customer_id"] == by_id[
        "customer"
    ]["id"]
    unknown = await profile.client.post("/v1/purchases", json=purchase(4, customer={"id": str(uuid4())}))
    assert unknown.status_code == 422
    assert unknown.json()["errors"] == [{"pointer": "/customer/id", "detail": "there is no such customer"}]
    assert await profile.customers() == 2


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"customer": {}}, "/customer"),
    ({"customer": {"email": "a@example.com", "phone": "13800138000"}}, "/customer"),
    ({"customer": {"email": "test@example.com"}}, "/customer"),
    ({"customer": {"id": "x"}}, "/customer/id"),
    ({"customer": {"external_id": {"source": "shop"}}}, "/customer/external_id/id"),
    ({"source_id": ""}, "/source_id"),
    ({"currency": "cny"}, "/currency"),
    ({"currency": "XQX"}, "/currency"),
    ({"amount": -1}, "/amount"),
    ({"amount": 10**13}, "/amount"),
    ({"amount": 1.5}, "/amount"),
    ({"occurred_at": "2026-03-01"}, "/occurred_at"),
    ({"occurred_at": "2199-03-01T00:00:00Z"}, "/occurred_at"),
    ({"lines": [{"sku": "A"}]}, "/lines/0/amount"),
    ({"lines": [{"sku": "A", "amount": 1, "quantity": 0}]}, "/lines/0/quantity"),
    ({"lines": [{"sku": "A", "amount": 1}] * 501}, "/lines"),
    ({"more": 1}, "/more"),
]


async def test_a_purchase_that_does_not_fit_is_refused_by_name_alone_and_in_a_batch(profile: Profile) -> None:
    for change, pointer in UNFIT:
        answer = await profile.client.post("/v1/purchases", json=PURCHASE | change)
        assert answer.status_code == 422, change
        assert answer.json()["errors"][0]["pointer"] == pointer
    answer = await send(profile, [PURCHASE | change for change, _ in UNFIT])
    assert answer["accepted"] == 0
    assert [refused["index"] for refused in answer["rejected"]] == list(range(len(UNFIT)))
    for refused, (_, pointer) in zip(answer["rejected"], UNFIT, strict=True):
        assert refused["problem"].startswith(f"{pointer}: ")
    assert await profile.customers() == 0


async def test_a_batch_takes_what_fits_and_says_what_became_of_each(profile: Profile) -> None:
    await profile.client.post("/v1/purchases", json=purchase(1))
    items = [
        purchase(1),
        purchase(2),
        purchase(2),
        purchase(2, amount=5),
        purchase(1, amount=5),
        purchase(3, customer={"id": str(uuid4())}),
        "not a purchase",
        purchase(4, source_id="a\x00"),
        purchase(5, customer={"email": "five@example.com"}),
    ]
    answer = await send(profile, items)
    assert (answer["accepted"], answer["duplicates"]) == (2, 2)
    assert [(refused["index"], refused["problem"].split(":")[0]) for refused in answer["rejected"]] == [
        (3, "/source_id"),
        (4, "/source_id"),
        (5, "/customer/id"),
        (6, "must be an object"),
        (7, "text may not hold the NUL character"),
    ]
    assert await profile.customers() == 2


async def test_a_batch_is_told_in_few_events_and_its_customers_in_one_each(profile: Profile) -> None:
    items = [
        purchase(n, customer={"external_id": {"source": "shop", "id": f"C{n % 40}"}}) for n in range(1000)
    ]
    assert (await send(profile, items))["accepted"] == 1000
    events = await profile.events("purchase.recorded", 2)
    assert [len(event.items) for event in events] == [500, 500]
    assert len({item.purchase_id for event in events for item in event.items}) == 1000
    await profile.none_waiting()
    assert len(await profile.events("customer.registered")) == 40
    shown = await profile.section(events[0].items[0].customer_id)
    assert shown["purchases"]["count"] == 25
    again = await send(profile, items)
    assert (again["accepted"], again["duplicates"]) == (0, 1000)


@pytest.mark.parametrize("items", [[], [PURCHASE] * 1001, None, {}])
async def test_a_batch_holds_one_to_a_thousand(profile: Profile, items: Any) -> None:
    answer = await profile.client.post("/v1/purchases:batch", json={"items": items})
    assert answer.status_code == 422


async def test_concurrent_batches_that_overlap_record_each_purchase_once_and_never_deadlock(
    profile: Profile,
) -> None:
    items = [
        purchase(n, customer={"external_id": {"source": "shop", "id": f"C{n % 30}"}}, amount=n + 1)
        for n in range(300)
    ]
    batches = [random.Random(seed).sample(items, 200) for seed in range(8)]
    answers = await asyncio.gather(*(send(profile, batch) for batch in batches))
    sent = {item["source_id"]: item["amount"] for batch in batches for item in batch}
    assert sum(answer["accepted"] for answer in answers) == len(sent)
    assert sum(answer["accepted"] + answer["duplicates"] for answer in answers) == 8 * 200
    totals = await profile.pool.fetchrow(
        "SELECT sum(purchases) AS count, sum(amount) AS amount FROM purchase_totals"
    )
    assert (totals["count"], totals["amount"]) == (len(sent), sum(sent.values()))
    await profile.none_waiting()
    told = [item for event in await profile.events("purchase.recorded") for item in event.items]
    assert sorted(item.source_id for item in told) == sorted(sent)
    assert await profile.customers() == 30


async def test_concurrent_sendings_of_one_purchase_record_it_once(profile: Profile) -> None:
    answers = await together(*(profile.client.post("/v1/purchases", json=PURCHASE) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await profile.customers() == 1


async def test_the_purchases_of_a_customer_are_paged_the_latest_first(profile: Profile) -> None:
    days = [3, 1, 2, 2, 5]
    items = [purchase(n, occurred_at=f"2026-03-0{day}T10:00:00Z") for n, day in enumerate(days)]
    await send(profile, items)
    customer_id = (await profile.client.get("/v1/customers?external_id=shop:C-17")).json()["items"][0]["id"]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = (
            await profile.client.get(f"/v1/customers/{customer_id}/purchases", params={"limit": 2} | cursor)
        ).json()
        seen += [item["source_id"] for item in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert page["next_cursor"] is None
    assert seen[0] == "O-4"
    assert set(seen[1:4]) == {"O-0", "O-2", "O-3"}
    assert seen[4] == "O-1"


async def test_an_unknown_purchase_is_not_found(profile: Profile) -> None:
    assert (await profile.client.get(f"/v1/purchases/{uuid4()}")).json()[
        "type"
    ] == "/problems/no-such-purchase"
    assert (await profile.client.get("/v1/purchases/x")).status_code == 422


async def test_the_reader_needs_the_right_scope(profile: Profile) -> None:
    from tests.support.apps import client_of

    async with client_of(profile.app, ["customers:read"]) as reader:
        assert (await reader.post("/v1/purchases", json=PURCHASE)).status_code == 403
        assert (await reader.get(f"/v1/purchases/{UUID(int=1)}")).status_code == 404
