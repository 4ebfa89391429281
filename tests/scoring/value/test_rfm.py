"""Recency, frequency and money cut and weighed as one likes, and how customers scored before."""

from uuid import uuid4

import numpy as np

from services.scoring.app import create_app
from services.scoring.settings import ScoringSettings
from services.scoring.value.rules import weighted
from shared.messaging.local import LocalBus
from tests.scoring.events import bought, hear, purchase
from tests.scoring.value.test_service import settle
from tests.support.apps import running


def test_the_weighted_sum_is_a_mean_of_the_three_scores() -> None:
    scores = np.array([[5, 1], [4, 1], [3, 1]])
    assert weighted(scores, (1, 1, 1)).tolist() == [4.0, 1.0]
    assert weighted(scores, (0, 1, 3)).tolist() == [3.25, 1.0]


async def test_cuts_that_are_set_score_everyone_anew_and_what_was_before_is_kept(
    settings: ScoringSettings,
) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        customers = [uuid4() for _ in range(6)]
        await hear(
            app.state.database,
            settings,
            bought(*(purchase(c, 9 * d, 1000) for n, c in enumerate(customers) for d in range(n + 1))),
        )
        await settle(app.state.database, settings)
        path = f"/v1/scores/{customers[-1]}"
        assert (await client.get(path)).json()["rfm"]["score"] == "555"
        first = await client.get("/v1/rfm")
        assert first.json()["chosen"]["recency"] is None
        assert len(first.json()["cuts"]["frequency"]) == 4
        tag = {"If-Match": first.headers["ETag"]}
        for wrong, where in (
            ({"recency": [9, 5, 20, 30]}, "/recency"),
            ({"monetary": {"CNY": [1, 2, 3]}}, "/monetary/CNY"),
            ({"monetary": {"yuan": [1, 2, 3, 4]}}, "/monetary/yuan"),
            ({"weights": {"recency": 0, "frequency": 0, "monetary": 0}}, "/weights"),
        ):
            refused = await client.put("/v1/rfm", json=wrong, headers=tag)
            assert refused.status_code == 422
            assert refused.json()["errors"][0]["pointer"].startswith(where)
        body = {
            "recency": [1, 10, 100, 1000],
            "frequency": [6, 7, 8, 9],
            "monetary": {"CNY": [2000, 4000, 5000, 9000]},
            "weights": {"recency": 0, "frequency": 1, "monetary": 3},
        }
        assert (await client.put("/v1/rfm", json=body)).status_code == 428
        changed = await client.put("/v1/rfm", json=body, headers=tag)
        assert changed.json()["cuts"]["frequency"] == [6, 7, 8, 9]
        assert (await client.put("/v1/rfm", json=body, headers=tag)).status_code == 412
        await settle(app.state.database, settings)
        shown = (await client.get(path)).json()["rfm"]
        assert (shown["score"], shown["weighted"]) == ("214", 3.25)

        (today,) = (await client.get(f"{path}/history")).json()["items"]
        assert (today["as_of"], today["frequency_score"]) == ("2026-07-01", 1)
        await app.state.database.pool.execute(
            "INSERT INTO rfm_history SELECT $1, '2026-05-01', 5, 5, 5, 'champions'", customers[-1]
        )
        page = (await client.get(f"{path}/history?limit=1")).json()
        assert page["items"] == [today]
        older = (await client.get(f"{path}/history", params={"cursor": page["next_cursor"]})).json()
        assert [then["segment"] for then in older["items"]] == ["champions"]
        assert older["next_cursor"] is None
        assert (await client.get(f"/v1/scores/{uuid4()}/history")).status_code == 404
    await bus.close()
