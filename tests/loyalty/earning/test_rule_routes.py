"""Earning rules over HTTP: written, versioned, simulated; what has no limit is refused."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.loyalty.earning import rule_store
from services.loyalty.earning.rule_store import Version
from services.loyalty.reactions import make_reactions
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.contracts.handles import LineItem
from shared.contracts.profile import PurchaseRecorded
from shared.database import Database
from shared.messaging.consumer import Consumer
from tests.loyalty.earning.test_reactions import bought, hear, purchase
from tests.loyalty.points import MORNING, Ledger
from tests.loyalty.test_routes import is_problem

DOUBLE: dict[str, Any] = {
    "id": "double-kitchen",
    "name": "Double points on kitchen",
    "kind": "purchase",
    "multiplier": "2",
    "categories": ["kitchen"],
    "ends_at": (utc_now() + timedelta(days=30)).isoformat(),
}


async def test_a_rule_is_made_read_changed_and_ended(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/earning-rules", json=DOUBLE, headers={"Idempotency-Key": "a rule"})
    assert (made.status_code, made.headers["ETag"], made.json()["version"]) == (201, '"v1"', 1)
    again = await client.post("/v1/earning-rules", json=DOUBLE, headers={"Idempotency-Key": "a rule"})
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (made.json(), "true")
    assert is_problem(await client.post("/v1/earning-rules", json=DOUBLE), 409, "earning-rule-exists")
    path = "/v1/earning-rules/double-kitchen"
    assert (await client.get(path)).json() == made.json()
    assert is_problem(await client.patch(path, json={}), 428, "precondition-required")
    changed = await client.patch(path, json={"multiplier": "3"}, headers={"If-Match": '"v1"'})
    assert (changed.json()["multiplier"], changed.headers["ETag"]) == ("3", '"v2"')
    stale = await client.patch(path, json={"multiplier": "4"}, headers={"If-Match": '"v1"'})
    assert is_problem(stale, 412, "stale")
    assert (await client.delete(path, headers={"If-Match": '"v2"'})).status_code == 204
    assert (await client.get(path)).json()["enabled"] is False
    assert is_problem(await client.get("/v1/earning-rules/none"), 404, "unknown-earning-rule")
    listed = (await client.get("/v1/earning-rules", params={"limit": 3})).json()
    rest = (await client.get("/v1/earning-rules", params={"cursor": listed["next_cursor"]})).json()
    names = [rule["id"] for rule in listed["items"] + rest["items"]]
    assert names == sorted(names)
    assert {"purchase", "sign-up", "activity", "feedback", "double-kitchen"} <= set(names)


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "activity", "points": 10},
        {"kind": "purchase", "points": 10},
        {"kind": "purchase", "multiplier": "2"},
        {"kind": "purchase", "rate": "100"},
        {"kind": "purchase", "multiplier": "99", "ends_at": "2030-01-01T00:00:00Z"},
    ],
)
async def test_a_rule_that_would_award_without_limit_is_refused(
    client: httpx.AsyncClient, rule: dict[str, Any]
) -> None:
    answer = await client.post("/v1/earning-rules", json=rule | {"name": "much"})
    assert is_problem(answer, 422, "unlimited-earning-rule")


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"rate": "0"}, "/rate"),
        ({"rate": "1e30"}, "/rate"),
        ({"rate": "1", "points": 3}, ""),
        ({"points": 2**53}, "/points"),
        ({"kind": "party"}, "/kind"),
        ({"kind": "activity", "rate": "1"}, ""),
        ({"rate": "1", "currency": "yuan"}, "/currency"),
        ({"rate": "1", "categories": [""]}, "/categories/0"),
        ({"rate": "1", "starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}, ""),
        ({"rate": "1", "surprise": 1}, "/surprise"),
    ],
)
async def test_rules_that_do_not_fit_are_refused_by_field(
    client: httpx.AsyncClient, said: dict[str, Any], pointer: str
) -> None:
    answer = await client.post("/v1/earning-rules", json={"name": "n", "kind": "purchase"} | said)
    assert is_problem(answer, 422, "invalid")
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    changed = {key: value for key, value in said.items() if key != "kind"}
    if "kind" not in said:
        patched = await client.patch("/v1/earning-rules/purchase", json=changed, headers={"If-Match": '"v1"'})
        assert is_problem(patched, 422, "invalid") or changed == {}


async def test_a_rule_is_simulated_on_past_purchases_before_it_goes_live(
    client: httpx.AsyncClient, settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    consumer = Consumer(make_reactions(settings), database)
    one, two = uuid4(), uuid4()
    line = LineItem(sku="A", category="kitchen", amount=5000)
    pans = purchase(one, 9000).model_copy(update={"lines": (line,)})
    await hear(
        consumer, bought(pans, purchase(one, 700), purchase(two, 3000, at=MORNING + timedelta(days=9)))
    )
    before = await ledger.count("transfers")
    draft = {"rule": DOUBLE, "from": MORNING.isoformat(), "to": (MORNING + timedelta(days=10)).isoformat()}
    found = (await client.post("/v1/earning-rules:simulate", json=draft)).json()
    assert {name: found[name] for name in ("deeds", "awarded", "members", "points", "cost", "complete")} == {
        "deeds": 3,
        "awarded": 1,
        "members": 1,
        "points": 50,
        "cost": {"amount": 50, "currency": "CNY"},
        "complete": True,
    }
    bonus = {"name": "first", "kind": "purchase", "points": 100, "first_purchase_only": True}
    draft |= {"rule": bonus}
    found = (await client.post("/v1/earning-rules:simulate", json=draft)).json()
    assert (found["awarded"], found["points"]) == (2, 200)
    span = {"from": draft["from"], "to": draft["to"]}
    found = (await client.post("/v1/earning-rules/purchase:simulate", json=span)).json()
    assert (found["awarded"], found["points"], found["members"]) == (3, 127, 2)
    assert await ledger.count("transfers") == before
    backwards = {"from": draft["to"], "to": draft["from"]}
    answer = await client.post("/v1/earning-rules/purchase:simulate", json=backwards)
    assert is_problem(answer, 422, "invalid")


async def test_a_simulation_gives_what_the_rule_gives_once_it_is_there(
    client: httpx.AsyncClient, settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    """Another rule's limit is used up by half before, and the tiers had other multipliers since."""
    now, long_ago = utc_now(), MORNING - timedelta(days=400)
    bonus = {"name": "bonus", "kind": "purchase", "rate": "1", "monthly_limit": 1_000, "priority": 1}
    assert await rule_store.add(database.pool, Version("bonus", 1, bonus, long_ago), "test")
    tiers = [{"name": "regular", "threshold": 0}, {"name": "silver", "threshold": 500_000, "multiplier": "3"}]
    answer = await client.put("/v1/tiers", json={"tiers": tiers}, headers={"If-Match": '"v1"'})
    assert answer.status_code == 200, answer.text
    days = (1, 2, 10, 20, 40)

    def bought_by(member: UUID) -> PurchaseRecorded:
        return bought(*(purchase(member, 70_000 * n, at=MORNING + timedelta(days=n)) for n in days))

    start = MORNING + timedelta(days=5)
    double = {"name": "twice", "kind": "purchase", "multiplier": "2", "ends_at": now.isoformat()}
    alone = {"name": "alone", "kind": "purchase", "rate": "0.7", "exclusive": True, "monthly_limit": 2_000}
    for said in (double, alone):
        without, live = uuid4(), uuid4()
        consumer = Consumer(make_reactions(settings), database)
        await hear(consumer, bought_by(without))
        draft = {"rule": said | {"id": said["name"]}, "from": start.isoformat(), "to": now.isoformat()}
        found = (await client.post("/v1/earning-rules:simulate", json=draft)).json()
        said |= {"starts_at": start.isoformat()}
        assert await rule_store.add(database.pool, Version(said["name"], 1, said, long_ago), "test")
        await hear(consumer, bought_by(live))
        gained = await ledger.balance(live) - await ledger.balance(without)
        assert (found["points"], found["members"]) == (gained, 1)
        await ledger.pool.execute("DELETE FROM earning_rules WHERE id = $1", said["name"])
        await ledger.pool.execute("DELETE FROM deeds")


