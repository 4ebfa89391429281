"""A gateway with its own database, the operator's key known."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gateway.app import create_app
from gateway.settings import GatewaySettings
from tests.conftest import MakeDatabase
from tests.gateway.edge.doors import OPERATOR, PATHS, WEBHOOK_KEY, caller, document

StartGateway = Callable[..., Awaitable[FastAPI]]


@pytest.fixture
async def start_gateway(fresh: MakeDatabase) -> AsyncIterator[StartGateway]:
    """`await start_gateway(**settings)`: a running gateway."""
    async with AsyncExitStack() as stack:

        async def start(**overrides: Any) -> FastAPI:
            given = {"bootstrap_key": OPERATOR, "webhook_secret_key": WEBHOOK_KEY} | overrides
            upstreams = given.pop("upstreams", None)
            settings = await fresh(GatewaySettings, "gateway", **given)
            assert isinstance(settings, GatewaySettings)
            app = create_app(settings, upstreams=upstreams)
            await stack.enter_async_context(app.router.lifespan_context(app))
            return app

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> FastAPI:
    return await start_gateway()


@pytest.fixture
async def operator(gateway: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with caller(gateway) as client:
        yield client


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A published document with some routes of the profile service."""
    return document(tmp_path / "published", PATHS)
