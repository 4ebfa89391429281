"""Lets models serve without fitting them."""

from services.scoring.facts import walks
from services.scoring.models.estimation import Estimate
from services.scoring.models.store import add_version
from shared.database import Database
from tests.scoring.conftest import AS_OF

PURCHASES = Estimate({"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}, {}, -1.0, 100, 1)
SPEND = Estimate({"p": 6.25, "q": 3.74, "gamma": 1544.0}, {}, -1.0, 100, 1)


async def serve(database: Database) -> None:
    """A purchase and a spend model serve from now on, as after a fit."""
    async with database.pool.acquire() as connection, connection.transaction():
        window = (AS_OF, AS_OF)
        await add_version(connection, "bg_nbd", PURCHASES, unit="week", currency=None, window=window)
        await add_version(connection, "gamma_gamma", SPEND, unit=None, currency="CNY", window=window)
        await walks.ask(connection, "rescore", "model")
