"""A customer's identities over HTTP."""

from tests.profile.conftest import Start
from tests.profile.made import LI_LEI, Profile, together

EMAIL = {"kind": "email", "value": "Second@example.com"}


async def test_an_identity_is_added_once_and_shown(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI)
    path = f"/v1/customers/{customer_id}/identities"
    answer = await profile.client.post(path, json=EMAIL)
    assert answer.status_code == 201
    assert answer.json() == {
        "kind": "email",
        "source": None,
        "value": "second@example.com",
        "verified": False,
    }
    assert (await profile.client.post(path, json=EMAIL)).status_code == 200
    read = await profile.client.get(f"/v1/customers/{customer_id}")
    assert read.headers["ETag"] == '"v2"'
    await profile.none_waiting()
    assert len((await profile.section(customer_id))["identities"]) == 4
    assert (await profile.client.get("/v1/customers?q=second")).json()["items"][0]["id"] == customer_id


async def test_an_identity_can_be_verified_and_stays_so(profile: Profile) -> None:
    customer_id = await profile.register(email="a@example.com")
    path = f"/v1/customers/{customer_id}/identities"
    verified = {"kind": "email", "value": "a@example.com", "verified": True}
    assert (await profile.client.post(path, json=verified)).json()["verified"] is True
    assert (await profile.client.post(path, json=verified | {"verified": False})).json()["verified"] is True


async def test_an_identity_of_somebody_else_is_a_conflict(profile: Profile) -> None:
    owner = await profile.register(email="a@example.com")
    other = await profile.register(email="b@example.com")
    answer = await profile.client.post(
        f"/v1/customers/{other}/identities", json={"kind": "email", "value": "a@example.com"}
    )
    assert (answer.status_code, answer.json()["customer_id"]) == (409, owner)


async def test_a_limit_holds_against_concurrent_additions(start: Start) -> None:
    profile = await start(max_emails=3)
    path = f"/v1/customers/{await profile.register(name='A')}/identities"
    added = [
        profile.client.post(path, json={"kind": "email", "value": f"a{n}@example.com"}) for n in range(6)
    ]
    answers = await together(*added)
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 3
    assert {a.json()["type"] for a in answers if a.status_code == 409} == {"/problems/too-many-identities"}


async def test_an_identity_taken_away_is_free_and_no_longer_found(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI)
    path = f"/v1/customers/{customer_id}/identities"
    assert (await profile.client.delete(f"{path}?external_id=shop:C-17")).status_code == 204
    assert (await profile.client.delete(f"{path}?external_id=shop:C-17")).status_code == 404
    assert (await profile.client.get("/v1/customers?q=c-17")).json()["items"] == []
    await profile.register(external_ids={"shop": "C-17"})


async def test_the_identity_to_take_away_is_named_by_one_parameter(profile: Profile) -> None:
    path = f"/v1/customers/{await profile.register(**LI_LEI)}/identities"
    assert (await profile.client.delete(path)).status_code == 422
    both = f"{path}?email=lilei@example.com&phone=13800138000"
    assert (await profile.client.delete(both)).status_code == 422
