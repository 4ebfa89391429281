"""Plans for a budget: within every limit, without the hold-out arm, taken up again, cancelled, refused."""

import asyncio
import csv
import io
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest

from services.scoring.actions.budgets import store
from services.scoring.actions.budgets.rules import customer_weights, held_out, weights_of
from services.scoring.actions.budgets.schemas import AllocateIn
from services.scoring.actions.budgets.service import make_next
from services.scoring.app import create_app
from services.scoring.settings import ScoringSettings
from services.scoring.value_index.ahp import Judgement
from shared.database import Database
from shared.messaging.local import LocalBus
from tests.support.apps import client_of, eventually, running

CUSTOMERS = 400
PLAN: dict[str, Any] = {
    "budget": 40_000,
    "currency": "CNY",
    "actions": [{"kind": "apology", "capacity": 50}, {"kind": "ask_for_referral", "cost": 200}],
    "hold_out_share": 0.25,
}


async def people(database: Database, settings: ScoringSettings, count: int = CUSTOMERS) -> None:
    """Customers in a bad mood, every other one a promoter who consented, ten of them in dollars.

    Their scores are said to be up to date, so that the service leaves them as they are.
    """
    await database.pool.execute("INSERT INTO basis VALUES (true, $1, $2)", settings.as_of, settings.basis)
    await database.pool.execute(
        """INSERT INTO customer_facts (customer_id, days, currency, spend, mood, tickets, nps)
           SELECT uuid7(), 1, CASE WHEN n <= 10 THEN 'USD' ELSE 'CNY' END, n * 1000, -0.5, 1,
                  CASE WHEN n % 2 = 0 THEN 10 END
           FROM generate_series(1, $1::int) n""",
        count,
    )
    await database.pool.execute(
        """INSERT INTO told_consents (customer_id, purpose, channel, status, occurred_at, told_by)
           SELECT customer_id, 'marketing', 'any', 'granted', now(), uuid7() FROM customer_facts
           WHERE nps IS NOT NULL"""
    )
    await database.pool.execute(
        """INSERT INTO customer_scores (customer_id, as_of, horizon_days, segment, clv, p_alive, unknown)
           SELECT customer_id, '2026-07-01', 365, CASE WHEN spend > 200000 THEN 'champions' ELSE 'lost' END,
                  spend, 0.9, '{}' FROM customer_facts"""
    )


def test_the_arm_is_drawn_by_chance_and_stays() -> None:
    customers = [uuid4().bytes for _ in range(20_000)]
    held = held_out("spring", customers, 0.2)
    assert held.mean() == pytest.approx(0.2, abs=0.012)  # four standard errors
    assert (held_out("spring", customers[::-1], 0.2)[::-1] == held).all()
    assert (held_out("spring", customers, 0.5) >= held).all()  # a larger arm holds the smaller one
    other = held_out("autumn", customers, 0.2)
    assert (held & other).mean() == pytest.approx(0.04, abs=0.006)
    assert not held_out("spring", customers, 0).any()


def test_priorities_make_some_gains_count_for_more() -> None:
    measured = np.array([[100.0, 0.1, 0.5], [100.0, 0.9, 0.5], [300.0, 0.5, 0.0]])
    assert customer_weights(measured, {}).tolist() == [1, 1, 1]
    assert customer_weights(measured, {"risk": 3.0}) == pytest.approx([0.2, 1.8, 1])
    # Worth by rank: 1/3, 1/3 and 5/6, which are 0.5 on average; risk 0.1, 0.9 and 0.5.
    half = customer_weights(measured, {"value": 1.0, "risk": 1.0})
    assert half == pytest.approx([(1 / 3 + 0.1) / 2 * 2, (1 / 3 + 0.9) / 2 * 2, (5 / 6 + 0.5) / 2 * 2])
    assert weights_of([Judgement("risk", "value", 3)]) == pytest.approx({"value": 0.25, "risk": 0.75})


async def allocate(client: httpx.AsyncClient, **changed: Any) -> httpx.Response:
    return await client.post(
        "/v1/budgets:allocate", json=PLAN | changed, headers={"Idempotency-Key": str(uuid4())}
    )


