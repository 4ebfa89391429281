"""Real upstream servers on loopback and a real gateway in front of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.apps import eventually

OPERATOR = "operator-key-of-the-tests"
WEBHOOK_KEY = "a-webhook-key-that-only-the-tests-know-012345"
Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


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


def document(folder: Path, paths: dict[str, dict[str, Any]]) -> Path:
    """A published folder whose OpenAPI document names these operations of the profile service."""
    described = {
        path: {
            method: {"x-c360-service": "profile", "security": [{"key": scopes}]}
            for method, scopes in methods.items()
        }
        for path, methods in paths.items()
    }
    folder.mkdir(exist_ok=True)
    text = json.dumps({"openapi": "3.1.0", "paths": described})
    (folder / "openapi.json").write_text(text, encoding="utf-8")
    return folder


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """An app behind a real server on a port of its own; gives the URL."""
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, every_s=0.005)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def listening(handle: Connection) -> AsyncIterator[str]:
    """A server that does with each connection whatever the test wants; gives the URL."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()


def caller(app: FastAPI, key: str | None = OPERATOR) -> httpx.AsyncClient:
    """A client of the gateway that presents this key."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers, timeout=30)


class _no_signals:  # noqa: N801 - stands for a method
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None
