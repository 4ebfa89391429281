"""The value index of customers: kept in the background, weighed by judgements, with what moved it."""

from itertools import pairwise
from uuid import uuid4

import numpy as np
import pytest

from services.scoring.app import create_app
from services.scoring.settings import ScoringSettings
from services.scoring.value_index.rules import MEASURES, Setup, index, levels, measure_weights, moved, score
from services.scoring.value_index.service import index_on
from shared.contracts.loyalty import ReferralCompleted
from shared.database import Database
from shared.messaging.local import LocalBus
from tests.scoring.events import answered, bought, day, event, hear, purchase, table, ticket
from tests.support.apps import eventually, running

EVEN = measure_weights(levels(Setup()))


def test_a_score_is_the_share_that_does_worse_with_ties_counted_half() -> None:
    cuts = [0.0] * 50 + [float(n) for n in range(1, 50)]
    scores = score(np.array([0.0, 100.0, -1.0, np.nan]), cuts)
    assert scores[:3] == pytest.approx([25 / 99, 1, 0])
    assert np.isnan(scores[3])


def test_the_weight_of_what_is_not_known_goes_to_the_rest() -> None:
    scores = {m: np.array([0.8, np.nan, 0.5]) for m in MEASURES} | {"csat": np.array([0.0, np.nan, np.nan])}
    best, nobody, middling = index(scores, EVEN, Setup())
    assert best is not None
    assert (best.value, best.grade) == (0.7, "high")
    assert nobody is None
    assert middling is not None
    assert (middling.value, middling.grade, len(middling.parts)) == (0.5, "middle", 7)


def test_the_part_that_changed_most_moved_the_index() -> None:
    before = dict.fromkeys(MEASURES, 0.5)
    assert moved(before, before | {"complaints": 0.1, "csat": 0.6}, EVEN) == ("complaints", -0.05)
    assert moved(before, before, EVEN) is None


async def test_customers_are_indexed_and_what_moved_them_is_told(
    database: Database, settings: ScoringSettings
) -> None:
    customers = [uuid4() for _ in range(20)]
    await hear(
        database,
        settings,
        bought(
            *(purchase(c, d * 9, 500 + 90 * n) for n, c in enumerate(customers) for d in range(1 + n // 2))
        ),
        event(
            ReferralCompleted(
                customer_id=customers[-1],
                referral_id=uuid4(),
                referee_id=customers[0],
                purchase_id=uuid4(),
                points=1,
                occurred_at=day(1),
            )
        ),
    )
    while await index_on(database, settings):
        pass
    rows = {row["customer_id"]: row for row in await table(database, "value_indexes")}
    assert len(rows) == 20
    values = [rows[c]["value"] for c in customers]
    assert all(a <= b + 0.02 for a, b in pairwise(values))
    assert (rows[customers[0]]["grade"], rows[customers[-1]]["grade"]) == ("low", "high")
    assert rows[customers[0]]["moved"] is None
    await hear(database, settings, ticket(uuid4(), customers[-1]), answered(customers[3], 2, kind="csat"))
    while await index_on(database, settings):
        pass
    after = {row["customer_id"]: row for row in await table(database, "value_indexes")}
    unhappy = after[customers[-1]]
    assert unhappy["value"] < rows[customers[-1]]["value"]
    assert (unhappy["moved"], unhappy["moved_by"] < 0) == ("complaints", True)
    assert after[customers[1]] == rows[customers[1]]
    await database.pool.execute("DELETE FROM customer_facts WHERE customer_id = $1", customers[0])
    assert len(await table(database, "value_indexes")) == 19


async def test_the_comparisons_are_set_by_whoever_read_them_last(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        customers = [uuid4() for _ in range(6)]
        purchases = [purchase(c, 9 * d) for n, c in enumerate(customers) for d in range(n + 1)]
        await hear(app.state.database, settings, bought(*purchases))
        first = await client.get("/v1/value-index")
        assert first.json()["weights"]["clv"] == 0.125
        circle = [
            {"more": a, "less": b, "ratio": 5}
            for a, b in pairwise(["financial", "satisfaction", "loyalty", "financial"])
        ] + [{"more": "relationship", "less": "loyalty", "ratio": 1}]
        tag = {"If-Match": first.headers["ETag"]}
        refused = await client.put("/v1/value-index", json={"goal": circle}, headers=tag)
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/contradictory-comparisons")
        assert refused.json()["most_inconsistent"]["ratio"] == 5
        loose = await client.put("/v1/value-index", json={"goal": circle[:1]}, headers=tag)
        assert (loose.status_code, loose.json()["type"]) == (422, "/problems/unconnected-comparisons")
        body = {"loyalty": [{"more": "repurchase", "less": "referral", "ratio": 9}]}
        assert (await client.put("/v1/value-index", json=body)).status_code == 428
        changed = await client.put("/v1/value-index", json=body, headers=tag)
        assert changed.json()["weights"]["repurchase"] == pytest.approx(0.225)
        assert (await client.put("/v1/value-index", json=body, headers=tag)).status_code == 412

        async def indexed() -> object:
            return (await client.get(f"/v1/scores/{customers[-1]}")).json()["value_index"]

        shown = await eventually(indexed, within_s=20)
        assert isinstance(shown, dict)
        assert shown["grade"] == "high"
        assert set(shown["parts"]) == {"complaints", "repurchase", "referral", "depth", "stability"}
        assert (await client.get("/v1/value-index")).json()["grades"]["high"] > 0
    await bus.close()
