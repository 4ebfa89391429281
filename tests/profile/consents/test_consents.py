"""Consents: the latest word stands, every word keeps its evidence."""

from typing import Any

from tests.profile.made import Profile

GRANTED: dict[str, Any] = {
    "status": "granted",
    "channel": "email",
    "evidence": {"shown": "May we write to you?", "where": "checkout"},
    "occurred_at": "2026-03-01T10:00:00Z",
}


async def consents_of(profile: Profile) -> str:
    return f"/v1/customers/{await profile.register(name='A')}/consents"


async def test_a_consent_stands_is_told_and_shown(profile: Profile) -> None:
    path = await consents_of(profile)
    answer = await profile.client.put(f"{path}/marketing", json=GRANTED)
    assert answer.status_code == 200
    assert (answer.json()["purpose"], answer.json()["granted_now"]) == ("marketing", True)
    (event,) = await profile.events("consent.changed")
    assert (event.purpose, event.channel, event.status) == ("marketing", "email", "granted")
    assert event.evidence == GRANTED["evidence"]
    assert (await profile.client.get(path)).json()["items"] == [answer.json()]
    await profile.none_waiting()
    (shown,) = (await profile.section(event.customer_id))["consents"]
    assert (shown["purpose"], shown["status"]) == ("marketing", "granted")


async def test_a_withdrawal_stands_and_the_grant_stays_readable(profile: Profile) -> None:
    path = await consents_of(profile)
    await profile.client.put(f"{path}/marketing", json=GRANTED)
    await profile.client.put(f"{path}/marketing", json={"status": "withdrawn", "channel": "email"})
    (standing,) = (await profile.client.get(path)).json()["items"]
    assert (standing["status"], standing["granted_now"]) == ("withdrawn", False)
    first = (await profile.client.get(f"{path}/marketing?limit=1")).json()
    rest = (await profile.client.get(f"{path}/marketing", params={"cursor": first["next_cursor"]})).json()
    assert [item["status"] for item in (*first["items"], *rest["items"])] == ["withdrawn", "granted"]
    assert rest["items"][0]["evidence"] == GRANTED["evidence"]


async def test_a_word_that_arrives_late_is_kept_and_changes_nothing(profile: Profile) -> None:
    path = await consents_of(profile)
    await profile.client.put(f"{path}/marketing", json=GRANTED)
    late = {"status": "denied", "channel": "email", "occurred_at": "2026-02-01T10:00:00Z"}
    answer = await profile.client.put(f"{path}/marketing", json=late)
    assert answer.json()["status"] == "granted"
    assert len((await profile.client.get(f"{path}/marketing")).json()["items"]) == 2
    await profile.none_waiting()
    assert len(await profile.events("consent.changed")) == 1


async def test_a_repeat_writes_nothing(profile: Profile) -> None:
    path = await consents_of(profile)
    first = await profile.client.put(f"{path}/marketing", json=GRANTED)
    again = await profile.client.put(f"{path}/marketing", json=GRANTED)
    assert again.json() == first.json()
    assert await profile.pool.fetchval("SELECT count(*) FROM consents") == 1


async def test_an_expired_permission_is_none(profile: Profile) -> None:
    path = await consents_of(profile)
    expired = GRANTED | {"expires_at": "2026-04-01T00:00:00Z"}
    assert (await profile.client.put(f"{path}/marketing", json=expired)).json()["granted_now"] is False


async def test_each_purpose_and_channel_has_its_own_and_their_number_is_bounded(profile: Profile) -> None:
    path = await consents_of(profile)
    for n in range(100):
        answer = await profile.client.put(
            f"{path}/p{n // 2}", json={"status": "denied", "channel": f"c{n % 2}"}
        )
        assert answer.status_code == 200
    assert len((await profile.client.get(path)).json()["items"]) == 100
    full = await profile.client.put(f"{path}/more", json={"status": "denied"})
    assert (full.status_code, full.json()["type"]) == (409, "/problems/too-many-consents")
    assert (
        await profile.client.put(f"{path}/p0", json={"status": "granted", "channel": "c0"})
    ).status_code == 200


async def test_what_does_not_fit_is_refused(profile: Profile) -> None:
    path = await consents_of(profile)
    for body in ({}, {"status": "maybe"}, {"status": "granted", "evidence": {"n": 10**30}}, {"status": None}):
        assert (await profile.client.put(f"{path}/marketing", json=body)).status_code == 422
    assert (await profile.client.put(f"{path}/mar%00keting", json=GRANTED)).status_code == 422
