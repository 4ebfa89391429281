"""A loyalty database, emptied before each test; its pool, the running app, and short ways to post."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import httpx
import pytest

from services.loyalty.app import create_app
from services.loyalty.settings import LoyaltySettings
from shared.database import Database
from shared.settings import ServiceSettings
from tests.loyalty.points import Ledger, empty
from tests.support.apps import running
from tests.support.databases import drop_database, make_database


@pytest.fixture(scope="session")
def one_database() -> Iterator[ServiceSettings]:
    made = asyncio.run(make_database(LoyaltySettings, "services.loyalty", relay_poll_s=0.1))
    yield made
    asyncio.run(drop_database(made))


@pytest.fixture
async def settings(one_database: LoyaltySettings) -> LoyaltySettings:
    await empty(one_database)
    return one_database


@pytest.fixture
async def database(settings: LoyaltySettings) -> AsyncIterator[Database]:
    opened = Database(settings)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def pool(database: Database) -> asyncpg.Pool:
    return database.pool


@pytest.fixture
def ledger(pool: asyncpg.Pool) -> Ledger:
    return Ledger(pool)


@pytest.fixture
async def client(settings: LoyaltySettings) -> AsyncIterator[httpx.AsyncClient]:
    async with running(create_app(settings)) as open_client:
        yield open_client