async def test_tiers_are_read_changed_and_shown_of_a_member(
    client: httpx.AsyncClient, settings: LoyaltySettings, database: Database
) -> None:
    member = uuid4()
    now = utc_now()
    await hear(
        Consumer(make_reactions(settings), database),
        bought(purchase(member, 600_000, at=now - timedelta(days=3))),
    )
    shown = (await client.get(f"/v1/loyalty/{member}")).json()["tier"]
    assert (shown["name"], shown["qualifying"], shown["next"]) == (
        "silver",
        600_000,
        {"name": "gold", "missing": 1_400_000},
    )
    assert shown["benefits"]["discount_percent"] == "2"
    changes = (await client.get(f"/v1/loyalty/{member}/tier-changes")).json()["items"]
    assert [(each["from_tier"], each["to_tier"]) for each in changes] == [("regular", "silver")]
    read = await client.get("/v1/tiers")
    assert [tier["threshold"] for tier in read.json()["tiers"]] == [0, 500_000, 2_000_000, 5_000_000]
    body = {"tiers": [{"name": "regular", "threshold": 0}, {"name": "friend", "threshold": 100_000}]}
    assert is_problem(await client.put("/v1/tiers", json=body), 428, "precondition-required")
    changed = await client.put("/v1/tiers", json=body, headers={"If-Match": read.headers["ETag"]})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert is_problem(await client.put("/v1/tiers", json=body, headers={"If-Match": '"v1"'}), 412, "stale")
    lavish = [{"name": "regular", "threshold": 0, "multiplier": "100"}]  # a point costs a hundredth
    answer = await client.put("/v1/tiers", json={"tiers": lavish}, headers={"If-Match": '"v2"'})
    assert is_problem(answer, 422, "unlimited-earning-rule")
    for wrong in ([], [{"name": "a", "threshold": 5}], [{"name": "a", "threshold": 0}] * 2):
        answer = await client.put("/v1/tiers", json={"tiers": wrong}, headers={"If-Match": '"v2"'})
        assert is_problem(answer, 422, "invalid")
    stranger = await client.get(f"/v1/loyalty/{uuid4()}/tier-changes")
    assert is_problem(stranger, 404, "unknown-member")
