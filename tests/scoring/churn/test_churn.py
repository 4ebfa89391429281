"""Risks of the service's customers: by silence, by a classifier, told once, listed, explained, refused."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from typer.testing import CliRunner

from services.scoring.app import create_app
from services.scoring.churn import store
from services.scoring.churn.fitting import learn
from services.scoring.churn.preparation import Options
from services.scoring.churn.report import report_of
from services.scoring.churn.service import risk_on
from services.scoring.churn.store import Line
from services.scoring.cli import app as commands
from services.scoring.section import build
from services.scoring.settings import ScoringSettings
from services.scoring.value.service import walk_on
from shared.contracts.profile import CustomerRegistered, CustomerUpdated
from shared.database import Database
from shared.messaging.local import LocalBus
from tests.scoring.churn.made import as_csv, customers
from tests.scoring.conftest import AS_OF
from tests.scoring.events import bought, day, event, hear, purchase, table
from tests.scoring.models.serving import serve
from tests.support.apps import eventually, running


async def raised(database: Database) -> list[UUID]:
    """Whom `churn.risk_raised` is about, in the order of the events."""
    rows = await database.pool.fetch(
        "SELECT envelope FROM outbox WHERE type = 'churn.risk_raised' ORDER BY id"
    )
    return [UUID(json.loads(row["envelope"])["data"]["customer_id"]) for row in rows]


async def assess(database: Database, settings: ScoringSettings) -> None:
    while await walk_on(database, settings, AS_OF):
        pass
    while await risk_on(database, settings, AS_OF):
        pass


async def test_silence_is_a_risk_that_is_told_once_and_kept_true(
    database: Database, settings: ScoringSettings
) -> None:
    quiet, regular, nobody = uuid4(), uuid4(), uuid4()
    await hear(
        database,
        settings,
        bought(*(purchase(quiet, 7 * n) for n in range(6)), *(purchase(regular, 7 * n) for n in range(26))),
        event(CustomerRegistered(customer_id=nobody, registered_at=day(0))),
    )
    await assess(database, settings)
    assert await table(database, "churn_risks") == []  # no model serves yet
    await serve(database)
    await assess(database, settings)
    rows = {row["customer_id"]: row for row in await table(database, "churn_risks")}
    assert set(rows) == {quiet, regular}
    assert rows[quiet]["risk"] > 0.95
    assert rows[regular]["risk"] < 0.1
    assert (rows[quiet]["above"], rows[regular]["above"]) == (True, False)
    assert await raised(database) == [quiet]
    async with database.pool.acquire() as connection:
        shown = json.loads((await build(connection, [quiet]))[quiet])["churn"]
        assert json.loads((await build(connection, [nobody]))[nobody])["churn"] is None
    assert shown == {
        "risk": rows[quiet]["risk"],
        "threshold": 0.8,
        "above": True,
        "model": "bg_nbd/1",
        "kind": "non_contractual",
        "horizon_days": 90,
        "reasons": [
            "last bought 146 days ago, before that once in 7 days",
            "is still a customer with a probability of 0.02",
        ],
        "as_of": "2026-07-01",
    }
    # Nothing new: nothing is written. A purchase: that customer alone, and the risk is over.
    await database.pool.execute("DELETE FROM section_marks")
    await hear(database, settings, event(CustomerUpdated(customer_id=regular, attributes={})))
    await assess(database, settings)
    assert await raised(database) == [quiet]
    await hear(database, settings, bought(purchase(quiet, 180)))
    await assess(database, settings)
    after = {row["customer_id"]: row for row in await table(database, "churn_risks")}
    assert after[quiet]["risk"] < 0.5
    assert not after[quiet]["above"]
    assert after[regular] == rows[regular]
    # Another setting: everyone's is computed anew.
    longer = settings.model_copy(update={"churn_horizon_days": 365})
    await assess(database, longer)
    assert {row["horizon_days"] for row in await table(database, "churn_risks")} == {365}
    await database.pool.execute("DELETE FROM customer_facts WHERE customer_id = $1", quiet)
    assert len(await table(database, "churn_risks")) == 1


async def test_who_goes_up_and_down_around_the_line_is_told_of_once(
    database: Database, settings: ScoringSettings
) -> None:
    customer = uuid4()
    await hear(database, settings, bought(purchase(customer, 1)))
    told = []
    for risk, threshold in [
        (0.79, 0.8), (0.8, 0.8), (0.9, 0.8), (0.71, 0.8), (0.85, 0.8), (0.69, 0.8), (0.85, 0.8), (0.85, None),
    ]:  # fmt: skip
        async with database.pool.acquire() as connection, connection.transaction():
            told.append(
                await store.write(
                    connection,
                    [customer, uuid4()],
                    [risk, 0.99],
                    [["why"], []],
                    kind="contractual",
                    horizon_days=None,
                    line=Line(threshold, 0.7),
                    model="logistic/1",
                    observed=AS_OF,
                )
            )
    assert told == [0, 1, 0, 0, 0, 0, 1, 0]
    assert await raised(database) == [customer, customer]
    (row,) = await table(database, "churn_risks")
    assert (row["above"], row["threshold"], row["reasons"]) == (False, None, ["why"])


async def test_a_classifier_is_learnt_served_and_taken_back(settings: ScoringSettings) -> None:
    made = customers(200, seed=3).table
    ids = [uuid4() for _ in range(made.rows)]
    told = [
        CustomerRegistered(
            customer_id=customer,
            registered_at=day(n % 90),
            attributes={
                name: cell
                for name in ("contract", "months", "calls", "left")
                if (cell := made.columns[name][n]) is not None
            },
        )
        for n, customer in enumerate(ids)
    ]
    # Of the first twenty nothing says whether they left.
    told[:20] = [
        one.model_copy(update={"attributes": {k: v for k, v in one.attributes.items() if k != "left"}})
        for one in told[:20]
    ]
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        database = app.state.database
        await hear(database, settings, *(event(one) for one in told))
        nothing = await client.post("/v1/churn:fit", json={"label": "churned"})
        assert (nothing.status_code, nothing.json()["type"]) == (409, "/problems/too-few-rows")
        fitted = await client.post("/v1/churn:fit", json={"label": "left", "customer_value": 20})
        assert fitted.status_code == 201, fitted.text
        model = fitted.json()
        assert (model["version"], model["serving"], model["customers"]) == (1, True, 180)
        assert model["report"]["auc"] > 0.65
        assert model["report"]["customers"] == []
        assert {d["column"] for d in model["report"]["drivers"]} >= {"contract", "months", "calls"}
        left = {c for c, one in zip(ids, told, strict=True) if one.attributes.get("left") == "yes"}

        async def all_assessed() -> bool:
            return await database.pool.fetchval("SELECT count(*) FROM churn_risks") == 200 - len(left)

        await eventually(all_assessed, within_s=20)
        first = (await client.get("/v1/churn", params={"limit": 3})).json()
        rest = (await client.get("/v1/churn", params={"limit": 200, "cursor": first["next_cursor"]})).json()
        items = first["items"] + rest["items"]
        assert rest["next_cursor"] is None
        assert {UUID(item["customer_id"]) for item in items} == set(ids) - left
        assert [i["risk"] for i in items] == sorted((i["risk"] for i in items), reverse=True)
        highest = items[0]
        assert (highest["model"], highest["kind"]) == (model["name"], "contractual")
        assert highest["threshold"] == model["threshold"]
        assert "contract is monthly: raises the risk" in highest["reasons"]
        some = (await client.get("/v1/churn", params={"min_risk": highest["risk"]})).json()["items"]
        assert some[0] == highest
        shown = (await client.get(f"/v1/scores/{highest['customer_id']}")).json()
        assert shown["churn"]["risk"] == highest["risk"]
        above = {UUID(i["customer_id"]) for i in items if i["above"]}
        assert above
        # Who has left has no risk any more; what the attribute says otherwise changes it.
        gone = UUID(highest["customer_id"])
        await hear(
            database,
            settings,
            event(CustomerUpdated(customer_id=gone, attributes={"left": "yes"}), day(100)),
        )

        async def forgotten() -> bool:
            return (await client.get(f"/v1/scores/{gone}")).json()["churn"] is None

        await eventually(forgotten)
        # What is refused changes nothing.
        odd = await client.post("/v1/churn:fit", json={"label": "contract"})
        assert (odd.status_code, odd.json()["errors"][0]["pointer"]) == (422, "/label")
        listed = (await client.get("/v1/churn/models")).json()["items"]
        assert [(m["name"], m["serving"], m["promotion"][:6]) for m in listed] == [
            (model["name"], True, "serves")
        ]
        assert (await client.post("/v1/churn:serve", json={"version": 9})).status_code == 404
        assert (await client.post("/v1/churn:serve", json={"version": None})).json() is None

        async def nobody() -> bool:  # they have bought nothing, so silence says nothing of them
            return (await client.get("/v1/churn")).json()["items"] == []

        await eventually(nobody)
    await bus.close()


async def test_a_table_of_ones_own_is_judged(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:

        async def evaluate(body: str, kind: str, **asked: Any) -> tuple[int, Any]:
            answer = await client.post(
                "/v1/churn:evaluate",
                content=body,
                headers={"content-type": kind},
                params={"label": "left", **asked},
            )
            return answer.status_code, answer.json()

        status, report = await evaluate(
            as_csv(customers(60).table), "text/csv; charset=utf-8", id="customer", customers=9
        )
        assert status == 200, report
        assert (report["rows"], report["used"], len(report["customers"])) == (60, 60, 9)
        assert all(customer["reasons"] for customer in report["customers"])
        nested = '{"rows":[{"left":[1]}]}'
        for body, kind, asked, wrong in [
            ("left\n" + "yes\n" * 60, "text/csv", {}, (409, "/problems/one-class", "query:label")),
            (nested, "application/json", {}, (422, "/problems/not-a-table", "/rows/0/left")),
            ("", "image/png", {}, (400, "/problems/malformed", None)),
            ("left\n1\n", "text/csv", {"success_rate": 2}, (422, "/problems/invalid", "query:success_rate")),
        ]:
            status, problem = await evaluate(body, kind, **asked)
            errors = problem.get("errors") or [{"pointer": None}]
            assert (status, problem["type"], errors[0]["pointer"]) == wrong, problem
    await bus.close()


def test_the_command_line_says_the_same_of_a_table_in_any_order(tmp_path: Path) -> None:
    made = customers(60)
    file = tmp_path / "customers.csv"
    file.write_text(as_csv(made.table))
    run = CliRunner().invoke(
        commands, ["churn", "--csv", str(file), "--label", "left", "--id", "customer", "--json"]
    )
    assert run.exit_code == 0, run.output
    report = json.loads(run.stdout)
    assert set(report["models"]) == {"logistic", "boosting"}
    assert 0.5 < report["auc"] < 1
    assert report["brier"] < 0.35
    assert len(report["calibration"]) == len(report["lift"]) == 10
    assert len(report["customers"]) == 60
    assert np.all(np.diff([c["risk"] for c in report["customers"]]) <= 0)
    mixed = made.table.taken(np.random.default_rng(3).permutation(60).tolist())
    options = Options("left", id="customer")
    again = report_of(mixed, options, learn(mixed, options), 60)
    assert json.loads(again.model_dump_json()) == report
    wrong = CliRunner().invoke(commands, ["churn", "--csv", str(file), "--label", "gone"])
    assert wrong.exit_code == 1
    assert "there is no column 'gone'" in wrong.stderr
