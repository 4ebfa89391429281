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
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tests.gateway.edge.conftest import StartGateway
from tests.gateway.edge.doors import OPERATOR, caller, echo, serving
from tests.support.databases import SECRET


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