async def finished(client: httpx.AsyncClient, started: httpx.Response) -> dict[str, Any]:
    async def done() -> dict[str, Any] | None:
        plan: dict[str, Any] = (await client.get(started.headers["Location"])).json()
        return plan if plan["status"] != "running" else None

    plan: dict[str, Any] = await eventually(done, within_s=30)
    return plan


async def test_a_budget_is_spent_where_it_brings_most(database: Database, settings: ScoringSettings) -> None:
    await people(database, settings)
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        started = await allocate(client, seed="spring")
        assert (started.status_code, started.json()["status"]) == (202, "running")
        plan = await finished(client, started)
        outcome = plan["outcome"]
        assert plan["status"] == "done", plan
        assert (outcome["considered"], outcome["other_currency"]) == (390, 10)
        assert outcome["optimal"]
        assert outcome["gap"] <= 1e-4
        apology, referral = outcome["actions"]
        assert apology["chosen"] <= 50
        assert apology["cost"] * apology["chosen"] + 200 * referral["chosen"] == outcome["spend"] <= 40_000
        assert apology["shadow_price"] > 0
        assert outcome["shadow_price"] > 0
        assert outcome["words"] == [
            f"one more CNY of budget would bring {outcome['shadow_price']:.2f} of gain"
        ]
        assert referral["obstacles"][0] == {"why": "not a promoter", "customers": 195}

        rows: list[dict[str, Any]] = []
        path, cursor = f"{started.headers['Location']}/assignments", None
        while not rows or cursor:
            params = {"limit": 200} | ({"cursor": cursor} if cursor else {})
            page = (await client.get(path, params=params)).json()
            rows, cursor = rows + page["items"], page["next_cursor"]
        held = [UUID(row["customer_id"]) for row in rows if row["arm"] == "hold_out"]
        assert len(rows) == outcome["eligible"]
        assert len(held) == outcome["hold_out"]
        assert len(held) / len(rows) == pytest.approx(0.25, abs=0.09)  # four standard errors
        everybody = [UUID(row["customer_id"]) for row in rows]
        drawn = held_out("spring", [customer.bytes for customer in everybody], 0.25)
        assert {c for c, out in zip(everybody, drawn, strict=True) if out} == set(held)
        assert not [row for row in rows if row["arm"] == "hold_out" and (row["action"] or row["cost"])]
        treated = [row for row in rows if row["action"]]
        assert len(treated) == outcome["treated"] > 0
        assert sum(row["gain"] for row in treated) == pytest.approx(outcome["gain"])
        told = await client.get(path, headers={"Accept": "text/csv"})
        assert told.headers["Content-Type"].startswith("text/csv")
        as_csv = list(csv.DictReader(io.StringIO(told.text)))
        assert [row["customer_id"] for row in as_csv] == [row["customer_id"] for row in rows]
        assert [row["action"] or None for row in as_csv] == [row["action"] for row in rows]

        listed = (await client.get("/v1/budgets", params={"limit": 1})).json()
        assert (listed["items"], listed["next_cursor"]) == ([plan], None)
        assert (await client.delete(started.headers["Location"])).status_code == 409
    await bus.close()


async def test_a_plan_that_gives_nothing_says_why(database: Database, settings: ScoringSettings) -> None:
    await people(database, settings, 60)

    async def words(**changed: Any) -> list[str]:
        async with database.pool.acquire() as connection:
            plan = await store.add_plan(connection, AllocateIn.model_validate(PLAN | changed), 20)
            assert plan is not None
        await make_next(database, settings)
        async with database.pool.acquire() as connection:
            plan = await store.read_plan(connection, plan.id)
        assert plan is not None
        assert plan.outcome is not None
        assert (plan.status, plan.outcome.treated) == ("done", 0)
        return [*plan.outcome.words, *(obstacle.why for obstacle in plan.outcome.actions[0].obstacles)]

    call = [{"kind": "call", "cost": 0}]
    assert await words(currency="EUR", actions=call) == ["nobody pays in EUR"]
    assert await words(segment="lost", currency="USD", actions=call) == [
        "no planned action is for anybody; each action says why",
        "not a customer of high value who may leave or has complained",
        "no consent to marketing by phone is known",
    ]
    said, *_ = await words(budget=1, actions=[{"kind": "apology", "cost": 500}])
    assert said == "the budget does not pay for a single action, or there is no room for one"


