"""Live composition and rebuilding against real servers, some of them down, slow or broken."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.settings import GatewaySettings
from gateway.view import rebuild
from shared.contracts.sections import SECTIONS
from shared.ids import new_id
from tests.gateway.view.conftest import WEBHOOK_KEY
from tests.gateway.view.made import section
from tests.gateway.view.serving import Gateway, Service, running_gateway, services
from tests.support.databases import drop_database, make_database

pytestmark = pytest.mark.asyncio(loop_scope="module")
Running = tuple[Gateway, dict[str, Service]]
TIMEOUT_S = 0.5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    settings = await make_database(GatewaySettings, "gateway", webhook_secret_key=WEBHOOK_KEY)
    assert isinstance(settings, GatewaySettings)
    async with (
        services() as (made, urls),
        running_gateway(settings, urls, fresh_timeout_s=TIMEOUT_S, breaker_failures=1_000) as gateway,
    ):
        yield gateway, made
    await drop_database(settings)


@pytest.fixture(autouse=True)
def all_well(running: Running) -> None:
    for service in running[1].values():
        service.delay_s, service.broken = 0.0, False
        service.bodies.clear()
        service.asked.clear()


async def live(gateway: Gateway, customer: Any, **query: str) -> Any:
    return await gateway.client.get(f"/v1/customers/{customer}/360", params={"fresh": "true"} | query)


def states(view: Any) -> dict[str, tuple[str, str]]:
    return {name: (state["status"], state["source"]) for name, state in view["meta"]["sections"].items()}


async def test_every_section_is_live_when_all_services_answer(running: Running) -> None:
    gateway, made = running
    customer = new_id()
    await gateway.tell(*(section(name, customer, 1, {"old": name}) for name in SECTIONS))
    for name in SECTIONS:
        made[name].bodies[customer] = {"live": name}
    answer = await live(gateway, customer)
    view = answer.json()
    assert {name: view[name] for name in SECTIONS} == {name: {"live": name} for name in SECTIONS}
    assert set(states(view).values()) == {("ok", "live")}
    assert view["meta"]["sections"]["loyalty"] == {
        "status": "ok",
        "source": "live",
        "version": 99,
        "as_of": "2026-03-02T00:00:00Z",
    }
    assert answer.headers["cache-control"] == "no-store"
    assert all(len(service.asked) == 1 for service in made.values())


async def test_services_are_given_the_callers_token_and_never_the_key(running: Running) -> None:
    gateway, made = running
    customer = new_id()
    made["profile"].bodies[customer] = {}
    await live(gateway, customer)
    (token,) = made["profile"].asked
    assert token.startswith("Bearer ey")


@pytest.mark.parametrize("trouble", ["slow", "broken"])
async def test_the_view_stands_in_for_a_service_that_does_not_answer(running: Running, trouble: str) -> None:
    gateway, made = running
    customer = new_id()
    await gateway.tell(*(section(name, customer, 1, {"old": name}) for name in SECTIONS))
    for name in SECTIONS:
        made[name].bodies[customer] = {"live": name}
    made["loyalty"].broken = trouble == "broken"
    made["loyalty"].delay_s = 1.5 if trouble == "slow" else 0
    started = time.monotonic()
    view = (await live(gateway, customer)).json()
    assert time.monotonic() - started < 1.2
    assert view["loyalty"] == {"old": "loyalty"}
    assert states(view)["loyalty"] == ("stale", "view")
    assert states(view)["scoring"] == ("ok", "live")
    assert view["meta"]["complete"] is True


async def test_a_service_away_whose_section_the_view_never_had_is_unavailable(running: Running) -> None:
    gateway, made = running
    customer = new_id()
    await gateway.tell(section("profile", customer, 1, {"old": 1}))
    made["profile"].bodies[customer] = {"live": 1}
    made["scoring"].broken = True
    view = (await live(gateway, customer)).json()
    assert view["scoring"] is None
    assert states(view)["scoring"] == ("unavailable", "view")
    assert states(view)["feedback"] == ("ok", "live")
    assert view["meta"]["complete"] is False
    refused = await live(gateway, customer, required="scoring")
    assert (refused.status_code, refused.json()["sections"]) == (503, ["scoring"])


async def test_what_only_the_services_know_yet_is_answered(running: Running) -> None:
    gateway, made = running
    customer = new_id()
    made["profile"].bodies[customer] = {"new": True}
    view = (await live(gateway, customer)).json()
    assert view["profile"] == {"new": True}


async def test_the_profile_decides_that_a_customer_is_gone(running: Running) -> None:
    gateway, _ = running
    customer = new_id()
    await gateway.tell(section("profile", customer, 1, {"old": 1}))
    assert (await live(gateway, customer)).status_code == 404


async def test_a_stranger_is_told_apart_from_not_knowing(running: Running) -> None:
    gateway, made = running
    assert (await live(gateway, new_id())).status_code == 404
    assert (await live(gateway, new_id(), sections="loyalty")).status_code == 404
    made["profile"].broken = True
    answer = await live(gateway, new_id())
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


async def test_only_the_sections_asked_for_are_fetched(running: Running) -> None:
    gateway, made = running
    customer = new_id()
    made["loyalty"].bodies[customer] = {"live": 1}
    view = (await live(gateway, customer, sections="loyalty")).json()
    assert list(view["meta"]["sections"]) == ["loyalty"]
    assert not made["profile"].asked


async def test_a_rebuild_walks_every_service_to_its_end(running: Running) -> None:
    gateway, made = running
    customer = new_id()
    for service in made.values():
        service.bodies[customer] = {}
    answer = await gateway.client.post("/v1/admin/view:rebuild")
    assert answer.status_code == 202
    assert answer.json() == {"services": {name: {"status": "ok", "marked": 2} for name in SECTIONS}}
    assert made["scoring"].asked == ["", "cursor=more"]


async def test_verification_finds_what_differs_and_what_is_missing(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, made = running
    monkeypatch.setattr(rebuild, "PATIENCE_S", (0.05,))
    same, other, missing = sorted(new_id() for _ in range(3))
    await gateway.database_clear()
    for name in SECTIONS:
        await gateway.tell(section(name, same, 1, {"of": name, "n": [1, 2.5]}))
        made[name].bodies[same] = {"of": name, "n": [1, 2.5]}
    await gateway.tell(section("loyalty", other, 1, {"balance": 1}))
    made["loyalty"].bodies[other] = {"balance": 2}
    made["profile"].bodies[missing] = {"name": "never came"}

    found: list[Any] = []
    checked, cursor = 0, None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await gateway.client.post("/v1/admin/view:verify", params=query)).json()
        checked += page["checked"]
        found += page["differences"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert checked == 3
    assert found == [
        {"customer_id": str(other), "section": "loyalty", "stored_version": 1},
        {"customer_id": str(missing), "section": "profile", "stored_version": None},
    ]


async def test_what_arrives_during_a_verification_is_no_difference(running: Running) -> None:
    gateway, made = running
    customer = new_id()
    await gateway.database_clear()
    made["loyalty"].bodies[customer] = {"balance": 2}
    verification = asyncio.create_task(gateway.client.post("/v1/admin/view:verify"))
    await asyncio.sleep(0.05)
    await gateway.tell(section("loyalty", customer, 1, {"balance": 2}))
    page = (await verification).json()
    assert (page["checked"], page["differences"], page["unavailable"]) == (1, [], [])


async def test_verification_names_a_service_that_does_not_answer(running: Running) -> None:
    gateway, made = running
    await gateway.database_clear()
    await gateway.tell(section("scoring", new_id(), 1, {}))
    for service in made.values():
        service.broken = True
    page = (await gateway.client.post("/v1/admin/view:verify")).json()
    assert page["unavailable"] == list(SECTIONS)
    assert page["differences"] == []
