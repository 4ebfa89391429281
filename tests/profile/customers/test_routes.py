"""Customers over HTTP."""

from typing import Any
from uuid import uuid4

from tests.profile.conftest import Start
from tests.profile.made import LI_LEI, Profile, together


async def test_a_customer_is_registered_as_the_contract_writes_it(profile: Profile) -> None:
    answer = await profile.client.post("/v1/customers", json=LI_LEI)
    assert answer.status_code == 201
    assert answer.headers["ETag"] == '"v1"'
    body = answer.json()
    assert answer.headers["Location"] == f"/v1/customers/{body['id']}"
    assert (body["name"], body["attributes"], body["version"]) == ("李雷", {"plan": "pro"}, 1)
    assert body["identities"] == [
        {"kind": "email", "source": None, "value": "lilei@example.com", "verified": False},
        {"kind": "external_id", "source": "shop", "value": "C-17", "verified": True},
        {"kind": "phone", "source": None, "value": "+8613800138000", "verified": False},
    ]
    read = await profile.client.get(f"/v1/customers/{body['id']}")
    assert read.json() == body
    assert read.headers["ETag"] == '"v1"'


async def test_registering_is_told_with_what_is_shown(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI)
    (event,) = await profile.events("customer.registered")
    assert (str(event.customer_id), event.attributes) == (customer_id, {"name": "李雷", "plan": "pro"})
    (section,) = await profile.events("section.profile")
    assert section.body["name"] == "李雷"


async def test_a_customer_may_be_known_by_nothing(profile: Profile) -> None:
    answer = await profile.client.post("/v1/customers", json={})
    assert answer.status_code == 201
    assert (answer.json()["name"], answer.json()["identities"]) == (None, [])


async def test_an_identity_that_is_taken_is_a_conflict_that_names_its_owner(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI)
    answer = await profile.client.post(
        "/v1/customers", json={"email": "new@example.com", "phone": "13800138000"}
    )
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/identity-taken"
    assert answer.json()["customer_id"] == customer_id
    assert "13800138000" not in answer.json()["detail"]
    assert await profile.customers() == 1
    listed = await profile.client.get("/v1/customers", params={"email": "new@example.com"})
    assert listed.json()["items"] == []


async def test_every_field_that_does_not_fit_is_named(profile: Profile) -> None:
    bad = {"email": "x", "phone": "12", "external_ids": {"sh op": "1", "shop": "null"}}
    answer = await profile.client.post("/v1/customers", json=bad)
    assert answer.status_code == 422
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert pointers == ["/email", "/phone", "/external_ids/sh op", "/external_ids/shop"]


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"attributes": {"name": "x"}}, "/attributes/name/[key]"),
    ({"attributes": {"_x": 1}}, "/attributes/_x/[key]"),
    ({"attributes": {"big": "x" * 1001}}, "/attributes/big"),
    ({"attributes": {"big": 10**30}}, "/attributes/big"),
    ({"attributes": {"deep": ["x" * 900] * 9}}, "/attributes/deep"),
    ({"observed_at": "2026-01-01T00:00:00"}, "/observed_at"),
    ({"observed_at": "0001-01-01T00:00:00+14:00"}, "/observed_at"),
    ({"observed_at": "2200-01-01T00:00:00Z"}, "/observed_at"),
    ({"name": "  "}, "/name"),
    ({"name": "a\x00b"}, ""),
    ({"unknown": 1}, "/unknown"),
    ({"source": "a b"}, "/source"),
    ({"identities": [{"kind": "device", "value": "1"}]}, "/identities/0/kind"),
]


async def test_what_cannot_be_kept_is_refused(profile: Profile) -> None:
    for body, pointer in UNFIT:
        answer = await profile.client.post("/v1/customers", json=body)
        assert answer.status_code == 422, body
        assert pointer in [error["pointer"] for error in answer.json()["errors"]], body


async def test_more_identities_than_may_be_are_refused(start: Start) -> None:
    profile = await start(max_emails=2)
    given = [{"kind": "email", "value": f"a{n}@example.com"} for n in range(3)]
    answer = await profile.client.post("/v1/customers", json={"identities": given})
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/too-many-identities"


