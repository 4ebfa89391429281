"""Forwarding to real servers: what is passed on, what is not, and what each fault becomes."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tests.gateway.edge.conftest import StartGateway
from tests.gateway.edge.doors import OPERATOR, caller, document, listening, serving
from tests.support.apps import eventually
from tests.support.databases import SECRET

PATHS: dict[str, dict[str, Any]] = {
    "/v1/customers": {"get": ["customers:read"], "post": ["customers:write"]},
    "/v1/customers/{id}": {"get": ["customers:read"], "put": ["customers:write"]},
    "/v1/purchases:batch": {"post": ["purchases:write"]},
}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked."""
    request = Request(scope, receive)
    body = await request.body()
    seen = {
        "method": scope["method"],
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "headers": {name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
        "body": len(body),
        "beginning": body[:100].decode("latin-1"),
    }
    headers = {"ETag": '"v1"', "Connection": "close, X-Hop", "X-Hop": "1", "Set-Cookie": "a=b", "X-Kept": "1"}
    await JSONResponse(seen, headers=headers)(scope, receive, send)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return document(tmp_path / "published", PATHS)


@pytest.fixture
async def gateway(start_gateway: StartGateway, published: Path) -> AsyncIterator[FastAPI]:
    async with serving(echo) as url:
        yield await start_gateway(published=published, profile_url=url)


async def test_a_request_arrives_whole_and_clean(gateway: FastAPI) -> None:
    sent = {
        "X-Request-Id": "from-the-caller",
        "Traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "If-Match": '"v7"',
        "Idempotency-Key": "k-1",
        "Cookie": "session=secret",
        "Connection": "keep-alive, X-Mine",
        "X-Mine": "only for the first hop",
        "X-Forwarded-For": "10.0.0.1",
    }
    async with caller(gateway) as client:
        answer = await client.post("/v1/customers?q=a%20b&x=%E6%9D%8E&y=1+2", json={"a": "李"}, headers=sent)
    seen = answer.json()
    assert answer.status_code == 200
    assert (seen["method"], seen["path"], seen["body"]) == (
        "POST",
        "/v1/customers",
        len('{"a":"李"}'.encode()),
    )
    assert httpx.QueryParams(seen["query"]) == httpx.QueryParams("q=a%20b&x=%E6%9D%8E&y=1+2")
    headers = seen["headers"]
    assert headers["if-match"] == '"v7"'
    assert headers["idempotency-key"] == "k-1"
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == "from-the-caller" == answer.headers["x-request-id"]
    assert headers["traceparent"].split("-")[1] == "a" * 32
    assert not {"cookie", "x-mine", "x-forwarded-for", "x-api-key"} & headers.keys()
    assert OPERATOR not in json.dumps(seen)


async def test_the_service_gets_an_internal_token_instead_of_the_key(gateway: FastAPI) -> None:
    async with caller(gateway) as client:
        made = (await client.post("/v1/admin/keys", json={"name": "a", "role": "analyst"})).json()
        async with caller(gateway, made["key"]) as analyst:
            first = (await analyst.get("/v1/customers")).json()["headers"]["authorization"]
            second = (await analyst.get("/v1/customers")).json()["headers"]["authorization"]
    claims = jwt.decode(first.removeprefix("Bearer "), SECRET, algorithms=["HS256"], audience="c360-services")
    assert claims["sub"] == f"key:{made['id']}"
    assert claims["scopes"] == made["scopes"]
    assert 0 < claims["exp"] - claims["iat"] <= 61
    assert first == second


async def test_the_answer_comes_back_clean(gateway: FastAPI) -> None:
    async with caller(gateway) as client:
        answer = await client.get("/v1/customers")
    assert answer.headers["etag"] == '"v1"'
    assert answer.headers["x-kept"] == "1"
    assert not {"set-cookie", "x-hop", "server"} & set(answer.headers)
    assert answer.headers["ratelimit-policy"] == '"read";q=20000;w=10'
    assert answer.headers["ratelimit"].startswith('"read";r=19999;')
    for name in ("x-request-id", "traceparent", "date"):
        assert len(answer.headers.get_list(name)) <= 1


@pytest.mark.parametrize(
    ("path", "read_as"),
    [
        ("/v1/customers/a%2Fb", None),
        ("/v1/customers/%2e%2e", None),
        ("/v1/customers/..%2f..%2finternal", None),
        ("/v1/customers/a%3Fb%23c", "/v1/customers/a?b#c"),
        ("/v1/customers/%E6%9D%8E%20%00", "/v1/customers/李 \x00"),
        ("/v1/customers/100%25", "/v1/customers/100%"),
        ("/v1/customers/%ff", "/v1/customers/\ufffd"),
        ("/v1/customers/x;y=1,2", "/v1/customers/x;y=1,2"),
    ],
)
async def test_both_sides_read_the_same_path(gateway: FastAPI, path: str, read_as: str | None) -> None:
    async with serving(gateway) as url, httpx.AsyncClient() as client:
        target = httpx.URL(url).copy_with(raw_path=path.encode())
        answer = await client.get(target, headers={"X-API-Key": OPERATOR})
    assert answer.status_code == (404 if read_as is None else 200)
    if read_as is not None:
        assert answer.json()["path"] == read_as


@pytest.mark.parametrize(
    ("query", "status"), [(b"\xff\xfe", 200), (b"a=%zz&b=%", 200), (b"a=[1]{2}|\"'<>", 200), (b"a=\x01", 200)]
)
async def test_odd_queries_are_no_error_of_ours(gateway: FastAPI, query: bytes, status: int) -> None:
    answers = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/customers",
        "raw_path": b"/v1/customers",
        "query_string": query,
        "headers": [(b"x-api-key", OPERATOR.encode())],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("gateway", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    await gateway(scope, receive, send)
    assert answers[0]["status"] == status


async def test_unknown_paths_methods_and_scopes_end_at_the_door(gateway: FastAPI) -> None:
    async with caller(gateway) as client:
        assert (await client.get("/v1/nothing")).json()["type"] == "/problems/not-found"
        assert (await client.get("/internal/dead-letters")).status_code == 404
        wrong = await client.delete("/v1/customers")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
        made = (await client.post("/v1/admin/keys", json={"name": "a", "role": "analyst"})).json()
    async with caller(gateway, made["key"]) as analyst:
        refused = await analyst.post("/v1/customers", json={})
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")


async def test_head_is_get_without_the_body(gateway: FastAPI) -> None:
    async with serving(gateway) as url, httpx.AsyncClient(headers={"X-API-Key": OPERATOR}) as client:
        for path in ("/v1/customers", "/v1/admin/keys"):
            answer = await client.head(url + path)
            assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("size", [0, 10, 100_000, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_of_any_size_pass(gateway: FastAPI, size: int, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size, 50_000):
            yield b"x" * min(50_000, size - start)

    content = chunks() if chunked else b"x" * size
    async with serving(gateway) as url, httpx.AsyncClient(headers={"X-API-Key": OPERATOR}) as client:
        answer = await client.post(url + "/v1/customers", content=content)
    assert answer.json()["body"] == size


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_limit_is_413_and_no_fault_of_the_service(
    start_gateway: StartGateway, published: Path, chunked: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 50_000

    async with serving(echo) as url:
        gateway = await start_gateway(
            published=published, profile_url=url, body_limit_bytes=200_000, breaker_failures=1
        )
        content = chunks() if chunked else b"x" * 500_000
        async with caller(gateway) as client:
            answer = await client.post("/v1/customers", content=content)
            assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")
            assert (await client.get("/v1/customers")).status_code == 200


async def test_answers_stream_through(start_gateway: StartGateway, published: Path) -> None:
    gate = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await gate.wait()
            yield b"second"

        await StreamingResponse(parts())(scope, receive, send)

    async with serving(slow) as url:
        gateway = await start_gateway(published=published, profile_url=url)
        async with (
            serving(gateway) as door,
            httpx.AsyncClient(headers={"X-API-Key": OPERATOR}) as client,
            client.stream("GET", door + "/v1/customers") as answer,
        ):
            parts = answer.aiter_raw()
            assert await anext(parts) == b"first"
            gate.set()
            assert await anext(parts) == b"second"


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
    import uvicorn

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
