"""Faults of real servers behind the door, and what each becomes for the caller."""

import asyncio
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.gateway.edge.conftest import StartGateway
from tests.gateway.edge.doors import OPERATOR, caller, echo, listening, serving
from tests.support.apps import eventually


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 503])
async def test_problems_of_a_service_are_kept(
    start_gateway: StartGateway, published: Path, status: int
) -> None:
    problem = b'{"type":"/problems/insufficient-points","status":409,"balance":3}'

    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"Retry-After": "7"}
        await Response(problem, status, headers, "application/problem+json")(scope, receive, send)

    async with serving(refusing) as url:
        gateway = await start_gateway(published=published, profile_url=url, breaker_failures=1)
        async with caller(gateway) as client:
            for _ in range(3):  # an answer is an answer: the breaker stays closed
                answer = await client.get("/v1/customers")
                assert (answer.status_code, answer.content) == (status, problem)
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["retry-after"] == "7"


async def test_a_service_that_is_away_is_503_and_then_refused_without_asking(
    start_gateway: StartGateway, published: Path
) -> None:
    gateway = await start_gateway(
        published=published, profile_url="http://127.0.0.1:1", breaker_failures=3, breaker_open_s=0.2
    )
    profile = gateway.state.upstreams["profile"]
    async with caller(gateway) as client:
        for _ in range(3):
            answer = await client.get("/v1/customers")
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
            assert answer.json()["service"] == "profile"
            assert int(answer.headers["retry-after"]) >= 1
        assert profile.breaker.state == "open"
        assert (await client.get("/v1/customers")).status_code == 503
        assert (await client.get("/v1/admin/keys")).status_code == 200


async def test_a_service_that_comes_back_is_found_by_one_probe(
    start_gateway: StartGateway, published: Path, unused_port: int
) -> None:
    gateway = await start_gateway(
        published=published,
        profile_url=f"http://127.0.0.1:{unused_port}",
        breaker_failures=1,
        breaker_open_s=0.1,
    )
    async with caller(gateway) as client:
        assert (await client.get("/v1/customers")).status_code == 503
        server = uvicorn.Server(
            uvicorn.Config(echo, port=unused_port, log_config=None, lifespan="off", ws="none")
        )
        task = asyncio.create_task(server.serve())

        async def back() -> bool:
            return (await client.get("/v1/customers")).status_code == 200

        await eventually(back, within_s=5, every_s=0.05)
        server.should_exit = True
        await task


async def test_a_service_that_is_silent_is_504_within_the_deadline(
    start_gateway: StartGateway, published: Path
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with listening(silent) as url:
        gateway = await start_gateway(published=published, profile_url=url, forward_timeout_s=0.2)
        async with caller(gateway) as client, asyncio.timeout(2):
            answer = await client.get("/v1/customers")
    assert (answer.status_code, answer.json()["type"]) == (504, "/problems/timed-out")


@pytest.mark.parametrize("answer_bytes", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_a_service_that_hangs_up_or_babbles_is_503(
    start_gateway: StartGateway, published: Path, answer_bytes: bytes
) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer_bytes)
        writer.close()

    async with listening(broken) as url:
        gateway = await start_gateway(published=published, profile_url=url)
        async with caller(gateway) as client:
            answer = await client.post("/v1/customers", json={})
    assert answer.status_code == 503


@pytest.mark.parametrize(("method", "tries"), [("GET", 2), ("PUT", 2), ("POST", 1)])
async def test_only_what_may_be_repeated_is_tried_again(
    start_gateway: StartGateway, published: Path, method: str, tries: int
) -> None:
    connections = 0

    async def hangs_up_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        if connections > 1:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
        writer.close()

    path = "/v1/customers" if method == "POST" else "/v1/customers/c1"
    async with listening(hangs_up_once) as url:
        gateway = await start_gateway(published=published, profile_url=url)
        async with caller(gateway) as client:
            answer = await client.request(method, path, content=b"{}" if method != "GET" else None)
    assert answer.status_code == (200 if tries > 1 else 503)
    assert connections == tries


async def test_a_broken_off_answer_breaks_off_for_the_caller_too(
    start_gateway: StartGateway, published: Path
) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
        await writer.drain()
        writer.close()

    async with listening(half) as url:
        gateway = await start_gateway(published=published, profile_url=url)
        async with serving(gateway) as door, httpx.AsyncClient(headers={"X-API-Key": OPERATOR}) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(door + "/v1/customers")
    assert gateway.state.upstreams["profile"].under_way == 0


async def test_one_slow_service_does_not_use_up_the_gateway(
    start_gateway: StartGateway, published: Path
) -> None:
    gate = asyncio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await Response(b"ok")(scope, receive, send)

    async with serving(waiting) as url:
        gateway = await start_gateway(published=published, profile_url=url, forward_concurrent=2)
        async with caller(gateway) as client:
            held = [asyncio.create_task(client.get("/v1/customers")) for _ in range(2)]
            await eventually(lambda: gateway.state.upstreams["profile"].under_way == 2)
            shed = await client.get("/v1/customers")
            assert (shed.status_code, shed.headers["retry-after"]) == (503, "1")
            assert (await client.get("/v1/admin/keys")).status_code == 200
            gate.set()
            assert [answer.status_code for answer in await asyncio.gather(*held)] == [200, 200]
            assert (await client.get("/v1/customers")).status_code == 200


async def test_services_in_the_same_process_are_reached_without_a_network(
    start_gateway: StartGateway, published: Path
) -> None:
    transports = {"profile": httpx.ASGITransport(app=echo, raise_app_exceptions=False)}
    gateway = await start_gateway(published=published, upstreams=transports)
    async with caller(gateway) as client:
        answer = await client.post("/v1/customers", content=b"x" * 200_000)
    assert answer.json()["body"] == 200_000
