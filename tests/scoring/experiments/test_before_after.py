"""Before and after an event: what changed, with and without somebody to compare with."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from services.scoring.app import create_app
from services.scoring.settings import ScoringSettings
from shared.contracts.loyalty import ReferralCompleted
from shared.messaging.local import LocalBus
from tests.scoring.events import START, answered, bought, day, event, hear, purchase, registered
from tests.support.apps import running

EVENT = (START + timedelta(days=60)).date().isoformat()


async def test_a_change_is_told_with_what_it_may_come_from(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    rng = np.random.default_rng(3)
    customers = [uuid4() for _ in range(240)]
    treated = [n < 120 for n in range(240)]
    purchases, others = [], []
    for n, customer in enumerate(customers):
        # Season: everyone spends 500 more after the event; those treated 400 more still.
        for at in (35, 65):
            amount = int(rng.normal(3000, 300)) + (at > 60) * (500 + 400 * treated[n])
            purchases.append(purchase(customer, at, amount))
        if n % 2:
            purchases.append(purchase(customer, 10, 100))
        others.append(answered(customer, int(rng.integers(2, 4)), kind="csat", on=50))
        others.append(answered(customer, int(rng.integers(3, 5)), kind="csat", on=70))
    friends = [
        event(
            ReferralCompleted(
                customer_id=customer,
                referral_id=uuid4(),
                referee_id=uuid4(),
                purchase_id=uuid4(),
                points=1,
                occurred_at=day(70),
            )
        )
        for customer in customers[:60]
    ]
    async with running(app) as client:
        database = app.state.database
        told = [bought(*purchases[n : n + 500]) for n in range(0, len(purchases), 500)]
        await hear(database, settings, *(registered(c) for c in customers), *told, *others, *friends)

        async def read(metric: str, **more: Any) -> Any:
            asked = {"event_on": EVENT, "metric": metric, "window_days": 30} | more
            answer = await client.get("/v1/effects/before-after", params=asked)
            assert answer.status_code == 200, answer.text
            return answer.json()

        spend = await read("spend")
        assert spend["change"]["difference"] == pytest.approx(700, abs=80)
        assert spend["change"]["low"] > 500
        assert "may come from anything" in spend["words"][0]
        assert (spend["controlled"], spend["comparison"]) == (False, None)
        clv = await read("clv")
        assert clv["change"]["difference"] == pytest.approx(spend["change"]["difference"] * settings.margin)
        csat = await read("csat")
        assert csat["change"]["low"] < 1 < csat["change"]["high"]
        assert csat["change"]["before"] == pytest.approx(2.5, abs=0.1)
        kept = (await read("retention"))["change"]
        assert (kept["customers_before"], kept["customers_after"]) == (120, 240)
        assert (kept["before"], kept["after"], kept["low"]) == (1, 1, None), "all alike: no interval"
        brought = (await read("referral_rate"))["change"]
        assert (brought["before"], brought["after"]) == (0, 0.25)
        nothing = await read("nps")
        assert (nothing["change"]["before"], nothing["words"][1][:20]) == (None, "There is no interval")

        arms = [{"name": "c", "share": 0.5, "kind": "control"}, {"name": "t", "share": 0.5}]
        made = (await client.post("/v1/experiments", json={"name": "x", "arms": arms,
                "starts_at": day(1).isoformat()})).json()  # fmt: skip
        await client.post(f"/v1/experiments/{made['id']}:start")
        items = [
            {"customer_id": str(c), "exposed_at": day(59).isoformat(), "arm": "ct"[t]}
            for c, t in zip(customers, treated, strict=True)
        ]
        await client.post(f"/v1/experiments/{made['id']}/exposures:batch", json={"items": items})
        compared = await read("spend", experiment_id=made["id"])
        assert compared["difference_in_differences"] == pytest.approx(400, abs=120)
        assert compared["low"] > 200
        assert compared["comparison"]["difference"] == pytest.approx(500, abs=100)
        assert "divided by chance" in compared["words"][0]
        await database.pool.execute("UPDATE customer_scores SET segment = 'lost'")
        by_segment = await read("spend", segment="champions", control_segment="lost")
        assert by_segment["change"]["before"] is None
        assert "moved alike" in by_segment["words"][0]

        for wrong, words in (
            ({"event_on": "2026-06-20"}, "must be over by 2026-07-01"),
            ({"event_on": "0001-01-01"}, "before 1900"),
            ({"metric": "luck"}, "Input should be"),
            ({"segment": "whales"}, "must be one of"),
            ({"segment": "lost", "control_segment": "lost"}, "must differ"),
            ({"segment": "lost", "experiment_id": made["id"]}, "leave segments out"),
        ):
            asked = {"event_on": EVENT, "metric": "spend"} | wrong
            refused = await client.get("/v1/effects/before-after", params=asked)
            assert (refused.status_code, words in refused.text) == (422, True), refused.text
    await bus.close()
