"""Versions of models: kept, numbered, one of each kind and currency serves."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from services.scoring.facts.store import read_spending
from services.scoring.models.catalogue import ModelKind
from services.scoring.models.store import (
    add_version,
    read_hold_out,
    read_rates,
    read_serving,
    read_spend_hold_out,
)
from services.scoring.settings import ScoringSettings
from shared.contracts.handles import LineItem
from shared.database import Database
from tests.scoring.conftest import AS_OF
from tests.scoring.events import START, bought, given_back, hear, purchase, refund
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


async def test_spend_is_modelled_before_refunds_and_valued_after_them_and_cost(
    database: Database, settings: ScoringSettings
) -> None:
    customer, other = uuid4(), uuid4()
    first, second, third = (purchase(customer, day, 1000) for day in (0, 20, 90))
    line = LineItem(sku="A1", amount=1000, cost=600)
    costed = [p.model_copy(update={"lines": (line,)}) for p in (first, second)]
    gone = purchase(other, 3, 5000)
    await hear(database, settings, bought(*costed, third, gone))
    await hear(database, settings, given_back(refund(second, 400, 95), refund(gone, on=4)))
    async with database.pool.acquire() as connection:
        refund_rate, cost_rate = await read_rates(connection, AS_OF, "CNY")
        spending = await read_spending(connection, "CNY", 100)
        end = (START + timedelta(days=60)).date()
        hold_out = await read_hold_out(connection, end, AS_OF, "day", 100)
        spent = await read_spend_hold_out(connection, end, AS_OF, "CNY", 100)
    assert refund_rate == pytest.approx(400 / 3000)
    assert cost_rate == pytest.approx(1200 / 1600)
    assert (spending.purchases, spending.mean) == ([2], [1000])
    # The purchase that was given back in full never happened: one customer, known to the hold-out.
    seen = hold_out.histories
    assert (seen.frequency, seen.recency, seen.age, hold_out.bought) == ([1], [20], [60], [1])
    assert (spent.purchases, spent.mean, spent.later_mean) == ([1], [1000], [1000])

    async with database.pool.acquire() as connection, connection.transaction():
        await add_version(
            connection, "gamma_gamma", SPEND, unit=None, currency="CNY", window=(AS_OF, AS_OF),
            rates=(refund_rate, cost_rate),
        )  # fmt: skip
        model = (await read_serving(connection)).spend["CNY"]
    assert model.kept(margin=0.9) == pytest.approx((1 - 400 / 3000) * 0.25)
