"""Models of uplift rank customers by what the treatment does to them, where it differs; else they say so."""

from typing import Any
from uuid import UUID

import numpy as np
import pytest

from services.scoring.app import create_app
from services.scoring.experiments.uplift import gains, qini, rank
from services.scoring.settings import ScoringSettings
from shared.messaging.local import LocalBus
from tests.scoring.events import bought, day, hear, purchase, registered
from tests.support.apps import running


def made(n: int, share: float, differs: float, seed: int) -> tuple[Any, Any, Any, Any]:
    """Customers of two features: the first moves the uplift, the second how many buy anyway."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    treated = rng.random(n) < share
    uplift = 0.05 + differs * np.tanh(x[:, 0])
    chance = np.clip(0.35 + 0.1 * np.tanh(x[:, 1]) + treated * uplift, 0, 1)
    x[rng.random(n) < 0.05, 1] = np.nan
    return x, treated, rng.random(n) < chance, uplift


def test_the_curve_of_gains_is_what_it_is_by_hand() -> None:
    treated = np.array([True, False, True, False])
    y = np.array([True, False, False, True])
    share, won = gains(np.array([4.0, 3.0, 2.0, 1.0]), treated, y)
    assert share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert won.tolist() == [0, 0.5, 0.5, 0.5, 0]
    # Trapezoids of 0.25 wide: 0.0625 + 0.125 + 0.125 + 0.0625; at random the end is 0, and so is the area.
    assert qini(np.array([4.0, 3.0, 2.0, 1.0]), treated, y) == pytest.approx(0.375)
    assert qini(np.array([1.0, 2.0, 3.0, 4.0]), treated, y) == pytest.approx(-0.375)
    assert qini(np.zeros(4), treated, y) == 0, "who tells nobody apart ranks as at random"


def test_planted_uplift_is_ranked_rightly_though_arms_are_uneven() -> None:
    x, treated, y, uplift = made(5000, 0.7, 0.25, 3)
    rankings = rank(x, treated, y)
    assert {(r.method, r.learner) for r in rankings} == {
        (m, c) for m in ("two_model", "class_transformation") for c in ("logistic", "gradient_boosting")
    }
    perfect = qini(uplift, treated, y)
    for ranking in rankings:
        assert ranking.qini > ranking.by_chance
        assert ranking.qini > 0.6 * perfect
        best, *_, worst = ranking.fifths
        assert best.observed is not None
        assert worst.observed is not None
        assert best.observed > 0.15
        assert worst.observed < 0
        assert ranking.curve[0] == 0
        assert ranking.curve[-1] == pytest.approx(ranking.random[-1])
        assert ranking.curve[5] > ranking.random[5]


def test_where_all_are_moved_alike_no_model_ranks_much() -> None:
    assert not any(r.qini > r.by_chance for r in rank(*made(2000, 0.5, 0.0, 4)[:3]))


async def test_uplift_is_learnt_from_a_running_experiment(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    rng = np.random.default_rng(8)
    customers = [UUID(int=n) for n in range(1, 901)]
    treated = rng.random(900) < 0.5
    purchases = []
    for n, customer in enumerate(customers):
        loyal = n % 2 == 0
        purchases += [purchase(customer, 5 + k, 1000) for k in range(3 if loyal else 1)]
        if rng.random() < 0.3 + treated[n] * (0.4 if loyal else -0.2):
            purchases.append(purchase(customer, 40 + rng.random(), 1000))
    async with running(app) as client:
        told = [bought(*purchases[n : n + 500]) for n in range(0, len(purchases), 500)]
        await hear(app.state.database, settings, *(registered(c) for c in customers), *told)
        arms = [{"name": "c", "share": 0.5, "kind": "control"}, {"name": "t", "share": 0.5}]
        body = {"name": "x", "arms": arms, "starts_at": day(1).isoformat(), "currency": "CNY"}
        where = f"/v1/experiments/{(await client.post('/v1/experiments', json=body)).json()['id']}"
        assert (await client.post(f"{where}:uplift")).json()["type"] == "/problems/experiment-not-begun"
        await client.post(f"{where}:start")
        assert (await client.get(f"{where}/uplift")).status_code == 404
        few = await client.post(f"{where}:uplift")
        assert (few.status_code, few.json()["type"]) == (409, "/problems/too-few-to-model")
        assert (await client.post(f"{where}:uplift", json={"arm": "c"})).status_code == 422
        items = [
            {"customer_id": str(c), "exposed_at": day(30).isoformat(), "arm": "ct"[int(t)]}
            for c, t in zip(customers, treated, strict=True)
        ]
        await client.post(f"{where}/exposures:batch", json={"items": items})
        learnt = (await client.post(f"{where}:uplift", json={"arm": "t"})).json()
        assert (learnt["customers"], learnt["arm"], learnt["against"]) == (900, "t", "c")
        assert learnt["ranks"] is True
        assert "purchases" in learnt["features"]
        assert "csat" not in learnt["features"], "nobody was asked"
        assert learnt["models"][0]["fifths"][0]["observed"] > 0.25
        assert learnt["models"][0]["fifths"][-1]["observed"] < 0
        assert (await client.get(f"{where}/uplift")).json() == learnt
    await bus.close()
