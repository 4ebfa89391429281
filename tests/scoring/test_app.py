"""The running service: events in, scores, models and explanations out, refusals as problem documents."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import orjson
import pytest
from fastapi import FastAPI

from services.scoring.app import create_app
from services.scoring.models.estimation import Estimate
from services.scoring.models.service import watch_drift
from services.scoring.models.store import add_version
from services.scoring.settings import ScoringSettings
from shared.contracts import Event, encode
from shared.database import Database
from shared.messaging.bus import Outgoing
from shared.messaging.local import LocalBus
from tests.scoring.conftest import AS_OF
from tests.scoring.events import answered, bought, given_back, purchase, refund, registered, ticket
from tests.scoring.models.serving import serve
from tests.support.apps import client_of, eventually, running

Tell = Callable[..., Any]


@pytest.fixture
async def bus() -> AsyncIterator[LocalBus]:
    made = LocalBus()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def app(settings: ScoringSettings, bus: LocalBus) -> FastAPI:
    return create_app(settings, bus)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as made:
        yield made


async def tell(bus: LocalBus, *events: Event[Any]) -> None:
    """Publish events as another service's relay would."""
    await bus.publish(
        [Outgoing(e.id, e.type, encode(e.data, event_id=e.id, time=e.time, traceparent=None)) for e in events]
    )


def shoppers(count: int, seed: int = 1) -> tuple[list[UUID], list[Event[Any]]]:
    """Customers who buy for half a year as the models say, in batches of up to 500 purchases."""
    rng = np.random.default_rng(seed)
    customers, purchases = [uuid4() for _ in range(count)], []
    rates, dropout, money = rng.gamma(0.8, 0.12, count), rng.beta(1, 3, count), 30000 / rng.gamma(5, 1, count)
    for n, customer in enumerate(customers):
        at = float(rng.integers(0, 60))
        while at < 180:
            purchases.append(purchase(customer, at, 1 + int(rng.gamma(4, money[n] / 4))))
            if rng.random() < dropout[n]:
                break
            at += rng.exponential(1 / rates[n])
    return customers, [bought(*purchases[i : i + 500]) for i in range(0, len(purchases), 500)]


async def scores(client: httpx.AsyncClient, customer: UUID) -> dict[str, Any] | None:
    response = await client.get(f"/v1/scores/{customer}")
    return response.json() if response.status_code == 200 else None


async def test_a_purchase_is_in_the_scores_within_a_second(
    app: FastAPI, client: httpx.AsyncClient, bus: LocalBus
) -> None:
    customers, events = shoppers(150)
    await tell(bus, *events)
    await serve(app.state.database)

    async def all_scored() -> bool:
        body = await scores(client, customers[0])
        return body is not None and body["clv"] is not None and body["segment"] is not None

    await eventually(all_scored, within_s=20)
    before = await scores(client, customers[0])
    assert before is not None
    began = time.monotonic()
    await tell(bus, bought(purchase(customers[0], 179, 5000)))
    after = await scores(client, customers[0])
    assert time.monotonic() - began < 1
    assert after is not None
    assert after["facts"]["purchases"] == before["facts"]["purchases"] + 1
    assert after["p_alive"] != before["p_alive"] or after["clv"] != before["clv"]
    assert (after["models"]["purchases"], after["models"]["spend"]) == ("bg_nbd/1", "gamma_gamma/1")
    assert after["models"]["window"] == {"from": "2026-07-01", "to": "2026-07-01"}


