"""Limits at the door, and the door while our own database is away."""

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.gateway.edge.conftest import StartGateway
from tests.gateway.edge.doors import OPERATOR, caller, document, serving
from tests.support.apps import eventually

PATHS = {"/v1/customers": {"get": ["customers:read"], "post": ["customers:write"]}}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return document(tmp_path / "published", PATHS)


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(b"ok")(scope, receive, send)


def in_process(app: object = fine) -> dict[str, httpx.AsyncBaseTransport]:
    return {"profile": httpx.ASGITransport(app=app)}  # type: ignore[arg-type]


async def test_a_key_over_its_rate_is_told_when_to_come_back(
    start_gateway: StartGateway, published: Path
) -> None:
    gateway = await start_gateway(published=published, upstreams=in_process(), rate_read="3/60")
    async with caller(gateway) as client:
        left = [(await client.get("/v1/customers")).headers["ratelimit"] for _ in range(3)]
        assert [state.split(";")[1] for state in left] == ["r=2", "r=1", "r=0"]
        refused = await client.get("/v1/customers")
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/rate-limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert refused.headers["ratelimit-policy"] == '"read";q=3;w=60'
        assert refused.headers["ratelimit"].startswith('"read";r=0;')
        assert (await client.post("/v1/customers")).status_code == 200  # another class, another bucket
        made = (await client.post("/v1/admin/keys", json={"name": "a", "role": "agent"})).json()
    async with caller(gateway, made["key"]) as other:
        assert (await other.get("/v1/customers")).status_code == 200


async def test_beyond_the_cap_requests_are_shed_but_health_answers(
    start_gateway: StartGateway, published: Path
) -> None:
    gate = asyncio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await fine(scope, receive, send)

    gateway = await start_gateway(published=published, upstreams=in_process(waiting), concurrent_requests=3)
    async with caller(gateway) as client:
        held = [asyncio.create_task(client.get("/v1/customers")) for _ in range(3)]
        await eventually(lambda: gateway.state.upstreams["profile"].under_way == 3)
        shed = await client.get("/v1/customers")
        assert (shed.status_code, shed.headers["retry-after"]) == (503, "1")
        assert (await client.get("/healthz")).status_code == 200
        gate.set()
        assert {answer.status_code for answer in await asyncio.gather(*held)} == {200}
        assert (await client.get("/v1/customers")).status_code == 200


async def test_known_keys_go_on_while_our_database_is_away(
    start_gateway: StartGateway, published: Path
) -> None:
    gateway = await start_gateway(published=published, upstreams=in_process(), key_cache_s=0.01)
    async with caller(gateway) as client, caller(gateway, "a-key-that-nobody-knows") as stranger:
        assert (await client.get("/v1/customers")).status_code == 200
        await gateway.state.database.pool.close()
        await asyncio.sleep(0.02)
        assert (await client.get("/v1/customers")).status_code == 200
        assert (await stranger.get("/v1/customers")).status_code == 503


async def test_health_needs_no_key(gateway: FastAPI) -> None:
    async with caller(gateway, None) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200


async def test_no_secret_reaches_the_log(
    start_gateway: StartGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await start_gateway()
    async with caller(gateway) as operator:
        made = (await operator.post("/v1/admin/keys", json={"name": "张三", "role": "analyst"})).json()
    async with caller(gateway, made["key"]) as client:
        await client.get("/v1/admin/keys")
        await client.post("/v1/admin/keys", json={"name": "张三", "role": "operator"})
    said = "".join(capsys.readouterr())
    assert '"denied"' in said
    for secret in (OPERATOR, made["key"], made["key"].rsplit("_", 1)[1], "张三"):
        assert secret not in said


async def test_the_documents_and_their_page_are_served_from_here(
    start_gateway: StartGateway, published: Path
) -> None:
    gateway = await start_gateway(published=published)
    async with serving(gateway) as url, httpx.AsyncClient(base_url=url) as client:
        document = await client.get("/openapi.json")
        assert document.json()["paths"].keys() == PATHS.keys()
        assert (await client.get("/asyncapi.json")).status_code == 404
        page = await client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "script-src" not in page.headers["content-security-policy"]
        assert "http" not in page.text.replace("charset", "")
        for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon.png", "start.js"):
            assert f"/docs/{asset}" in page.text
            answer = await client.get(f"/docs/{asset}")
            assert answer.status_code == 200
            assert len(answer.content) > 50
        for asset in ("core.py", "..%2fcore.py", "redoc.standalone.js"):
            assert (await client.get(f"/docs/{asset}")).status_code == 404
