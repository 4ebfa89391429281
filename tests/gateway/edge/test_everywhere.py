"""Dead letters and background jobs of every part in one list, from real service plumbing."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from shared.ids import new_id
from tests.conftest import MakeDatabase
from tests.gateway.edge.conftest import StartGateway
from tests.gateway.edge.doors import caller
from tests.support.apps import eventually
from tests.support.probe.app import PACKAGE, ProbeSettings, create_app

NOWHERE = {f"{name}_url": "http://127.0.0.1:1" for name in ("feedback", "loyalty", "scoring")}


@pytest.fixture
async def service(fresh: MakeDatabase) -> AsyncIterator[FastAPI]:
    app = create_app(await fresh(ProbeSettings, PACKAGE))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield app


@pytest.fixture
async def gateway(start_gateway: StartGateway, service: FastAPI) -> FastAPI:
    transports = {"profile": httpx.ASGITransport(app=service)}
    return await start_gateway(upstreams=transports, **NOWHERE)


async def bury(app: FastAPI, times: int = 1) -> list[UUID]:
    ids = [new_id() for _ in range(times)]
    await app.state.database.pool.executemany(
        """INSERT INTO dead_letters
               (id, consumer, event_id, type, envelope, status, attempts, error, traceback)
           VALUES ($1, 'a.group', $1, 'thing.happened', '{"data": {"email": "x@y.z"}}', 'dead', 5,
                   'ValueError: x@y.z', 'at')""",
        [(id_,) for id_ in ids],
    )
    return ids


async def listed(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get("/v1/admin/dead-letters", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_all_parts_are_in_one_list_and_those_away_are_named(gateway: FastAPI, service: FastAPI) -> None:
    theirs, ours, newest = await bury(service), await bury(gateway), await bury(service)
    async with caller(gateway) as client:
        found = await listed(client)
        assert [(item["service"], item["id"]) for item in found["items"]] == [
            ("profile", str(newest[0])),
            ("gateway", str(ours[0])),
            ("profile", str(theirs[0])),
        ]
        assert found["unavailable"] == ["feedback", "loyalty", "scoring"]
        assert "x@y.z" not in str(found)
        assert {i["service"] for i in (await listed(client, service="gateway"))["items"]} == {"gateway"}


async def test_pages_join_up_over_the_parts(gateway: FastAPI, service: FastAPI) -> None:
    wanted = await bury(service, 3) + await bury(gateway, 2) + await bury(service, 2)
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    async with caller(gateway) as client:
        for _ in range(10):
            page = await listed(client, **query)
            found += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
    assert found == [str(id_) for id_ in reversed(wanted)]


@pytest.mark.parametrize("part", ["profile", "gateway"])
async def test_one_is_shown_and_replayed(gateway: FastAPI, service: FastAPI, part: str) -> None:
    app = service if part == "profile" else gateway
    (id_,) = await bury(app)
    async with caller(gateway) as client:
        shown = (await client.get(f"/v1/admin/dead-letters/{part}/{id_}")).json()
        assert shown["envelope"] == {"data": {"email": "x@y.z"}}
        again = await client.post(f"/v1/admin/dead-letters/{part}/{id_}/replay")
        assert (again.status_code, again.json()["status"]) == (202, "retrying")
        assert (await client.get(f"/v1/admin/dead-letters/{part}/{new_id()}")).status_code == 404
        assert (await client.post(f"/v1/admin/dead-letters/feedback/{id_}/replay")).status_code == 503


async def test_only_who_may_see_personal_data_reads_the_event(gateway: FastAPI, service: FastAPI) -> None:
    (id_,) = await bury(service)
    async with caller(gateway) as client:
        narrow = {"name": "a", "role": "agent", "scopes": ["admin"]}
        made = (await client.post("/v1/admin/keys", json=narrow)).json()
    async with caller(gateway, made["key"]) as clerk:
        assert (await clerk.get("/v1/admin/dead-letters")).status_code == 200
        assert (await clerk.get(f"/v1/admin/dead-letters/profile/{id_}")).status_code == 403


async def test_the_jobs_of_all_parts_say_when_they_ran_and_run_next(gateway: FastAPI) -> None:
    async with caller(gateway) as client:

        async def ran() -> list[dict[str, Any]]:
            found = (await client.get("/v1/admin/jobs")).json()
            assert found["unavailable"] == ["feedback", "loyalty", "scoring"]
            items: list[dict[str, Any]] = found["items"]
            wanted = {("profile", "housekeeping"), ("gateway", "housekeeping")}
            done = {(item["service"], item["name"]) for item in items if item["last_run_at"]}
            return items if wanted <= done else []

        for item in await eventually(ran):
            assert item["last_error"] is None
            assert item["last_run_at"] is None or item["next_run_at"] > item["last_run_at"]
        ours = (await client.get("/v1/admin/jobs", params={"service": "gateway"})).json()["items"]
        assert {item["service"] for item in ours} == {"gateway"}
        assert (await client.get("/v1/admin/jobs", params={"service": "shop"})).status_code == 422
