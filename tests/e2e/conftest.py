"""One system for the process tests of a worker; each test uses customers and partners of its own."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.support.broker import rabbit
from tests.support.system import Partner, System


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), rabbit()) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[httpx.AsyncClient]:
    async with system.client() as client:
        yield client


@pytest.fixture
async def partner(client: httpx.AsyncClient, request: pytest.FixtureRequest) -> Partner:
    from uuid import uuid4

    return await Partner.create(client, f"p-{uuid4().hex[:10]}")
