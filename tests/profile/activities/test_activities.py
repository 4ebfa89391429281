"""Activities over HTTP."""

from typing import Any

from tests.profile.made import Profile, together

VISIT: dict[str, Any] = {
    "customer": {"email": "a@example.com"},
    "kind": "visit",
    "touchpoint": "product-page",
    "channel": "web",
    "stage": "consideration",
    "occurred_at": "2026-03-01T10:00:00Z",
    "details": {"sku": "A1", "seconds": 12.5},
}


async def test_an_activity_is_recorded_and_told(profile: Profile) -> None:
    answer = await profile.client.post("/v1/activities", json=VISIT)
    assert answer.status_code == 201
    body = answer.json()
    assert (body["kind"], body["details"], body["stage"]) == ("visit", VISIT["details"], "consideration")
    (event,) = await profile.events("activity.recorded")
    assert (str(event.items[0].activity_id), event.items[0].details) == (body["id"], VISIT["details"])
    await profile.none_waiting()
    (shown,) = (await profile.section(body["customer_id"]))["recent_activities"]
    assert (shown["id"], shown["touchpoint"]) == (body["id"], "product-page")


async def test_with_a_source_id_it_is_recorded_once_without_one_each_time(profile: Profile) -> None:
    named = VISIT | {"source": "tracker", "source_id": "V-1"}
    answers = await together(*(profile.client.post("/v1/activities", json=named) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    for _ in range(2):
        assert (await profile.client.post("/v1/activities", json=VISIT)).status_code == 201
    assert await profile.pool.fetchval("SELECT count(*) FROM activities") == 3


async def test_a_batch_says_what_became_of_each(profile: Profile) -> None:
    named = VISIT | {"source_id": "V-1"}
    unknown = {"id": "01900000-0000-7000-8000-000000000000"}
    items = [named, named, VISIT, VISIT, VISIT | {"customer": unknown}, VISIT | {"kind": ""}, None]
    answer = (await profile.client.post("/v1/activities:batch", json={"items": items})).json()
    assert (answer["accepted"], answer["duplicates"]) == (3, 1)
    assert [refused["index"] for refused in answer["rejected"]] == [4, 5, 6]
    single = await profile.client.post("/v1/activities", json=VISIT | {"customer": unknown})
    assert (single.status_code, single.json()["errors"][0]["pointer"]) == (422, "/customer/id")


async def test_large_details_are_split_over_events_and_too_large_ones_refused(profile: Profile) -> None:
    items = [VISIT | {"details": {"text": "字" * 2600}} for _ in range(250)]
    items.append(VISIT | {"details": {"text": "字" * 2800}})
    answer = (await profile.client.post("/v1/activities:batch", json={"items": items})).json()
    assert (answer["accepted"], len(answer["rejected"])) == (250, 1)
    events = await profile.events("activity.recorded", 2)
    assert sum(len(event.items) for event in events) == 250


async def test_the_activities_of_a_customer_are_paged_the_latest_first(profile: Profile) -> None:
    items = [VISIT | {"occurred_at": f"2026-03-0{day}T10:00:00Z", "kind": f"k{day}"} for day in (2, 1, 3)]
    await profile.client.post("/v1/activities:batch", json={"items": items})
    found = (await profile.client.get("/v1/customers?email=a@example.com")).json()["items"]
    path = f"/v1/customers/{found[0]['id']}/activities"
    first = (await profile.client.get(path, params={"limit": 2})).json()
    rest = (await profile.client.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [item["kind"] for item in (*first["items"], *rest["items"])] == ["k3", "k2", "k1"]
    assert rest["next_cursor"] is None
    assert (await profile.client.get(path, params={"cursor": "WyJ4IiwieSJd"})).status_code == 400
