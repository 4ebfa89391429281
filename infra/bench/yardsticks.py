"""Yardsticks that are servers: what the job costs when nothing else is done. `python -m … NAME PORT JSON`.

Served exactly as our parts are: the same uvicorn settings, uvloop and httptools.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
from fastapi import FastAPI, Response
from starlette.responses import PlainTextResponse

from infra.embedded import Server, uvicorn_config
from infra.system import listen, run_async
from shared.contracts.sections import SECTIONS

FAN_OUT_CONNECTIONS = 128


def bare_row(arguments: dict[str, Any]) -> FastAPI:
    """P1: a FastAPI route that answers with one row by its primary key, the bytes of a 360 answer."""

    @asynccontextmanager
    async def connected(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(
            arguments["dsn"], min_size=1, max_size=arguments["connections"], server_settings={"jit": "off"}
        ) as app.state.pool:
            yield

    app = _app(connected)

    @app.get("/rows/{row_id}")
    async def read(row_id: UUID) -> Response:
        body = await app.state.pool.fetchval("SELECT body FROM rows WHERE id = $1", row_id)
        return Response(body, media_type="application/json")

    return app


def fan_out(arguments: dict[str, Any]) -> FastAPI:
    """P2: the four services asked side by side with aiohttp, their answers joined."""
    headers = {"Authorization": f"Bearer {arguments['token']}"}
    services: dict[str, str] = arguments["services"]

    @asynccontextmanager
    async def connected(app: FastAPI) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=FAN_OUT_CONNECTIONS)
        async with aiohttp.ClientSession(
            connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar()
        ) as app.state.session:
            yield

    app = _app(connected)

    async def section(name: str, customer_id: UUID) -> bytes:
        url = f"{services[name]}/internal/sections/{customer_id}"
        async with app.state.session.get(url) as answer:
            return await answer.read() if answer.status == 200 else b"null"

    @app.get("/composed/{customer_id}")
    async def compose(customer_id: UUID) -> Response:
        bodies = await asyncio.gather(*(section(name, customer_id) for name in SECTIONS))
        parts = [b'"%s":%s' % (name.encode(), body) for name, body in zip(SECTIONS, bodies, strict=True)]
        return Response(b"{" + b",".join(parts) + b"}", media_type="application/json")

    return app


def _app(lifespan: Any) -> FastAPI:
    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.add_route("/", lambda request: PlainTextResponse("ready"))
    return app


async def _serve(name: str, port: int, arguments: dict[str, Any]) -> None:
    app = {"bare_row": bare_row, "fan_out": fan_out}[name](arguments)
    await Server(uvicorn_config(app)).serve(sockets=[listen("127.0.0.1", port)])


if __name__ == "__main__":
    run_async(_serve(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])))