async def test_of_concurrent_registrations_with_one_email_one_succeeds(profile: Profile) -> None:
    body = {"email": "same@example.com", "name": "Same"}
    answers = await together(*(profile.client.post("/v1/customers", json=body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert await profile.customers() == 1


async def test_a_change_needs_the_version_that_was_read(profile: Profile) -> None:
    path = f"/v1/customers/{await profile.register(**LI_LEI)}"
    patch = {"attributes": {"plan": "max"}}
    assert (await profile.client.patch(path, json=patch)).status_code == 428
    stale = await profile.client.patch(path, json=patch, headers={"If-Match": '"v9"'})
    assert stale.status_code == 412
    changed = await profile.client.patch(path, json=patch, headers={"If-Match": '"v1"'})
    assert changed.status_code == 200
    assert changed.headers["ETag"] == '"v2"'
    assert changed.json()["attributes"] == {"plan": "max"}
    assert changed.json()["name"] == "李雷"
    (event,) = await profile.events("customer.updated")
    assert event.attributes == {"plan": "max"}


async def test_of_concurrent_changes_to_one_version_one_succeeds(profile: Profile) -> None:
    path = f"/v1/customers/{await profile.register(name='A')}"
    changes = [
        profile.client.patch(path, json={"name": f"B{n}"}, headers={"If-Match": '"v1"'}) for n in range(6)
    ]
    answers = await together(*changes)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5


async def test_an_empty_change_changes_nothing(profile: Profile) -> None:
    path = f"/v1/customers/{await profile.register(name='A')}"
    answer = await profile.client.patch(path, json={}, headers={"If-Match": '"v1"'})
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"v1"')


async def test_the_most_trusted_value_is_shown_and_the_others_stay_readable(start: Start) -> None:
    profile = await start(source_trust={"crm": 80})
    path = f"/v1/customers/{await profile.register(name='Li', source='web', attributes={'plan': 'free'})}"
    headers = {"If-Match": '"v1"'}
    crm = {"name": "Li Lei", "source": "crm", "observed_at": "2020-01-01T00:00:00Z"}
    assert (await profile.client.patch(path, json=crm, headers=headers)).json()["name"] == "Li Lei"
    web = {"name": "L.", "source": "web", "attributes": {"plan": None}}
    answer = await profile.client.patch(path, json=web, headers={"If-Match": '"v2"'})
    assert (answer.json()["name"], answer.json()["attributes"]) == ("Li Lei", {})
    attributes = {a["name"]: a for a in (await profile.client.get(f"{path}/attributes")).json()["items"]}
    name = attributes["name"]
    assert (name["value"], name["source"], name["trust"]) == ("Li Lei", "crm", 80)
    assert name["rule"] == "most_trusted_then_most_recent"
    assert name["observed_at"] == "2020-01-01T00:00:00Z"
    assert [(v["value"], v["source"]) for v in name["others"]] == [("L.", "web"), ("Li", "web")]
    assert [v["value"] for v in attributes["plan"]["others"]] == ["free"]


async def test_attributes_are_bounded_in_number_and_a_name_always_fits(start: Start) -> None:
    profile = await start(max_attributes=2)
    path = f"/v1/customers/{await profile.register(attributes={'a': 1, 'b': 2})}"
    answer = await profile.client.patch(path, json={"attributes": {"c": 3}}, headers={"If-Match": '"v1"'})
    assert answer.json()["type"] == "/problems/too-many-attributes"
    answer = await profile.client.patch(path, json={"name": "A"}, headers={"If-Match": '"v1"'})
    assert answer.status_code == 200


async def test_an_unknown_customer_is_not_found(profile: Profile) -> None:
    path = f"/v1/customers/{uuid4()}"
    headers = {"If-Match": '"v1"'}
    answers = [
        await profile.client.get(path),
        await profile.client.patch(path, json={"name": "A"}, headers=headers),
        await profile.client.get(f"{path}/attributes"),
        await profile.client.post(f"{path}/identities", json={"kind": "email", "value": "a@example.com"}),
        await profile.client.delete(f"{path}/identities?email=a@example.com"),
        await profile.client.get(f"{path}/purchases"),
        await profile.client.get(f"{path}/activities"),
        await profile.client.get(f"{path}/consents"),
        await profile.client.get(f"{path}/consents/marketing"),
        await profile.client.put(f"{path}/consents/marketing", json={"status": "granted"}),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert all(answer.json()["type"] == "/problems/no-such-customer" for answer in answers)
