"""The forecast of demand: made from the serving models, kept, and compared with what came."""

from datetime import timedelta
from uuid import uuid4

import numpy as np
import pytest

from services.scoring.app import create_app
from services.scoring.demand import service, store
from services.scoring.models.estimation import Estimate
from services.scoring.models.store import add_version
from services.scoring.settings import ScoringSettings
from shared.messaging.local import LocalBus
from tests.scoring.conftest import AS_OF
from tests.scoring.events import bought, given_back, hear, purchase, refund
from tests.support.apps import eventually, running

PURCHASES = Estimate(
    {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426},
    {},
    -1.0,
    100,
    1,
    tuple(map(tuple, np.diag([0.0002, 0.14, 0.034, 0.5]).tolist())),
)
SPEND = Estimate(
    {"p": 6.25, "q": 3.74, "gamma": 1544.0}, {}, -1.0, 100, 1, ((1.4, 0, 0), (0, 0.08, 0), (0, 0, 2e4))
)


async def test_a_forecast_is_made_kept_and_compared_with_what_came(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings.model_copy(update={"demand_weeks": 0}), bus)  # none but those made here
    async with running(app) as client:
        database = app.state.database
        empty = (await client.get("/v1/demand")).json()
        assert (empty["forecast"], empty["made_on"]) == ([], None)
        assert "No model of purchases serves" in empty["unknown"][0]["why"]
        refused = await client.post("/v1/demand:forecast")
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/no-model")

        async with database.pool.acquire() as connection, connection.transaction():
            window = (AS_OF, AS_OF)
            await add_version(connection, "bg_nbd", PURCHASES, unit="week", currency=None, window=window)
            await add_version(connection, "gamma_gamma", SPEND, unit=None, currency="CNY", window=window)
        alone = await client.post("/v1/demand:forecast", json={"weeks": 2})
        assert (alone.status_code, alone.json()["type"]) == (409, "/problems/too-few-customers")

        customers = [uuid4() for _ in range(60)]
        early = [
            purchase(c, d * 30 + n % 20, 900 + 10 * n) for n, c in enumerate(customers) for d in range(6)
        ]
        await hear(database, settings, bought(*early, purchase(uuid4(), 100, 500, "EUR")))
        assert (await client.post("/v1/demand:forecast", json={"weeks": 53})).status_code == 422
        answer = await client.post("/v1/demand:forecast", json={"weeks": 4})
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert (made["customers"], made["currency"], made["currencies"]) == (61, "CNY", ["CNY", "EUR"])
        assert (made["purchase_model"], made["spend_model"]) == ("bg_nbd/1", "gamma_gamma/1")
        assert [w["week_from"] for w in made["forecast"]] == [
            str(AS_OF + timedelta(days=1 + 7 * n)) for n in range(4)
        ]
        first = made["forecast"][0]
        assert 0 < first["purchases"]["low"] < first["purchases"]["expected"] < first["purchases"]["high"]
        worth = first["revenue"]["expected"] / first["purchases"]["expected"]
        assert 900 < worth < 1500
        euros = (await client.get("/v1/demand", params={"currency": "EUR"})).json()
        assert (euros["spend_model"], euros["forecast"][0]["revenue"]) == (None, None)
        assert [u["what"] for u in euros["unknown"]] == ["new customers", "revenue in EUR"]
        segments = [name for name in made["segments"] if name != "all"]
        parts = [(await client.get("/v1/demand", params={"segment": s, "currency": "CNY"})) for s in segments]
        sums = sum(p.json()["forecast"][0]["purchases"]["expected"] for p in parts if p.status_code == 200)
        assert abs(sums - first["purchases"]["expected"]) < 1e-9
        assert (await client.get("/v1/demand", params={"segment": "nobody"})).status_code == 404
        assert (await client.get("/v1/demand", params={"currency": "XXX"})).status_code == 404

        # A second forecast of the day takes the first one's place.
        again = (await client.post("/v1/demand:forecast", json={"weeks": 4})).json()
        assert again["forecast"][0]["purchases"]["expected"] == pytest.approx(first["purchases"]["expected"])
        assert await database.pool.fetchval("SELECT count(*) FROM forecasts") == 1

        # Purchases of the weeks after: two of one customer on one day count once; one is given back in full.
        after = [purchase(c, 182 + n % 7, 1000) for n, c in enumerate(customers[:10])]
        twice = after[0].model_copy(update={"purchase_id": uuid4(), "source_id": "again"})
        await hear(
            database,
            settings.model_copy(update={"as_of": AS_OF + timedelta(days=20)}),
            bought(*after, twice, purchase(uuid4(), 183, 9999)),
            given_back(refund(after[1], on=186), refund(after[2], 400, on=187)),
        )
        async with database.pool.acquire() as connection:
            assert await store.track(connection, AS_OF + timedelta(days=14)) == 1
            assert await store.track(connection, AS_OF + timedelta(days=14)) == 0
        shown = (await client.get("/v1/demand")).json()
        (past,) = shown["past"]
        assert (past["purchases"]["actual"], past["revenue"]["actual"]) == (9, 9 * 1000 + 1000 - 400)
        assert shown["tracked"]["purchases"]["weeks"] == 1
        inside = past["purchases"]["low"] <= 9 <= past["purchases"]["high"]
        assert shown["tracked"]["purchases"]["coverage"] == float(inside)
        assert shown["tracked"]["purchases"]["bias"] > -1

        # What came late is counted two weeks after a week's end, and then it stands.
        await hear(database, settings, given_back(refund(after[3], on=190)))
        async with database.pool.acquire() as connection:
            assert await store.track(connection, AS_OF + timedelta(days=40)) == 4
            assert await store.track(connection, AS_OF + timedelta(days=90)) == 1
            assert await store.track(connection, AS_OF + timedelta(days=90)) == 0
        settled = (await client.get("/v1/demand")).json()["past"]
        assert [week["purchases"]["actual"] for week in settled] == [0, 0, 0, 8]

        # The week has its forecast, so the weekly job makes none.
        weekly = service.weekly(settings)
        await weekly(database)
        begun = "SELECT not_before > 'epoch' FROM background_turns WHERE name = 'demand'"
        assert not await database.pool.fetchval(begun)
        later = settings.model_copy(update={"as_of": AS_OF + timedelta(days=14)})
        await service.weekly(later)(database)
        assert await database.pool.fetchval(begun)

        async def made_again() -> bool:
            return bool(await database.pool.fetchval("SELECT count(*) = 2 FROM forecasts"))

        await eventually(made_again, within_s=30)
    await bus.close()
