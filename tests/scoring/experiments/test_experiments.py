"""An experiment's life: designed, sized, run, read, stopped; and what is refused."""

from datetime import date
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest

from services.scoring.actions.store import read_setup
from services.scoring.app import create_app
from services.scoring.experiments.assignment import place
from services.scoring.experiments.service import finish_due
from services.scoring.experiments.store import measured_uplift
from services.scoring.settings import ScoringSettings
from shared.contracts.profile import CustomerErased, CustomerMerged, CustomerUnmerged
from shared.database import Database
from shared.messaging.local import LocalBus
from tests.scoring.events import (
    answered,
    bought,
    day,
    event,
    given_back,
    hear,
    purchase,
    refund,
    registered,
    ticket,
)
from tests.support.apps import client_of, running

DESIGN: dict[str, Any] = {
    "name": "Win back",
    "hypothesis": "A voucher brings customers back.",
    "arms": [
        {"name": "nothing", "share": 0.5, "kind": "hold_out"},
        {"name": "voucher", "share": 0.5, "cost_per_contact": 50, "action": "win_back_offer"},
    ],
    "metrics": ["conversion", "revenue", "retention", "tickets", "csat", "nps"],
    "minimum_effect": 0.05,
    "starts_at": day(30).isoformat(),
    "ends_at": day(90).isoformat(),
    "salt": "salt-of-the-test",
    "currency": "CNY",
    "retention_days": 20,
    "margin": 0.5,
}


