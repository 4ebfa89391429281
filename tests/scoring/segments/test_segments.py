"""Rules over HTTP, and who is in them as things happen and days pass."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from services.scoring.app import create_app
from services.scoring.segments import service
from services.scoring.segments.service import segment_on
from services.scoring.settings import ScoringSettings
from shared.database import Database
from shared.messaging.local import LocalBus
from tests.scoring.conftest import AS_OF
from tests.scoring.events import bought, given_back, hear, purchase, refund, ticket
from tests.support.apps import eventually, running


async def settle(database: Database, settings: ScoringSettings) -> None:
    """Let the background job come to its end."""
    while await segment_on(database, settings):
        pass


async def told(database: Database, kind: str = "rule") -> list[tuple[UUID, list[str], list[str]]]:
    """Who came in and left, as events told it since this was last asked, by customer."""
    rows = await database.pool.fetch(
        "DELETE FROM outbox WHERE type = 'segment.changed' AND envelope::jsonb -> 'data' ->> 'kind' = $1"
        " RETURNING envelope",
        kind,
    )
    found = [orjson.loads(row["envelope"])["data"] for row in rows]
    return sorted((UUID(one["customer_id"]), one["entered"], one["left"]) for one in found)


async def add(database: Database, name: str, expression: str) -> None:
    await database.pool.execute("INSERT INTO segments (name, expression) VALUES ($1, $2)", name, expression)
    await database.pool.execute("UPDATE segment_walk SET as_of = NULL")


async def test_customers_come_and_go_as_things_happen_and_days_pass(
    database: Database, settings: ScoringSettings
) -> None:
    rich, poor, late = (uuid4() for _ in range(3))
    first = purchase(rich, 170, 90_000)
    await hear(database, settings, bought(first, purchase(poor, 170, 100), purchase(late, 20, 200)))
    await add(database, "rich", "spend > 50000")
    await add(database, "recent", "last_purchase within 30 days")
    await settle(database, settings)
    assert await told(database) == sorted([(rich, ["recent", "rich"], []), (poor, ["recent"], [])])
    assert await database.pool.fetchval("SELECT count(*) FROM segments WHERE computed_at IS NOT NULL") == 2

    await hear(database, settings, ticket(uuid4(), rich))
    await settle(database, settings)
    assert await told(database) == []

    await hear(database, settings, given_back(refund(first, on=175)), bought(purchase(poor, 171, 70_000)))
    await settle(database, settings)
    assert await told(database) == sorted([(rich, [], ["recent", "rich"]), (poor, ["rich"], [])])

    later = settings.model_copy(update={"as_of": AS_OF + timedelta(days=60), "chunk": 1})
    await settle(database, later)
    assert await told(database) == [(poor, [], ["recent"])]
    await settle(database, later)
    assert await told(database) == []

    await database.pool.execute("DELETE FROM customer_facts WHERE customer_id = $1", poor)
    assert await database.pool.fetchval("SELECT count(*) FROM segment_members") == 0


async def test_segments_are_tried_made_changed_and_taken_away(
    settings: ScoringSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = LocalBus()
    app = create_app(settings.model_copy(update={"fit_minimum_customers": 5}), bus)
    async with running(app) as client:
        assert (await client.get("/v1/segments/clusters")).status_code == 404
        few = await client.post("/v1/segments/clusters:fit")
        assert (few.status_code, few.json()["type"]) == (409, "/problems/too-few-customers")
        wrong = await client.post("/v1/segments/clusters:fit", json={"fewest": 5, "most": 4})
        assert wrong.status_code == 422
        customers = sorted(uuid4() for _ in range(5))
        purchases = [purchase(c, 170, 100 * (n + 1)) for n, c in enumerate(customers)]
        await hear(app.state.database, settings, bought(*purchases))
        said = 'spend >= 300 and not (complaints > 0 or tier = "金卡")'
        tried = (await client.post("/v1/segments:preview", json={"expression": said})).json()
        assert (tried["count"], tried["customers"]) == (3, 5)
        assert tried["sample"] == [str(c) for c in customers[2:]]
        assert [(p["comparison"], p["customers"]) for p in tried["parts"]] == [
            ("spend >= 300", 3), ("complaints > 0", 0), ('tier = "金卡"', 0),
        ]  # fmt: skip
        assert "minor units" in tried["parts"][0]["meaning"]
        refused = await client.post("/v1/segments:preview", json={"expression": " spent > 3"})
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/bad-expression")
        assert refused.json()["errors"] == [
            {
                "pointer": "/expression",
                "detail": "there is no such field; did you mean spend or consent?",
                "position": 1,
                "excerpt": " spent > 3\n ^^^^^",
            }
        ]

        body = {"name": "good", "expression": said, "description": "who spend"}
        made = await client.post("/v1/segments", json=body, headers={"Idempotency-Key": "one"})
        assert made.status_code == 201
        again = await client.post("/v1/segments", json=body, headers={"Idempotency-Key": "one"})
        assert again.json() == made.json()
        there = await client.post("/v1/segments", json=body)
        assert (there.status_code, there.json()["type"]) == (409, "/problems/segment-exists")
        monkeypatch.setattr(service, "MOST_SEGMENTS", 1)
        more = await client.post("/v1/segments", json=body | {"name": "one more"})
        assert (more.status_code, more.json()["type"]) == (409, "/problems/too-many-segments")
        path = made.headers["Location"]

        async def computed() -> Any:
            return (answer := (await client.get(path)).json())["computed_at"] and answer

        shown = await eventually(computed)
        assert (shown["members"], shown["expression"], shown["version"]) == (3, said, 1)
        page = (await client.get(f"{path}/customers", params={"limit": 2})).json()
        rest = await client.get(f"{path}/customers", params={"cursor": page["next_cursor"]})
        found = [member["customer_id"] for member in page["items"] + rest.json()["items"]]
        assert found == [str(c) for c in customers[2:]]

        async def section() -> Any:
            return (await client.get(f"/v1/scores/{customers[4]}")).json()["segments"]

        assert await section() == ["good"]
        change = {"expression": "spend < 0"}
        assert (await client.patch(path, json=change)).status_code == 428
        changed = await client.patch(path, json=change, headers={"If-Match": made.headers["ETag"]})
        assert (changed.status_code, changed.json()["version"]) == (200, 2)
        assert changed.json()["description"] == "who spend"
        stale = await client.patch(path, json=change, headers={"If-Match": made.headers["ETag"]})
        assert stale.status_code == 412
        wrong = {"expression": "spend <"}
        assert (await client.patch(path, json=wrong, headers={"If-Match": '"v2"'})).status_code == 422

        async def empty() -> Any:
            return await section() == []

        await eventually(empty)
        listed = (await client.get("/v1/segments")).json()["items"]
        assert [(one["name"], one["members"]) for one in listed] == [("good", 0)]
        assert (await client.delete(path, headers={"If-Match": '"v2"'})).status_code == 204
        assert (await client.get(path)).status_code == 404
        assert (await client.get(f"{path}/customers")).status_code == 404
        assert (await client.post("/v1/segments", json=body)).status_code == 201
        fields = (await client.get("/v1/segment-fields")).json()["items"]
        more = [purchase(uuid4(), 10 + 8 * n, 9_000) for n in range(20)]
        await hear(app.state.database, settings, bought(*more))
        fitted = await client.post("/v1/segments/clusters:fit", json={"most": 3})
        assert (fitted.status_code, fitted.json()["fitted_to"]) == (201, 25)
        clusters = (await client.get("/v1/segments/clusters")).json()
        assert clusters["clusters"][0].keys() == {"label", "customers", "profile", "standing", "typical"}
        assert {"consent.PURPOSE.CHANNEL", "spend.CURRENCY", "attribute.NAME"} <= {f["name"] for f in fields}
    await bus.close()


async def test_a_segment_that_is_taken_away_is_left_by_its_customers(
    database: Database, settings: ScoringSettings
) -> None:
    customers = sorted(uuid4() for _ in range(3))
    await hear(database, settings, bought(*(purchase(c, 10) for c in customers)))
    await add(database, "buyers", "purchases > 0")
    await settle(database, settings)
    assert len(await told(database)) == 3
    await database.pool.execute("UPDATE segments SET deleted_at = now()")
    await add(database, "buyers", "purchases > 5")
    await settle(database, settings)
    assert await told(database) == [(c, [], ["buyers"]) for c in customers]
    assert await database.pool.fetchval("SELECT count(*) FROM segments") == 1
