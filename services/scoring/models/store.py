"""SQL of the models: versions are kept, one of each kind (and currency) serves."""

from datetime import date
from uuid import UUID

import asyncpg
import orjson
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.scoring.facts.histories import DAYS_PER_UNIT, Unit
from services.scoring.models.bg_nbd import BgNbd
from services.scoring.models.estimation import Estimate
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.serving import PurchaseModel, Serving, SpendModel
from services.scoring.models.worker import ModelKind
from services.scoring.tables import Model

_SERVING = "SELECT kind, version, unit, currency, params::text AS params FROM models WHERE serving"
# One fit at a time is written, so that versions have no gaps and one model serves.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('scoring.models'))"
_RETIRE = """
    UPDATE models SET serving = false
    WHERE kind = $1 AND currency IS NOT DISTINCT FROM $2 AND serving
"""
_ADD = """
    INSERT INTO models (kind, version, unit, currency, params, standard_errors, log_likelihood, customers,
                        window_from, window_to, serving)
    SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4::text::jsonb, $5::text::jsonb, $6, $7, $8, $9, true
    FROM models WHERE kind = $1
    RETURNING version
"""


async def read_serving(connection: asyncpg.Connection) -> Serving:
    """The models that serve."""
    purchases: PurchaseModel | None = None
    spend: dict[str, SpendModel] = {}
    for row in await connection.fetch(_SERVING):
        params = orjson.loads(row["params"])
        if row["kind"] == "bg_nbd":
            purchases = PurchaseModel(row["version"], DAYS_PER_UNIT[row["unit"]], BgNbd(**params))
        else:
            spend[row["currency"]] = SpendModel(row["version"], GammaGamma(**params))
    return Serving(purchases, spend)


async def add_version(
    connection: asyncpg.Connection,
    kind: ModelKind,
    estimate: Estimate,
    *,
    unit: Unit | None,
    currency: str | None,
    window: tuple[date, date],
) -> int:
    """Keep a fit as the next version of its kind and let it serve; returns the version."""
    await connection.execute(_LOCK)
    await connection.execute(_RETIRE, kind, currency)
    version: int = await connection.fetchval(
        _ADD,
        kind,
        unit,
        currency,
        orjson.dumps(estimate.params).decode(),
        orjson.dumps(estimate.standard_errors).decode(),
        estimate.log_likelihood,
        estimate.customers,
        *window,
    )
    return version


async def list_models(
    session: AsyncSession, *, kind: ModelKind | None, before: UUID | None, limit: int
) -> list[Model]:
    """Versions, newest first."""
    query = select(Model).order_by(col(Model.id).desc()).limit(limit)
    if kind is not None:
        query = query.where(Model.kind == kind)
    if before is not None:
        query = query.where(col(Model.id) < before)
    return list((await session.exec(query)).all())


async def read_model(session: AsyncSession, kind: ModelKind, version: int | None) -> Model | None:
    """One version."""
    query = select(Model).where(Model.kind == kind, Model.version == version)
    return (await session.exec(query)).first()
