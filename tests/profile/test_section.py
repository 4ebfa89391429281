"""What the profile shows of a customer in the 360 view."""

from uuid import UUID, uuid4

from services.profile.section import SECTION
from tests.profile.made import LI_LEI, PURCHASE, Profile


async def test_the_section_says_where_each_value_is_from(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI, source="crm", observed_at="2026-03-01T10:00:00Z")
    shown = await profile.section(customer_id)
    assert shown["name"] == "李雷"
    assert shown["attributes"]["plan"] == {
        "value": "pro",
        "source": "crm",
        "observed_at": "2026-03-01T10:00:00+00:00",
        "trust": 50,
        "rule": "most_trusted_then_most_recent",
    }
    assert [(i["kind"], i["source"], i["value"]) for i in shown["identities"]] == [
        ("email", None, "lilei@example.com"),
        ("external_id", "shop", "C-17"),
        ("phone", None, "+8613800138000"),
    ]
    assert shown["purchases"] == {"count": 0, "first_at": None, "last_at": None, "totals": []}
    assert (shown["consents"], shown["recent_purchases"], shown["recent_activities"]) == ([], [], [])


async def test_totals_hold_all_and_the_recent_only_ten(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI)
    items = [
        PURCHASE
        | {
            "source_id": f"O-{n}",
            "occurred_at": f"2026-03-{n + 1:02}T10:00:00Z",
            "currency": "EUR" if n % 5 == 0 else "CNY",
            "amount": 100 + n,
        }
        for n in range(25)
    ]
    await profile.client.post("/v1/purchases:batch", json={"items": items})
    visit = {"customer": {"id": customer_id}, "kind": "visit"}
    await profile.client.post("/v1/activities:batch", json={"items": [visit] * 25})
    shown = await profile.section(customer_id)
    assert shown["purchases"] == {
        "count": 25,
        "first_at": "2026-03-01T10:00:00+00:00",
        "last_at": "2026-03-25T10:00:00+00:00",
        "totals": [
            {
                "currency": "CNY",
                "count": 20,
                "amount": sum(100 + n for n in range(25) if n % 5),
                "refunded": 0,
            },
            {"currency": "EUR", "count": 5, "amount": 550, "refunded": 0},
        ],
    }
    assert [item["source_id"] for item in shown["recent_purchases"]] == [f"O-{n}" for n in range(24, 14, -1)]
    assert len(shown["recent_activities"]) == 10


async def test_sections_are_built_for_many_at_once_and_only_for_those_who_exist(profile: Profile) -> None:
    ids = [UUID(await profile.register(name=f"N{n}")) for n in range(3)]
    async with profile.pool.acquire() as connection:
        built = await SECTION.build(connection, [*ids, uuid4()])
        assert built == await SECTION.build(connection, [*ids[::-1], uuid4()])
        listed = await connection.fetch(SECTION.customers, ids[0], 10)
    assert built.keys() == set(ids)
    assert [row["customer_id"] for row in listed] == sorted(ids)[1:]


async def test_every_change_shows_the_section_anew(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI)
    await profile.none_waiting()
    changes = [
        ("POST", "/v1/purchases", PURCHASE),
        ("POST", "/v1/activities", {"customer": {"id": customer_id}, "kind": "visit"}),
        ("PUT", f"/v1/customers/{customer_id}/consents/news", {"status": "granted"}),
        ("POST", f"/v1/customers/{customer_id}/identities", {"kind": "email", "value": "b@example.com"}),
        ("DELETE", f"/v1/customers/{customer_id}/identities?email=b@example.com", None),
        ("PATCH", f"/v1/customers/{customer_id}", {"name": "L"}),
    ]
    for method, path, body in changes:
        heard = len(await profile.events("section.profile"))
        headers = {"If-Match": '"v3"'} if method == "PATCH" else {}
        answer = await profile.client.request(method, path, json=body, headers=headers)
        assert answer.is_success, answer.text
        await profile.none_waiting()
        shown = (await profile.events("section.profile"))[heard:]
        assert [str(snapshot.customer_id) for snapshot in shown] == [customer_id], path
        assert shown[-1].body == await profile.section(customer_id)
