"""What to offer whom: learnt from purchases, served at once, nothing that was bought or is out of stock."""

from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from services.scoring.app import create_app
from services.scoring.recommendations.neighbours import Pairs, best, learn, mix
from services.scoring.recommendations.service import refreshing, terms_of
from services.scoring.settings import ScoringSettings
from shared.contracts.handles import LineItem, Purchase
from shared.contracts.profile import CustomerRegistered
from shared.messaging.local import LocalBus
from tests.scoring.conftest import AS_OF
from tests.scoring.events import bought, day, event, given_back, hear, merged, purchase, refund, registered
from tests.support.apps import client_of, eventually, running

KITCHEN, GARDEN = [f"K{n}" for n in range(12)], [f"G{n}" for n in range(12)]


def sold(customer: UUID, on: float, *skus: str) -> Purchase:
    """A purchase with one line for each sku; the first letter tells the category."""
    lines = tuple(LineItem(sku=sku, category=sku[0], amount=1000) for sku in skus)
    return purchase(customer, on, 1000 * len(skus)).model_copy(update={"lines": lines})


def shopping(customers: list[UUID], seed: int = 1) -> list[Purchase]:
    """Each customer buys three items of one category and one of the other, some early, some late."""
    rng, found = np.random.default_rng(seed), []
    for n, customer in enumerate(customers):
        own, other = (KITCHEN, GARDEN) if n % 2 else (GARDEN, KITCHEN)
        for on, sku in zip((20, 90, 160), rng.choice(own, 3, replace=False), strict=True):
            found.append(sold(customer, on, str(sku)))
        if n % 5 == 0:
            found.append(sold(customer, 50, str(rng.choice(other))))
    return found