async def test_a_fit_is_a_version_that_serves_at_once(client: httpx.AsyncClient, bus: LocalBus) -> None:
    await tell(bus, *shoppers(150)[1])
    first = (await client.post("/v1/models/bg_nbd:fit", json={"unit": "day"})).json()
    assert (first["name"], first["unit"], first["customers"], first["serving"]) == (
        "bg_nbd/1",
        "day",
        150,
        True,
    )
    assert set(first["params"]) == set(first["standard_errors"]) == {"r", "alpha", "a", "b"}
    assert first["log_likelihood"] < 0
    assert first["window_to"] == "2026-07-01"
    spend = (await client.post("/v1/models/gamma_gamma:fit")).json()
    assert (spend["name"], spend["currency"], spend["unit"]) == ("gamma_gamma/1", "CNY", None)
    page = (await client.get("/v1/models", params={"limit": 1})).json()
    assert [m["name"] for m in page["items"]] == ["gamma_gamma/1"]
    rest = (await client.get("/v1/models", params={"cursor": page["next_cursor"]})).json()
    assert [(m["name"], m["serving"]) for m in rest["items"]] == [("bg_nbd/1", True)]
    assert rest["next_cursor"] is None
    only = (await client.get("/v1/models", params={"kind": "gamma_gamma"})).json()
    assert [m["kind"] for m in only["items"]] == ["gamma_gamma"]


async def test_the_model_that_predicts_best_serves_and_can_be_taken_back(
    app: FastAPI, client: httpx.AsyncClient, bus: LocalBus
) -> None:
    customers, events = shoppers(200)
    await tell(bus, *events)

    async def fit(kind: str) -> Any:
        answer = await client.post(f"/v1/models/{kind}:fit")
        assert answer.status_code == 201, answer.text
        return answer.json()

    first = await fit("bg_nbd")
    assert first["promotion"] == "serves: no model served before"
    quality = first["quality"]
    assert quality["error"] < quality["heuristic_error"]
    assert quality["calibration_end"] == "2026-05-17"
    assert sum(group["customers"] for group in quality["deciles"]) == quality["customers"]
    again = await fit("bg_nbd")
    assert (again["name"], again["data_hash"]) == ("bg_nbd/2", first["data_hash"])
    assert again["params"] == first["params"]

    # This one says that nobody buys again: whatever is fitted next predicts better.
    lazy = Estimate({"r": 1.0, "alpha": 1e5, "s": 9.0, "beta": 1.0}, {}, -1.0, 100, 1)
    database: Database = app.state.database
    async with database.pool.acquire() as connection, connection.transaction():
        window = (AS_OF - timedelta(days=40), AS_OF - timedelta(days=40))
        await add_version(connection, "pareto_nbd", lazy, unit="day", currency=None, window=window)
    await watch_drift(database, app.state.settings, AS_OF)
    third = await fit("mbg_nbd")
    assert third["serving"]
    assert third["promotion"].startswith("promoted: rms error")
    assert third["quality"]["serving"] == "pareto_nbd/1"
    assert third["quality"]["serving_error"] > third["quality"]["rms_error"]

    listed = (await client.get("/v1/models")).json()["items"]
    assert [model["name"] for model in listed if model["serving"]] == ["mbg_nbd/1"]
    drift = next(model["drift"] for model in listed if model["name"] == "pareto_nbd/1")
    assert drift["drifting"]
    assert drift["bought"] > 10 > drift["predicted"]

    by_hand = (await client.post("/v1/models/bg_nbd:promote", json={"version": 1})).json()
    assert (by_hand["serving"], by_hand["promotion"]) == (True, "promoted by hand")
    back = await client.post("/v1/models/bg_nbd:rollback")
    assert (back.status_code, back.json()["name"]) == (200, "mbg_nbd/1")
    assert back.json()["promotion"] == "serves again: bg_nbd/1 was rolled back"

    async def rescored() -> bool:
        body = await scores(client, customers[0])
        return body is not None and body["models"]["purchases"] == "mbg_nbd/1"

    await eventually(rescored, within_s=20)
    answer = (await client.get(f"/v1/scores/{customers[0]}/explain")).json()
    assert answer["scores"][1]["numbers"]["model"] == "mbg_nbd/1"


