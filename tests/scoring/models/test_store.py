"""Versions of models: kept, numbered, one of each kind and currency serves."""

import asyncio

from services.scoring.models.store import add_version, read_serving
from services.scoring.models.worker import ModelKind
from shared.database import Database
from tests.scoring.conftest import AS_OF
from tests.scoring.models.serving import PURCHASES, SPEND


async def add(database: Database, kind: ModelKind, currency: str | None = None) -> int:
    async with database.pool.acquire() as connection, connection.transaction():
        return await add_version(
            connection,
            kind,
            PURCHASES if kind == "bg_nbd" else SPEND,
            unit="week" if kind == "bg_nbd" else None,
            currency=currency,
            window=(AS_OF, AS_OF),
        )


async def test_the_newest_version_of_each_kind_and_currency_serves(database: Database) -> None:
    assert await add(database, "bg_nbd") == 1
    assert await add(database, "bg_nbd") == 2
    assert await add(database, "gamma_gamma", "CNY") == 1
    assert await add(database, "gamma_gamma", "EUR") == 2
    assert await add(database, "gamma_gamma", "CNY") == 3
    async with database.pool.acquire() as connection:
        serving = await read_serving(connection)
    assert serving.purchases is not None
    assert (serving.purchases.version, serving.purchases.unit_days) == (2, 7)
    assert {currency: model.version for currency, model in serving.spend.items()} == {"CNY": 3, "EUR": 2}


async def test_fits_that_end_together_get_versions_of_their_own(database: Database) -> None:
    versions = await asyncio.gather(*(add(database, "bg_nbd") for _ in range(6)))
    assert sorted(versions) == [1, 2, 3, 4, 5, 6]
    assert await database.pool.fetchval("SELECT count(*) FROM models WHERE serving") == 1


async def test_without_a_fit_nothing_serves(database: Database) -> None:
    async with database.pool.acquire() as connection:
        serving = await read_serving(connection)
    assert (serving.purchases, serving.spend) == (None, {})