async def test_customers_are_offered_what_goes_with_what_they_bought(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        database = app.state.database

        async def offers(customer: UUID, limit: int = 10) -> Any:
            answer = await client.get(f"/v1/recommendations/{customer}", params={"limit": limit})
            assert answer.status_code == 200, answer.text
            return answer.json()

        async def told(*purchases: Purchase) -> None:
            await hear(database, settings, bought(*purchases))

        nobody = await client.post("/v1/recommendations:fit")
        assert (nobody.status_code, nobody.json()["type"]) == (409, "/problems/no-lines")
        fan, newcomer = uuid4(), uuid4()
        first = sold(fan, 10, "K0", "K1")
        await told(first)
        await hear(database, settings, registered(newcomer))
        alone = await client.post("/v1/recommendations:fit")
        assert (alone.status_code, alone.json()["type"]) == (409, "/problems/too-few-customers")
        empty = await offers(fan)
        assert (empty["items"], empty["model"]) == ([], None)
        assert "nothing has been learnt yet" in empty["unknown"][0]["why"]
        assert (await client.get(f"/v1/recommendations/{uuid4()}")).status_code == 404

        await told(*shopping([uuid4() for _ in range(80)]))
        learnt = await client.post("/v1/recommendations:fit")
        assert learnt.status_code == 201, learnt.text
        model = learnt.json()
        assert (model["items"], model["customers"], model["serving"]) == (24, 81, True)
        quality = model["quality"]
        assert quality["better"]
        assert quality["mixed"]["recall"] > quality["popularity"]["recall"]

        shown = await offers(fan)
        assert shown["model"] == model["name"]
        assert {item["sku"] for item in shown["items"][:4]} < set(KITCHEN) - {"K0", "K1"}
        best = shown["items"][0]
        assert best["reason"].startswith(("bought with K0 by", "bought with K1 by"))
        assert best["reason"].endswith("which they bought on 2026-01-11")
        assert sum(best["parts"].values()) == pytest.approx(best["score"])
        assert {
            "what": "stock",
            "why": "nobody has told the stock of 10 of the items: PUT /v1/items/{sku}",
        } in (shown["unknown"])
        popular = await offers(newcomer)
        assert popular["items"][0]["reason"] == "bought most of late"
        assert popular["unknown"][0]["what"] == "taste"

        # What is bought now is no longer offered, and what is given back is not offered again either.
        top = best["sku"]
        again = sold(fan, 170, top)
        await told(again)
        assert top not in {item["sku"] for item in (await offers(fan))["items"]}
        await hear(database, settings, given_back(refund(again, on=171)))
        assert top not in {item["sku"] for item in (await offers(fan))["items"]}

        other = uuid4()
        await told(sold(other, 30, "G0"))
        assert top in {item["sku"] for item in (await offers(other, 30))["items"]}
        await hear(database, settings, merged(fan, other))
        one = await offers(other, 30)
        assert (one["customer_id"], one["merged_into"]) == (str(fan), str(fan))
        assert not {top, "G0"} & {item["sku"] for item in one["items"]}

        second = shown["items"][1]["sku"]
        off = {"category": "K", "in_stock": False}
        assert (await client.put(f"/v1/items/{second}", json=off)).json()["told"]
        assert second not in {item["sku"] for item in (await offers(fan))["items"]}
        assert "K0" not in {item["sku"] for item in (await offers(fan))["items"]}
        steel = {"category": "K", "attributes": {"material": "steel"}}
        await client.put("/v1/items/K0", json=steel | {"repeatable": True})
        assert "K0" in {item["sku"] for item in (await offers(fan, 30))["items"]}

        # An item that nobody has bought yet is offered to those who bought what is like it.
        await client.put("/v1/items/KX", json=steel)
        later = (await client.post("/v1/recommendations:fit")).json()
        assert later["version"] > model["version"]
        fresh = {item["sku"]: item for item in (await offers(fan, 30))["items"]}
        assert fresh["KX"]["reason"].startswith("like K0, which")
        assert fresh["KX"]["parts"]["together"] == 0
        assert [m["serving"] for m in (await client.get("/v1/recommendations/models")).json()["items"]] == [
            True,
            False,
        ]
        assert await database.pool.fetchval("SELECT count(DISTINCT version) FROM item_neighbours") == 1

        everything = {"items": [{"sku": sku, "in_stock": False} for sku in (*KITCHEN, *GARDEN, "KX")]}
        await client.post("/v1/items:batch", json=everything)
        gone = await offers(fan)
        assert gone["items"] == []
        assert "nothing is in stock" in gone["unknown"][0]["why"]
    await bus.close()


async def test_items_are_told_one_by_one_and_in_batches(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        body = {
            "category": "tea",
            "attributes": {"weight_g": 250, "tags": ["green"]},
            "price": 900,
            "currency": "CNY",
        }
        made = await client.put("/v1/items/T%201", json=body)
        assert (made.status_code, made.headers["ETag"], made.json()["sku"]) == (201, '"v1"', "T 1")
        assert (await client.get("/v1/items/T%201")).json() == made.json()
        assert (await client.put("/v1/items/T%201", json=body)).status_code == 428
        assert (await client.put("/v1/items/T2", json=body, headers={"If-Match": '"v1"'})).status_code == 412
        tag = {"If-Match": made.headers["ETag"]}
        changed = await client.put("/v1/items/T%201", json=body | {"in_stock": False}, headers=tag)
        assert (changed.status_code, changed.headers["ETag"]) == (200, '"v2"')
        assert (await client.put("/v1/items/T%201", json=body, headers=tag)).status_code == 412
        batch = {"items": [{"sku": "T 1"} | body | {"in_stock": False}, {"sku": "A"}, {"sku": "T2"} | body]}
        assert (await client.post("/v1/items:batch", json=batch)).json() == {
            "created": 2,
            "changed": 0,
            "unchanged": 1,
        }
        page = (await client.get("/v1/items", params={"limit": 2})).json()
        assert [item["sku"] for item in page["items"]] == ["A", "T 1"]
        rest = (await client.get("/v1/items", params={"cursor": page["next_cursor"]})).json()
        assert ([item["sku"] for item in rest["items"]], rest["next_cursor"]) == (["T2"], None)
        tea = (await client.get("/v1/items", params={"category": "tea"})).json()
        assert [item["sku"] for item in tea["items"]] == ["T 1", "T2"]
        assert (await client.get("/v1/items/none")).status_code == 404
        for path, wrong in (
            ("/v1/items/X", {"price": 5}),
            ("/v1/items/X", {"attributes": {"deep": {"er": 1}}}),
            ("/v1/items/X", {"surprise": 1}),
            ("/v1/items/%00", {}),
        ):
            assert (await client.put(path, json=wrong)).status_code == 422, wrong
        twice = await client.post("/v1/items:batch", json={"items": [{"sku": "A"}, {"sku": "A"}]})
        assert (twice.status_code, "there twice" in str(twice.json())) == (422, True)
        assert (await client.get("/v1/items", params={"cursor": "WzFd"})).status_code == 400
        async with client_of(app, ["scores:read"]) as reader:
            assert (await reader.put("/v1/items/X", json={})).status_code == 403
            assert (await reader.post("/v1/recommendations:fit")).status_code == 403
    await bus.close()


async def test_what_is_learnt_is_learnt_anew_when_enough_has_changed(settings: ScoringSettings) -> None:
    """In the background, by whoever finds it due first; and what SQL offers is what was judged."""
    keen = settings.model_copy(update={"recommend_quiet_s": 0.0, "recommend_group": "plan"})
    bus = LocalBus()
    app = create_app(keen, bus)
    async with running(app) as client:
        database = app.state.database
        customers = [uuid4() for _ in range(60)]
        plans = [
            event(
                CustomerRegistered(
                    customer_id=c, registered_at=day(0), attributes={"plan": "pro" if n % 2 else "basic"}
                )
            )
            for n, c in enumerate(customers)
        ]
        newcomer = uuid4()
        plans.append(
            event(CustomerRegistered(customer_id=newcomer, registered_at=day(0), attributes={"plan": "pro"}))
        )
        purchases = shopping(customers)
        await hear(database, keen, *plans, bought(*purchases))

        async def learnt() -> Any:
            return (await client.get("/v1/recommendations/models")).json()["items"]

        (model,) = await eventually(learnt, within_s=30)
        assert sorted(model["groups"]) == ["basic", "pro"]
        assert await database.pool.fetchval("SELECT count(*) FROM recommendation_changes") == 0
        top = (await client.get(f"/v1/recommendations/{newcomer}")).json()["items"][0]
        assert (top["sku"][0], top["reason"]) == ("K", "bought most by customers with plan pro")

        skus = [f"{letter}{n}" for letter in "GK" for n in range(12)]
        pairs = Pairs(
            np.array([customers.index(p.customer_id) for p in purchases]),
            np.array([skus.index(p.lines[0].sku) for p in purchases]),
            np.array([(AS_OF - p.occurred_at.date()).days for p in purchases], dtype=np.float64),
        )
        group_of = np.array([1 + model["groups"].index("pro" if n % 2 else "basic") for n in range(60)])
        terms = terms_of(keen)
        known = learn(pairs, [[f"category={sku[0]}"] for sku in skus], group_of, 3, terms)
        ((_, scores),) = mix(known, pairs, np.array([7]), group_of, terms)
        scores[0, pairs.item[pairs.customer == 7]] = -1
        shown = (await client.get(f"/v1/recommendations/{customers[7]}")).json()["items"]
        assert [item["sku"] for item in shown[:5]] == [skus[item] for item in best(scores, 5)[0]]
        assert [item["score"] for item in shown] == pytest.approx(sorted(scores[0])[::-1][:10], rel=1e-5)

        # Others wait while one has the turn.
        await hear(database, keen, bought(*shopping([uuid4() for _ in range(30)], seed=2)))
        await refreshing(keen)(database)
        assert len(await learnt()) == 1
    await bus.close()