async def create(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/experiments", json=DESIGN | changes)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def shop(database: Database, settings: ScoringSettings, count: int, lift: float) -> list[UUID]:
    """Customers known since day 0, exposed on day 40; a third buy anyway, and those with vouchers more."""
    rng = np.random.default_rng(5)
    customers = [UUID(int=n) for n in range(1, count + 1)]  # the same arms each time
    shares = [arm["share"] for arm in DESIGN["arms"]]
    events: list[Any] = [registered(customer) for customer in customers]
    purchases, refunds, others = [], [], []
    for customer in customers:
        treated = place(DESIGN["salt"], customer, shares) == 1
        before = purchase(customer, 20 + rng.random(), int(rng.lognormal(7, 1)))
        purchases.append(before)
        if rng.random() < 0.3 + lift * treated:
            purchases.append(purchase(customer, 45, 2 * before.amount))
        if rng.random() < 0.3:  # these gave everything back, so they never bought
            never = purchase(customer, 50, 900)
            purchases.append(never)
            refunds.append(refund(never, on=95))
        if rng.random() < 0.5:
            purchases.append(purchase(customer, 170, 7000))  # after the end
        others.append(answered(customer, 4 + treated, kind="csat", on=60))
        if rng.random() < 0.2:
            others.append(ticket(uuid4(), customer, told=70))
    told = [bought(*purchases[n : n + 500]) for n in range(0, len(purchases), 500)]
    await hear(database, settings, *events, *told, *others)
    await hear(database, settings, given_back(*refunds))
    return customers


async def test_the_whole_life_of_an_experiment(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        database: Database = app.state.database
        customers = await shop(database, settings, 600, lift=0.35)
        made = await create(client)
        where = f"/v1/experiments/{made['id']}"
        assert (made["status"], made["size"]["known_from"]) == ("draft", "history")
        assert made["size"]["any_time"] > made["size"]["once"] > 1000
        assert [(a["first_bucket"], a["last_bucket"]) for a in made["arms"]] == [(0, 4999), (5000, 9999)]
        for path in ("results", f"assignments/{customers[0]}"):
            refused = await client.get(f"{where}/{path}")
            assert (refused.status_code, refused.json()["type"]) == (409, "/problems/experiment-not-begun")

        started = await client.post(f"{where}:start")
        assert (started.json()["status"], started.json()["started_at"]) == ("running", "2026-01-31T12:00:00Z")
        changed = await client.patch(where, json={"name": "x"}, headers={"If-Match": started.headers["ETag"]})
        assert (changed.status_code, changed.json()["type"]) == (409, "/problems/experiment-has-begun")
        empty = (await client.get(f"{where}/results")).json()
        assert (empty["status"], empty["notes"]) == ("empty", ["nobody has been exposed yet"])
        late = (await client.get(f"{where}/assignments/{customers[0]}")).json()
        assert (late["arm"], late["why_none"]) == (None, "the experiment is over")

        exposed = [{"customer_id": str(c), "exposed_at": day(40).isoformat()} for c in customers]
        first = await client.post(f"{where}/exposures:batch", json={"items": exposed})
        assert first.json() == {"accepted": 600, "duplicates": 0, "rejected": []}
        arm = place(DESIGN["salt"], customers[1], [0.5, 0.5])
        odd = [
            exposed[0],
            exposed[1] | {"arm": DESIGN["arms"][1 - arm]["name"]},
            exposed[2] | {"arm": "other"},
            exposed[3] | {"customer_id": str(uuid4())},
            exposed[4] | {"exposed_at": day(91).isoformat()},
        ]
        again = (await client.post(f"{where}/exposures:batch", json={"items": odd})).json()
        assert (again["accepted"], again["duplicates"]) == (0, 1)
        assert [r["index"] for r in again["rejected"]] == [1, 2, 3, 4]
        kept = (await client.get(f"{where}/assignments/{customers[0]}")).json()
        assert kept["exposed_at"] == day(40).isoformat().replace("+00:00", "Z")

        read = (await client.get(f"{where}/results")).json()
        assert read["valid"] is True
        assert sum(a["assigned"] for a in read["arms"]) == 600
        found = {m["metric"]: m for m in read["metrics"]}
        conversion = found["conversion"]["comparisons"][0]
        assert conversion["verdict"].startswith("effect shown: conversion is higher with voucher")
        assert conversion["interval"]["low"] < 0.35 < conversion["interval"]["high"]
        wide = conversion["interval"]["high"] - conversion["interval"]["low"]
        narrow = conversion["fixed_horizon"]["high"] - conversion["fixed_horizon"]["low"]
        assert narrow < wide
        assert conversion["fixed_horizon"]["holds"] is False, "it runs: nobody has stopped it"
        control = found["conversion"]["arms"][0]
        assert control["mean"] == pytest.approx(0.3, abs=0.07), (
            "what was refunded in full or came later is out"
        )
        assert conversion["relative"]["value"] == pytest.approx(
            conversion["difference"] / control["mean"], rel=1e-6
        )
        assert found["revenue"]["comparisons"][0]["shown"] == "higher"
        assert found["revenue"]["comparisons"][0]["variance_reduced"] > 0.05
        assert found["retention"]["comparisons"][0]["verdict"].startswith("nothing to tell yet")
        assert found["tickets"]["comparisons"][0]["shown"] is None
        assert found["csat"]["comparisons"][0]["verdict"].startswith("nothing to tell yet")
        assert [m["mean"] for m in found["csat"]["arms"]] == [4, 5]
        assert found["nps"]["arms"] == []
        (spent,) = read["efficiency"]
        assert spent["cost"] == 50 * spent["contacts"]
        assert spent["cost_per_extra_conversion"] == pytest.approx(50 / conversion["difference"])
        assert spent["return_on_spend"] > 1
        assert spent["return_interval"]["low"] < spent["return_on_spend"] < spent["return_interval"]["high"]

        stopped = (await client.post(f"{where}:stop")).json()
        assert stopped["metrics"][0]["comparisons"][0]["fixed_horizon"]["holds"] is True
        assert (await client.post(f"{where}:stop")).json()["type"] == "/problems/experiment-not-running"
        async with database.pool.acquire() as connection:
            measured = await measured_uplift(connection, "win_back_offer")
            assert measured is not None
            assert measured.low == pytest.approx(conversion["interval"]["low"])
            assert (await measured_uplift(connection, "win_back_offer", "revenue")) is not None
            assert (await measured_uplift(connection, "apology")) is None
            chosen_by = (await read_setup(connection)).catalogue["win_back_offer"]
            assert (chosen_by.measured, chosen_by.experiment) == (measured.uplift, made["id"])
    await bus.close()


async def test_customers_are_assigned_once_and_merges_are_followed(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        database: Database = app.state.database
        customers = [UUID(int=n) for n in range(1, 41)]
        await hear(database, settings, *(registered(customer) for customer in customers))
        made = await create(client, starts_at=None, ends_at=None, minimum_effect=None)
        assert made["size"] is None
        where = f"/v1/experiments/{made['id']}"
        await client.post(f"{where}:start")
        one = (await client.get(f"{where}/assignments/{customers[0]}")).json()
        assert one == (await client.get(f"{where}/assignments/{customers[0]}")).json()
        assert one["arm"] == DESIGN["arms"][place(DESIGN["salt"], customers[0], [0.5, 0.5])]["name"]
        many = [str(c) for c in [*customers, uuid4(), customers[0]]]
        batch = (await client.post(f"{where}/assignments:batch", json={"customer_ids": many})).json()["items"]
        assert [b["customer_id"] for b in batch] == many
        assert (batch[0], batch[-1], batch[-2]["arm"]) == (one, one, None)
        assert (await client.get(f"{where}/assignments/{uuid4()}")).status_code == 404
        assert await database.pool.fetchval("SELECT count(*) FROM exposures") == 40

        # A merge of two customers in two arms takes both out of the reading, and says so.
        arms = {b["customer_id"]: b["arm"] for b in batch}
        survivor = customers[0]
        merged = next(c for c in customers if arms[str(c)] != one["arm"])
        merge = {"survivor_id": survivor, "merged_id": merged, "merge_id": uuid4()}
        await hear(database, settings, event(CustomerMerged(**merge)))
        assert (await client.get(f"{where}/assignments/{merged}")).json()["arm"] is not None
        # Readings include what happened before the moment of reading, so read as of the next day.
        await database.pool.execute("UPDATE exposures SET exposed_at = exposed_at - interval '1 day'")
        read = (await client.get(f"{where}/results")).json()
        assert read["in_two_arms"] == 1
        assert sum(a["assigned"] for a in read["arms"]) == 40
        assert sum(a["customers"] for a in read["metrics"][0]["arms"]) == 38

        await hear(database, settings, event(CustomerUnmerged(**merge)))
        assert (await client.get(f"{where}/results")).json()["in_two_arms"] == 0
        await hear(database, settings, event(CustomerErased(customer_id=merged, erasure_id=uuid4())))
        assert sum(a["assigned"] for a in (await client.get(f"{where}/results")).json()["arms"]) == 39

        # Of a segment: nobody here is a champion.
        other = await create(client, segment="champions", starts_at=None, ends_at=None)
        await client.post(f"/v1/experiments/{other['id']}:start")
        outside = (await client.get(f"/v1/experiments/{other['id']}/assignments/{survivor}")).json()
        assert outside["why_none"] == "not of the audience"
        page = (await client.get("/v1/experiments", params={"limit": 1})).json()
        assert [e["id"] for e in page["items"]] == [other["id"]]
        rest = (await client.get("/v1/experiments", params={"cursor": page["next_cursor"]})).json()
        assert [e["id"] for e in rest["items"]] == [made["id"]]

        # Arms that are not as large as they should be are no experiment.
        await database.pool.execute("UPDATE exposures SET arm = 1 WHERE experiment_id = $1", UUID(made["id"]))
        bad = (await client.get(f"{where}/results")).json()
        assert bad["valid"] is False
        await client.post(f"{where}:stop")
        assert await database.pool.fetchval("SELECT count(*) FROM measured_uplifts") == 0
    await bus.close()


async def test_drafts_are_changed_and_what_does_not_fit_is_refused(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        made = await client.post("/v1/experiments", json=DESIGN, headers={"Idempotency-Key": "k"})
        again = await client.post("/v1/experiments", json=DESIGN, headers={"Idempotency-Key": "k"})
        assert (made.json()["id"], again.headers["Idempotency-Replayed"]) == (again.json()["id"], "true")
        where = f"/v1/experiments/{made.json()['id']}"
        assert (await client.patch(where, json={"name": "x"})).status_code == 428
        changed = await client.patch(
            where, json={"name": "New", "baseline": 0.3}, headers={"If-Match": made.headers["ETag"]}
        )
        assert (changed.json()["version"], changed.json()["design"]["name"]) == (2, "New")
        assert (changed.json()["size"]["once"], changed.json()["size"]["known_from"]) == (2753, "given")
        assert changed.json()["size"]["days_once"] is None, "nobody comes by"
        stale = await client.patch(where, json={"name": "x"}, headers={"If-Match": made.headers["ETag"]})
        assert stale.status_code == 412

        arms = DESIGN["arms"]
        for changes, words in (
            ({"arms": arms[:1]}, "at least 2 items"),
            ({"arms": [arms[0], arms[1] | {"share": 0.4}]}, "shares must sum to 1, not 0.9"),
            ({"arms": [arms[0], arms[1] | {"kind": "hold_out"}]}, "one control and one hold-out"),
            ({"arms": [a | {"kind": "treatment"} for a in arms]}, "a control or hold_out"),
            ({"arms": [arms[0], arms[1] | {"name": "nothing"}]}, "different names"),
            ({"metrics": ["happiness"]}, "Input should be"),
            ({"segment": "whales"}, "must be one of"),
            ({"ends_at": day(20).isoformat()}, "ends_at must come after starts_at"),
            ({"metrics": ["retention"], "outcome_days": 10}, "more than retention_days"),
            ({"alpha": 0.9}, "less than or equal to 0.2"),
            ({"minimum_effect": 1e-300}, "greater than or equal to 0.000000001"),
            ({"minimum_effect": 0.9, "baseline": 0.3}, "between 0 and 1"),
        ):
            refused = await client.post("/v1/experiments", json=DESIGN | changes)
            assert refused.status_code == 422, changes
            assert words in str(refused.json()["errors"]), refused.json()
            patched = await client.patch(where, json=changes, headers={"If-Match": changed.headers["ETag"]})
            assert patched.status_code == 422, changes

        extreme = {
            "metric": "revenue",
            "minimum_effect": 1e-9,
            "deviation": 1e15,
            "baseline": 1,
            "per_day": 1e-3,
        }
        assert (await client.post("/v1/experiments:size", json=extreme)).json()["once"] == 10**12
        size = {"minimum_effect": 0.02, "baseline": 0.1, "per_day": 100}
        reckoned = (await client.post("/v1/experiments:size", json=size)).json()
        assert (reckoned["once"], reckoned["days_once"]) == (7682, 77)
        nothing = await client.post("/v1/experiments:size", json={"metric": "revenue", "minimum_effect": 5})
        assert (nothing.status_code, nothing.json()["type"]) == (409, "/problems/nothing-to-size-by")
        assert (await client.get(f"/v1/experiments/{uuid4()}")).json()[
            "type"
        ] == "/problems/unknown-experiment"

        # One whose end lies in the past and that is not told of elsewhere would be over before it begins.
        over = await create(client, starts_at=None, ends_at=day(10).isoformat())
        refused = await client.post(f"/v1/experiments/{over['id']}:start")
        assert refused.json()["type"] == "/problems/experiment-has-ended"
        async with client_of(app, scopes=["scores:read"]) as reader:
            assert (await reader.post(f"{where}:start")).status_code == 403

        # Time ends an experiment, too, unless it was over before its exposures could be told.
        ending = await create(client, starts_at=None, ends_at=day(200).isoformat())
        for one in (where, f"/v1/experiments/{ending['id']}"):
            assert (await client.post(f"{one}:start")).json()["status"] == "running"
        later = settings.model_copy(update={"as_of": date(2026, 8, 1)})
        await finish_due(app.state.database, later)
        ended = (await client.get(f"/v1/experiments/{ending['id']}")).json()
        assert (ended["status"], ended["stopped_at"]) == ("stopped", "2026-07-20T12:00:00Z")
        assert (await client.post(f"/v1/experiments/{ending['id']}:start")).status_code == 409
        assert (await client.get(where)).json()["status"] == "running"
    await bus.close()
