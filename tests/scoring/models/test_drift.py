"""A model that drifts is told of once."""

from datetime import timedelta
from uuid import uuid4

from services.scoring.models.estimation import Estimate
from services.scoring.models.service import watch_drift
from services.scoring.models.store import add_version
from services.scoring.settings import ScoringSettings
from shared.contracts import decode
from shared.contracts.scoring import AlertRaised
from shared.database import Database
from tests.scoring.conftest import AS_OF
from tests.scoring.events import bought, hear, purchase


async def test_drift_is_told_when_it_is_first_seen(database: Database, settings: ScoringSettings) -> None:
    await hear(
        database,
        settings,
        bought(*(purchase(c, 6 * n) for c in [uuid4() for _ in range(9)] for n in range(30))),
    )
    lazy = Estimate({"r": 1.0, "alpha": 1e5, "s": 9.0, "beta": 1.0}, {}, -1.0, 100, 1)
    fitted = AS_OF - timedelta(days=40)
    async with database.pool.acquire() as connection:
        await add_version(connection, "pareto_nbd", lazy, unit="day", currency=None, window=(fitted, fitted))
    for _ in range(2):
        await watch_drift(database, settings, AS_OF)
    (row,) = await database.pool.fetch("SELECT envelope FROM outbox WHERE type = 'alert.raised'")
    alert = decode(row["envelope"]).data
    assert isinstance(alert, AlertRaised)
    assert alert.what == "purchases of its customers since pareto_nbd/1 was fitted"
    assert alert.measured > 10 > alert.expected
    assert alert.since.date() == fitted
