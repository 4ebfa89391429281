"""Real servers on loopback: the gateway as callers reach it, and services as the gateway reaches them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import orjson
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.app import create_app
from gateway.settings import GatewaySettings
from shared.contracts import Event, encode
from shared.messaging.bus import Bus, Outgoing
from shared.messaging.local import LocalBus
from tests.support.apps import eventually

KEY = "c360_" + "k" * 43


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The app on a port of its own, as a base URL."""
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="on", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started or task.done())
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


class Gateway:
    """A running gateway, a caller of it, and a way to tell it what happened."""

    def __init__(self, app: Any, client: httpx.AsyncClient, bus: Bus) -> None:
        self.app = app
        self.client = client
        self.bus = bus

    async def tell(self, *events: Event[Any]) -> None:
        """Publish events; returns once the gateway has reacted to them."""
        await self.bus.publish([outgoing(event) for event in events])

    async def database_clear(self) -> None:
        """Forget every customer."""
        await self.app.state.database.pool.execute("TRUNCATE view_sections, view_identities")


@asynccontextmanager
async def running_gateway(
    settings: GatewaySettings,
    upstreams: Mapping[str, str] | None = None,
    *,
    bus: Bus | None = None,
    **changes: Any,
) -> AsyncIterator[Gateway]:
    """The gateway behind its door, with an operator's key; `upstreams` are the services' base URLs.

    Events come over `bus`, which is running; over a local one of its own when left out.
    """
    urls = {f"{name}_url": url for name, url in (upstreams or {}).items()}
    settings = settings.model_copy(update={"bootstrap_key": SecretStr(KEY), **urls, **changes})
    if bus is None:
        bus = LocalBus()
        await bus.start()
    app = create_app(settings, bus=bus)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with served(app) as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        yield Gateway(app, client, bus)


def outgoing(event: Event[Any]) -> Outgoing:
    return Outgoing(
        event.id, event.type, encode(event.data, event_id=event.id, time=event.time, traceparent=None)
    )


class Service:
    """A service that shows what it is told to show, as late as it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bodies: dict[UUID, dict[str, Any]] = {}
        self.delay_s = 0.0
        self.broken = False
        self.asked: list[str] = []
        self.app = Starlette(
            routes=[
                Route("/internal/sections", self._customers),
                Route("/internal/sections/{customer_id}", self._one),
                Route("/internal/sections:batch", self._many, methods=["POST"]),
                Route("/internal/sections:republish", self._republish, methods=["POST"]),
            ]
        )

    async def _customers(self, request: Request) -> Response:
        if self.broken:
            return Response("broken", status_code=500)
        after, limit = UUID(request.query_params["after"]), int(request.query_params["limit"])
        ids = sorted(customer for customer in self.bodies if customer > after)[:limit]
        return Response(orjson.dumps({"ids": ids}))

    async def _one(self, request: Request) -> Response:
        self.asked.append(request.headers["authorization"])
        await asyncio.sleep(self.delay_s)
        body = self.bodies.get(UUID(request.path_params["customer_id"]))
        if self.broken:
            return Response("broken", status_code=500)
        if body is None:
            return Response(status_code=404)
        headers = {"X-Section-Version": "99", "X-Section-As-Of": "2026-03-02T00:00:00Z"}
        # Spaced as Postgres writes JSON: whatever comes is placed in the answer as it is.
        return Response(orjson.dumps(body, option=orjson.OPT_INDENT_2), headers=headers)

    async def _many(self, request: Request) -> Response:
        if self.broken:
            return Response("broken", status_code=500)
        ids = [UUID(value) for value in orjson.loads(await request.body())["ids"]]
        items = [
            {"customer_id": i, "version": 99, "as_of": "2026-03-02T00:00:00Z", "body": self.bodies.get(i)}
            for i in ids
        ]
        return Response(orjson.dumps({"items": items}, option=orjson.OPT_INDENT_2))

    async def _republish(self, request: Request) -> Response:
        first = "cursor" not in request.query_params
        self.asked.append(str(request.url.query))
        return Response(orjson.dumps({"marked": len(self.bodies), "next_cursor": "more" if first else None}))


@asynccontextmanager
async def services() -> AsyncIterator[tuple[dict[str, Service], dict[str, str]]]:
    """The four services, each on a server of its own, with their base URLs."""
    made = {name: Service(name) for name in ("profile", "feedback", "loyalty", "scoring")}
    async with (
        served(made["profile"].app) as profile,
        served(made["feedback"].app) as feedback,
        served(made["loyalty"].app) as loyalty,
        served(made["scoring"].app) as scoring,
    ):
        yield made, {"profile": profile, "feedback": feedback, "loyalty": loyalty, "scoring": scoring}