async def test_a_refused_fit_says_why_and_the_model_before_goes_on(
    app: FastAPI, client: httpx.AsyncClient, bus: LocalBus
) -> None:
    nobody = await client.post("/v1/models/bg_nbd:fit")
    assert (nobody.status_code, nobody.json()["type"]) == (409, "/problems/too-few-customers")
    assert nobody.json()["detail"] == "Customers who have bought: 0. A fit needs at least 50."
    assert (await client.post("/v1/models/gamma_gamma:fit")).json()["type"] == "/problems/too-few-customers"

    await tell(bus, bought(*(purchase(uuid4(), n, 700) for n in range(60))))
    once = await client.post("/v1/models/bg_nbd:fit")
    assert (once.status_code, once.json()["type"]) == (409, "/problems/no-repeat-buyers")

    await serve(app.state.database)
    alike = [uuid4() for _ in range(60)]
    await tell(bus, bought(*(purchase(customer, day, 700, "EUR") for customer in alike for day in (1, 9))))
    flat = await client.post("/v1/models/gamma_gamma:fit", json={"currency": "EUR"})
    assert (flat.status_code, flat.json()["type"]) == (409, "/problems/no-variance")
    (model,) = (await client.get("/v1/models", params={"kind": "bg_nbd"})).json()["items"]
    assert model["serving"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/models/crystal_ball:fit", None, 404),
        ("/v1/models/bg_nbd:promote", {"version": 7}, 404),
        ("/v1/models/bg_nbd:promote", {"version": 0}, 422),
        ("/v1/models/bg_nbd:rollback", None, 409),
        ("/v1/models/bg_nbd:fit", {"unit": "year"}, 422),
        ("/v1/models/gamma_gamma:fit", {"currency": "yuan"}, 422),
        ("/v1/models/bg_nbd:fit", {"surprise": 1}, 422),
    ],
)
async def test_requests_that_do_not_fit_are_problems(
    client: httpx.AsyncClient, path: str, body: object, status: int
) -> None:
    response = await client.post(path, json=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_cursor_of_another_list_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/models", params={"cursor": "bm90IG91cnM"})
    assert (response.status_code, response.json()["type"]) == (400, "/problems/invalid-cursor")


async def test_scopes_are_asked_for(app: FastAPI, client: httpx.AsyncClient) -> None:
    async with client_of(app, ["scores:read"]) as reader:
        assert (await reader.post("/v1/models/bg_nbd:fit")).status_code == 403
        assert (await reader.post("/v1/score-rebuilds")).status_code == 403
        assert (await reader.get("/v1/models")).status_code == 200
    async with client_of(app, ["customers:read"]) as other:
        assert (await other.get(f"/v1/scores/{uuid4()}")).status_code == 403


async def test_customers_nobody_knows_are_not_found(client: httpx.AsyncClient) -> None:
    for path in (f"/v1/scores/{uuid4()}", f"/v1/scores/{uuid4()}/explain", f"/v1/score-rebuilds/{uuid4()}"):
        assert (await client.get(path)).status_code == 404
    assert (await client.get("/v1/scores/nobody")).status_code == 422


async def test_a_customer_who_only_complained_is_known(client: httpx.AsyncClient, bus: LocalBus) -> None:
    customer = uuid4()
    await tell(bus, registered(customer), ticket(uuid4(), customer, mood=-0.8), answered(customer, 2))
    body = await scores(client, customer)
    assert body is not None
    assert body["facts"]["tickets"] == {
        "total": 1, "open": 1, "complaints": 1, "mood": -0.8, "severe": 1, "breaches": 0,
        "complaint_categories": {"delivery": 1},
    }  # fmt: skip
    assert body["facts"]["surveys"] == {"nps": 2, "csat": None, "ces": None}
    assert (body["rfm"], body["p_alive"]) == (None, None)
    assert {"what": "p_alive", "why": "no purchase is known"} in body["unknown"]


async def test_the_explanation_is_in_words_and_numbers(
    app: FastAPI, client: httpx.AsyncClient, bus: LocalBus
) -> None:
    customers, events = shoppers(150)
    early = purchase(customers[0], 10, 4000)
    newcomer = uuid4()
    await tell(bus, *events, bought(early), given_back(refund(early, 1000)), registered(newcomer))
    await serve(app.state.database)

    async def explained() -> Any:
        answer = (await client.get(f"/v1/scores/{customers[0]}/explain")).json()
        return answer if len(answer["scores"]) == 5 and answer["scores"][0]["value"] else None

    answer = await eventually(explained, within_s=20)
    by_name = {score["score"]: score for score in answer["scores"]}
    assert set(by_name) == {"rfm", "p_alive", "expected_purchases", "clv", "value_index"}
    assert sum(by_name["value_index"]["numbers"]["weights"].values()) == pytest.approx(1, abs=1e-3)
    assert "which names the segment" in by_name["rfm"]["words"]
    assert len(by_name["rfm"]["numbers"]["cuts"]["monetary"]) == 4
    assert "the chance that they still buy is" in by_name["p_alive"]["words"]
    assert by_name["p_alive"]["numbers"]["model"] == "bg_nbd/1"
    assert set(by_name["p_alive"]["numbers"]["params"]) == {"r", "alpha", "a", "b"}
    assert by_name["clv"]["numbers"]["discount_rate"] == 0.1
    shown = await scores(client, customers[0])
    assert shown is not None
    assert by_name["clv"]["value"] == shown["clv"]["amount"]
    assert shown["typical"] is None

    path = f"/v1/scores/{customers[0]}/explain?bootstrap="
    drawn = (await client.get(f"{path}20")).json()["scores"][-1]
    low, high = drawn["value"]
    assert drawn["score"] == "clv_interval"
    assert 0 < low < high
    assert (await client.get(f"{path}501")).status_code == 422

    # Of who has not bought no model says anything: others stand in, and are said to be others.
    async def stood_in() -> Any:
        answer = (await client.get(f"/v1/scores/{newcomer}/explain")).json()
        return next(
            (one for one in answer["scores"] if one["score"] == "typical" and one["numbers"]["p_alive"]), None
        )

    typical = await eventually(stood_in, within_s=20)
    assert typical["numbers"]["customers"] == len(customers)
    assert typical["words"].startswith("No model says anything of this customer (no purchase is known).")
    new = await scores(client, newcomer)
    assert new is not None
    assert (new["clv"], new["p_alive"]) == (None, None)
    assert (new["typical"]["of"], new["typical"]["customers"]) == ("all buyers", len(customers))


async def test_a_rebuild_runs_in_the_background_and_finds_nothing_to_mend(
    client: httpx.AsyncClient, bus: LocalBus
) -> None:
    await tell(bus, *shoppers(60)[1])
    started = await client.post("/v1/score-rebuilds")
    assert started.status_code == 202

    async def done() -> Any:
        state = (await client.get(started.headers["location"])).json()
        return state if state["status"] == "done" else None

    state = await eventually(done, within_s=20)
    assert (state["customers"], state["total"], state["changed"]) == (60, 60, 0)


async def test_the_section_is_published_for_the_view(client: httpx.AsyncClient, bus: LocalBus) -> None:
    customer = uuid4()
    heard: list[dict[str, Any]] = []
    bus.listen(["section.scoring"], lambda envelope: heard.append(orjson.loads(envelope)["data"]))
    await tell(bus, bought(purchase(customer, 3)))
    data = await eventually(lambda: next((d for d in heard if d["customer_id"] == str(customer)), None))
    body = await scores(client, customer)
    assert body is not None
    assert data["body"] == {
        name: value for name, value in body.items() if name not in ("customer_id", "typical")
    }


def test_the_service_predicts_without_scipy_or_pandas() -> None:
    code = (
        "import sys; import services.scoring.app;"
        "from services.scoring.models.bg_nbd import BgNbd;"
        "BgNbd(0.243, 4.414, 0.793, 2.426).expected_purchases(52, 26, 30.857, 31);"
        "print('scipy' in sys.modules, 'pandas' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
