"""A gateway's database for each test, and the means to tell it what happened elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import pytest_asyncio

from gateway.settings import GatewaySettings
from shared.database import Database
from tests.conftest import MakeDatabase
from tests.gateway.view.serving import Gateway, running_gateway
from tests.support.databases import drop_database, make_database

WEBHOOK_KEY = "a-webhook-key-that-only-the-tests-know-012345"


@pytest.fixture
async def settings(fresh: MakeDatabase) -> GatewaySettings:
    made = await fresh(GatewaySettings, "gateway", webhook_secret_key=WEBHOOK_KEY)
    assert isinstance(made, GatewaySettings)
    return made


@pytest.fixture
async def database(settings: GatewaySettings) -> AsyncIterator[Database]:
    database = Database(settings)
    await database.open()
    yield database
    await database.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Gateway]:
    """One running gateway for a module whose tests each have customers of their own."""
    settings = await make_database(GatewaySettings, "gateway", webhook_secret_key=WEBHOOK_KEY)
    assert isinstance(settings, GatewaySettings)
    async with running_gateway(settings) as gateway:
        yield gateway
    await drop_database(settings)


@pytest.fixture
async def in_loop() -> Callable[[Coroutine[Any, Any, None]], None]:
    """Lets a Hypothesis property, which is run in a thread, use this test's loop and database."""
    loop = asyncio.get_running_loop()
    return lambda body: asyncio.run_coroutine_threadsafe(body, loop).result(30)
