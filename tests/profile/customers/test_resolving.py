"""Handles lead to one customer, however many ask at once."""

import asyncio

from tests.profile.conftest import Start
from tests.profile.made import LI_LEI, Profile, together


async def test_unknown_handles_make_a_customer(profile: Profile) -> None:
    answer = await profile.client.post(
        "/v1/customers:resolve",
        json={"email": "New@example.com", "name": "New", "external_ids": {"shop": "9"}},
    )
    assert answer.status_code == 201
    body = answer.json()
    assert (body["created"], body["rule"], body["confidence"]) == (True, "new_customer", 1.0)
    assert [identity["value"] for identity in body["added"]] == ["new@example.com", "9"]
    (event,) = await profile.events("customer.registered")
    assert str(event.customer_id) == body["customer_id"]
    assert event.attributes == {"name": "New"}


async def test_a_known_handle_finds_the_customer_who_gains_the_others(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI)
    handles = [
        {"kind": "email", "value": "lilei@example.com"},
        {"kind": "phone", "value": "13900139000"},
    ]
    answer = await profile.client.post("/v1/customers:resolve", json={"handles": handles, "name": "Somebody"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["customer_id"], body["rule"], body["created"]) == (customer_id, "email", False)
    assert [identity["value"] for identity in body["added"]] == ["+8613900139000"]
    read = (await profile.client.get(f"/v1/customers/{customer_id}")).json()
    assert read["name"] == "李雷"  # what a resolution says is trusted little
    assert read["version"] == 2
    again = await profile.client.post("/v1/customers:resolve", json={"phone": "13900139000"})
    assert again.json()["customer_id"] == customer_id


async def test_a_system_id_outranks_an_address_and_the_address_stays_where_it_is(profile: Profile) -> None:
    first = await profile.register(external_ids={"shop": "1"})
    second = await profile.register(email="b@example.com")
    answer = await profile.client.post(
        "/v1/customers:resolve", json={"email": "b@example.com", "external_ids": {"shop": "1"}}
    )
    assert (answer.json()["customer_id"], answer.json()["rule"]) == (first, "external_id")
    assert [taken["customer_id"] for taken in answer.json()["elsewhere"]] == [second]


async def test_only_looking_makes_and_adds_nothing(profile: Profile) -> None:
    customer_id = await profile.register(email="a@example.com")
    looking = {"email": "a@example.com", "phone": "13900139000", "name": "A", "create": False}
    answer = await profile.client.post("/v1/customers:resolve", json=looking)
    assert (answer.json()["customer_id"], answer.json()["added"]) == (customer_id, [])
    nobody = await profile.client.post(
        "/v1/customers:resolve", json={"email": "b@example.com", "create": False}
    )
    assert nobody.status_code == 404
    assert await profile.customers() == 1
    assert (await profile.client.get(f"/v1/customers/{customer_id}")).json()["version"] == 1


async def test_a_shared_kiosk_glues_only_so_many_people_together(start: Start) -> None:
    profile = await start(max_emails=2)
    kiosk = {"phone": "13900139000"}
    for n in range(4):
        answer = await profile.client.post(
            "/v1/customers:resolve", json=kiosk | {"email": f"p{n}@example.com"}
        )
    assert [identity["value"] for identity in answer.json()["refused"]] == ["p3@example.com"]
    read = (await profile.client.get(f"/v1/customers/{answer.json()['customer_id']}")).json()
    assert [i["value"] for i in read["identities"]] == ["p0@example.com", "p1@example.com", "+8613900139000"]


async def test_at_least_one_handle_is_needed_and_each_must_fit(profile: Profile) -> None:
    assert (await profile.client.post("/v1/customers:resolve", json={})).status_code == 422
    bad = {"handles": [{"kind": "email", "value": "a@example.com"}, {"kind": "external_id", "value": "1"}]}
    answer = await profile.client.post("/v1/customers:resolve", json=bad)
    assert answer.json()["errors"][0]["pointer"] == "/handles/1"


async def test_concurrent_resolutions_of_one_new_email_give_one_customer(profile: Profile) -> None:
    bodies = [{"email": "same@example.com", "phone": f"1390013900{n}"} for n in range(8)]
    answers = await together(*(profile.client.post("/v1/customers:resolve", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200, 201}
    assert len({answer.json()["customer_id"] for answer in answers}) == 1
    assert await profile.customers() == 1
    assert await profile.pool.fetchval("SELECT count(*) FROM identities") == 9


async def test_handles_claimed_crosswise_never_deadlock(profile: Profile) -> None:
    async def ask(n: int) -> int:
        first, second = (n % 5, (n + 1) % 5) if n % 2 else ((n + 1) % 5, n % 5)
        body = {
            "handles": [
                {"kind": "email", "value": f"x{first}@example.com"},
                {"kind": "external_id", "source": "shop", "value": f"y{second}"},
            ]
        }
        return (await profile.client.post("/v1/customers:resolve", json=body)).status_code

    statuses = await asyncio.gather(*(ask(n) for n in range(40)))
    assert set(statuses) <= {200, 201}
    owners = await profile.pool.fetchval("SELECT count(DISTINCT customer_id) FROM identities")
    assert await profile.customers() == owners
