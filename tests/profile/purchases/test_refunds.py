"""Refunds: never more than was paid, each once."""

from typing import Any
from uuid import uuid4

from tests.profile.made import PURCHASE, Profile, together


async def bought(profile: Profile, **changes: Any) -> tuple[str, str]:
    """A purchase's path of refunds, and its customer's id."""
    answer = await profile.client.post("/v1/purchases", json=PURCHASE | changes)
    return f"/v1/purchases/{answer.json()['id']}/refunds", answer.json()["customer_id"]


async def test_a_refund_is_recorded_summed_and_told(profile: Profile) -> None:
    path, customer_id = await bought(profile)
    answer = await profile.client.post(path, json={"amount": 900, "source_id": "R-1", "reason": "broken"})
    assert answer.status_code == 201
    body = answer.json()
    assert (body["amount"], body["refunded"], body["refundable"]) == (900, 900, 12000)
    assert (body["currency"], body["source"], body["source_id"]) == ("CNY", "shop", "R-1")
    (event,) = await profile.events("purchase.refunded")
    (item,) = event.items
    assert (str(item.refund_id), str(item.customer_id)) == (body["id"], customer_id)
    assert (item.amount, item.purchase_amount) == (900, 12900)
    await profile.none_waiting()
    shown = await profile.section(customer_id)
    assert shown["purchases"]["totals"] == [{"currency": "CNY", "count": 1, "amount": 12900, "refunded": 900}]
    assert shown["recent_purchases"][0]["refunded"] == 900


async def test_a_repeat_by_source_id_gets_the_first_refund(profile: Profile) -> None:
    path, _ = await bought(profile)
    refund = {"amount": 900, "source_id": "R-1"}
    first = await profile.client.post(path, json=refund)
    again = await profile.client.post(path, json=refund)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert again.json() == first.json()
    differs = await profile.client.post(path, json=refund | {"amount": 901})
    assert (differs.status_code, differs.json()["type"]) == (409, "/problems/refund-differs")


async def test_a_repeat_by_idempotency_key_gets_the_first_answer(profile: Profile) -> None:
    path, _ = await bought(profile)
    headers = {"Idempotency-Key": "k-1"}
    first = await profile.client.post(path, json={"amount": 900}, headers=headers)
    again = await profile.client.post(path, json={"amount": 900}, headers=headers)
    other = await profile.client.post(path, json={"amount": 901}, headers=headers)
    assert [first.status_code, again.status_code, other.status_code] == [201, 201, 422]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


async def test_a_refund_without_a_name_is_refused(profile: Profile) -> None:
    path, _ = await bought(profile)
    assert (await profile.client.post(path, json={"amount": 1})).status_code == 428


async def test_never_more_is_given_back_than_was_paid(profile: Profile) -> None:
    path, _ = await bought(profile)
    await profile.client.post(path, json={"amount": 12000, "source_id": "R-1"})
    answer = await profile.client.post(path, json={"amount": 901, "source_id": "R-2"})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/refund-too-large")
    assert answer.json()["refundable"] == 900


async def test_concurrent_refunds_never_exceed_what_was_paid(profile: Profile) -> None:
    path, customer_id = await bought(profile, amount=1000)
    refunds = [profile.client.post(path, json={"amount": 300, "source_id": f"R-{n}"}) for n in range(8)]
    answers = await together(*refunds)
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
    assert await profile.pool.fetchval("SELECT refunded FROM purchase_totals") == 900
    await profile.none_waiting()
    assert len(await profile.events("purchase.refunded", 3)) == 3
    assert (await profile.section(customer_id))["recent_purchases"][0]["refunded"] == 900


async def test_one_name_for_refunds_of_two_purchases_is_a_conflict_even_at_once(profile: Profile) -> None:
    paths = [(await bought(profile, source_id=f"O-{n}"))[0] for n in range(4)]
    refund = {"amount": 100, "source_id": "R-1"}
    answers = await together(*(profile.client.post(path, json=refund) for path in paths))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert await profile.pool.fetchval("SELECT sum(refunded) FROM purchases") == 100


async def test_an_unknown_purchase_and_an_amount_of_nothing_are_refused(profile: Profile) -> None:
    unknown = f"/v1/purchases/{uuid4()}/refunds"
    assert (await profile.client.post(unknown, json={"amount": 1, "source_id": "R"})).status_code == 404
    path, _ = await bought(profile)
    for amount in (0, -1, 1.5, 10**13):
        assert (await profile.client.post(path, json={"amount": amount, "source_id": "R"})).status_code == 422