async def test_what_is_asked_wrongly_is_refused_by_name(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        circle = [
            {"more": "value", "less": "risk", "ratio": 5},
            {"more": "risk", "less": "satisfaction", "ratio": 5},
            {"more": "satisfaction", "less": "value", "ratio": 5},
        ]
        contradictory = await allocate(client, priorities={"comparisons": circle})
        assert (contradictory.status_code, contradictory.json()["type"]) == (
            409,
            "/problems/contradictory-comparisons",
        )
        assert contradictory.json()["most_inconsistent"]["ratio"] == 5
        for changed, pointer in (
            ({"budget": 0}, "/budget"),
            ({"budget": -5}, "/budget"),
            ({"actions": [{"kind": "parade"}]}, "/actions/0/kind"),
            ({"actions": [{"kind": "call", "capacity": -1}]}, "/actions/0/capacity"),
            ({"actions": [{"kind": "call"}, {"kind": "call"}]}, "/actions"),
            ({"actions": [{"kind": "call"}], "currency": "USD"}, "/actions/0/cost"),
            ({"hold_out_share": 0.6}, "/hold_out_share"),
            ({"priorities": {}}, "/priorities"),
            ({"segment": "nobody"}, "/segment"),
        ):
            refused = await allocate(client, **changed)
            assert refused.status_code == 422, changed
            assert pointer in [error["pointer"] for error in refused.json()["errors"]]
        assert (await client.post("/v1/budgets:allocate", json=PLAN)).status_code == 428
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/assignments")):
            assert (await client.request(method, f"/v1/budgets/{uuid4()}{path}")).status_code == 404
        async with client_of(app, ["scores:read"]) as reader:
            assert (await allocate(reader)).status_code == 403
    await bus.close()


async def test_a_plan_is_taken_up_again_after_a_crash(database: Database, settings: ScoringSettings) -> None:
    await people(database, settings, 60)
    async with database.pool.acquire() as connection:
        request = AllocateIn.model_validate(
            PLAN | {"actions": [{"kind": "apology", "cost": 500}], "hold_out_share": 0}
        )
        plan = await store.add_plan(connection, request, 20)
        assert plan is not None
        # A process began it, wrote some and died.
        (known,) = await connection.fetch("SELECT customer_id FROM customer_facts LIMIT 1")
    died = await store.begin_next(database.pool)
    assert died is not None
    await store.write_assignments(
        database.pool, plan.id, [(known["customer_id"], "hold_out", "call", 1.0, 1)]
    )
    await make_next(database, settings)
    assert await database.pool.fetchrow("SELECT status, attempts FROM budget_plans") == ("done", 2)
    assert not await store.tell(database.pool, died, "still here")
    assert await database.pool.fetch(
        "SELECT arm, action, count(*) FROM budget_assignments GROUP BY 1, 2"
    ) == [("treated", "apology", 50)]

    async with database.pool.acquire() as connection:
        hopeless, cancelled = [await store.add_plan(connection, request, 20) for _ in range(2)]
        assert hopeless is not None
        assert cancelled is not None
        assert await store.add_plan(connection, request, 2) is None
    for _ in range(settings.budget_attempts):
        await store.begin_next(database.pool)
    await make_next(database, settings)

    async def solving() -> bool:
        async with database.pool.acquire() as connection:
            plan = await store.read_plan(connection, cancelled.id)
        return plan is not None and plan.progress.startswith("solving")

    making = asyncio.create_task(make_next(database, settings))
    await eventually(solving)
    async with database.pool.acquire() as connection:
        assert await store.cancel(connection, cancelled.id)
    await making
    assert await database.pool.fetchval("SELECT count(DISTINCT plan_id) FROM budget_assignments") == 1
    assert await store.begin_next(database.pool) is None
    await database.pool.execute("UPDATE budget_plans SET finished_at = '2020-01-01' WHERE status = 'done'")
    await make_next(database, settings)
    assert await database.pool.fetch("SELECT FROM budget_assignments") == []
    async with database.pool.acquire() as connection:
        ended = await store.read_plan(connection, hopeless.id)
        assert ended is not None
        assert (ended.status, ended.failure) == (
            "failed",
            "It was begun 3 times and never came to its end.",
        )
        stopped = await store.read_plan(connection, cancelled.id)
        assert stopped is not None
        assert stopped.status == "cancelled"
        assert not await store.cancel(connection, cancelled.id)
