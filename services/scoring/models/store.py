"""SQL of the models: versions are kept; one of purchases serves, and one of spend for each currency."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.scoring.facts.columns import fetch_columns
from services.scoring.facts.histories import DAYS_PER_UNIT, Histories, Unit
from services.scoring.models.catalogue import KINDS, ModelKind, purchases_by
from services.scoring.models.estimation import Estimate
from services.scoring.models.evaluation import HoldOut, SpendHoldOut
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.release import Drift
from services.scoring.models.serving import PurchaseModel, Serving, SpendModel
from services.scoring.tables import Model

_SERVING = """
    SELECT id, kind, version, unit, currency, params::text AS params, window_to, refund_rate, cost_rate
    FROM models WHERE serving
"""
# One change at a time is written, so that versions have no gaps and one model serves.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('scoring.models'))"
_RETIRE = """
    UPDATE models SET serving = false
    WHERE serving AND (kind = 'gamma_gamma') = ($1 = 'gamma_gamma') AND currency IS NOT DISTINCT FROM $2
    RETURNING id
"""
_ADD = """
    INSERT INTO models (kind, version, unit, currency, params, standard_errors, log_likelihood, customers,
                        window_from, window_to, covariance, data_hash, quality, promotion, refund_rate,
                        cost_rate, serving)
    SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4::text::jsonb, $5::text::jsonb, $6, $7, $8, $9,
           $10::text::jsonb, $11, $12::text::jsonb, $13, $14, $15, false
    FROM models WHERE kind = $1
    RETURNING id, version
"""
_SERVE = """
    UPDATE models SET serving = true, replaced = coalesce($2, replaced), promotion = coalesce($3, promotion)
    WHERE id = $1
"""
_HOLD_OUT = """
    WITH known AS (
        SELECT customer_id, min(day) AS first_on, max(day) FILTER (WHERE day <= $1::date) AS last_on,
               count(DISTINCT day) FILTER (WHERE day <= $1::date) AS days,
               count(DISTINCT day) FILTER (WHERE day > $1::date) AS later
        FROM kept_purchases($2::date) GROUP BY 1
    )
    SELECT (days - 1)::float8, (last_on - first_on)::float8, ($1::date - first_on)::float8, later::float8,
           count(*)::float8
    FROM known WHERE days > 0 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 LIMIT $3
"""
_SPEND_HOLD_OUT = """
    WITH kept AS (
        SELECT k.*, min(k.day) OVER (PARTITION BY k.customer_id) AS first_on FROM kept_purchases($2::date) k
    ), repeated AS (
        SELECT customer_id,
               count(DISTINCT day) FILTER (WHERE day <= $1::date) AS days,
               sum(gross) FILTER (WHERE day <= $1::date) AS spend,
               count(DISTINCT day) FILTER (WHERE day > $1::date) AS later_days,
               sum(gross) FILTER (WHERE day > $1::date) AS later_spend
        FROM kept WHERE day > first_on AND currency = $4 GROUP BY 1
    )
    SELECT days::float8, (spend / days)::float8,
           CASE WHEN later_days > 0 THEN (later_spend / later_days)::float8 ELSE 'NaN'::float8 END
    FROM repeated WHERE days > 0 ORDER BY 1, 2, 3 LIMIT $3
"""

# Costs of fewer than half of what was spent say too little about the rest.
_RATES = """
    SELECT coalesce(sum(refunded) / nullif(sum(gross), 0), 0)::float8 AS refund_rate,
           CASE WHEN sum(gross) FILTER (WHERE cost IS NOT NULL) >= sum(gross) / 2
                THEN least(sum(cost) / nullif(sum(gross - refunded) FILTER (WHERE cost IS NOT NULL), 0), 1)
           END::float8 AS cost_rate
    FROM kept_purchases($1::date) WHERE currency = $2
"""

_DRIFT = """
    WITH before AS (
        SELECT coalesce((drift ->> 'drifting')::boolean, false) AS drifting
        FROM models WHERE id = $1 FOR UPDATE
    ), written AS (
        UPDATE models SET drift = $2::text::jsonb WHERE id = $1
    )
    SELECT outbox_emit('alert.raised', NULL, jsonb_build_object(
        'what', 'purchases of its customers since ' || $3::text || ' was fitted',
        'measured', $2::text::jsonb -> 'bought', 'expected', $2::text::jsonb -> 'predicted',
        'since', to_char($4::date, 'YYYY-MM-DD"T00:00:00Z"')))
    FROM before WHERE NOT drifting AND ($2::text::jsonb ->> 'drifting')::boolean
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A model that serves, as the service compares with it."""

    id: UUID
    kind: ModelKind
    name: str
    unit: Unit | None
    currency: str | None
    params: Mapping[str, float]
    window_to: date


async def served(connection: asyncpg.Connection) -> list[Served]:
    """The models that serve."""
    return [
        Served(
            row["id"],
            row["kind"],
            f"{row['kind']}/{row['version']}",
            row["unit"],
            row["currency"],
            orjson.loads(row["params"]),
            row["window_to"],
        )
        for row in await connection.fetch(_SERVING)
    ]


async def read_serving(connection: asyncpg.Connection) -> Serving:
    """The models that serve, ready to predict."""
    purchases: PurchaseModel | None = None
    spend: dict[str, SpendModel] = {}
    for row in await connection.fetch(_SERVING):
        params = orjson.loads(row["params"])
        if row["kind"] == "gamma_gamma":
            spend[row["currency"]] = SpendModel(
                row["version"], GammaGamma(**params), row["refund_rate"], row["cost_rate"]
            )
        else:
            model = purchases_by(row["kind"]).make(**params)
            purchases = PurchaseModel(row["version"], DAYS_PER_UNIT[row["unit"]], model, row["kind"])
    return Serving(purchases, spend)


async def add_version(
    connection: asyncpg.Connection,
    kind: ModelKind,
    estimate: Estimate,
    *,
    unit: Unit | None,
    currency: str | None,
    window: tuple[date, date],
    quality: Mapping[str, Any] | None = None,
    data_hash: str | None = None,
    promotion: str = "serves",
    rates: tuple[float, float | None] = (0.0, None),
    serve: bool = True,
) -> int:
    """Keep a fit as the next version of its kind, and let it serve or not; returns the version.

    `rates` are a model of spend's refund rate and cost rate.
    """
    await connection.execute(_LOCK)
    row = await connection.fetchrow(
        _ADD,
        kind,
        unit,
        currency,
        orjson.dumps(estimate.params).decode(),
        orjson.dumps(estimate.standard_errors).decode(),
        estimate.log_likelihood,
        estimate.customers,
        *window,
        orjson.dumps(estimate.covariance).decode(),
        data_hash,
        None if quality is None else orjson.dumps(quality).decode(),
        promotion,
        *rates,
    )
    if serve:
        before = await connection.fetchval(_RETIRE, kind, currency)
        await connection.execute(_SERVE, row["id"], before, None)
    version: int = row["version"]
    return version


async def serve_instead(connection: asyncpg.Connection, model: Model, why: str, *, forward: bool) -> None:
    """Let this version serve in the place of the one that does; `forward` makes that one its way back."""
    await connection.execute(_LOCK)
    before = await connection.fetchval(_RETIRE, model.kind, model.currency)
    await connection.execute(_SERVE, model.id, before if forward and before != model.id else None, why)


async def read_hold_out(
    connection: asyncpg.Connection, calibration_end: date, until: date, unit: Unit, limit: int
) -> HoldOut:
    """Histories as of the calibration's end with the days with a purchase from then up to `until`."""
    x, last, age, later, customers = await fetch_columns(
        connection, _HOLD_OUT, calibration_end, until, limit, count=5
    )
    scale = DAYS_PER_UNIT[unit]
    horizon = (until - calibration_end).days / scale
    return HoldOut(Histories(x, last / scale, age / scale, customers), later, horizon)


async def read_spend_hold_out(
    connection: asyncpg.Connection, calibration_end: date, until: date, currency: str, limit: int
) -> SpendHoldOut:
    """Repeat spending in a currency as of the calibration's end, and what came after it up to `until`."""
    columns = await fetch_columns(
        connection, _SPEND_HOLD_OUT, calibration_end, until, limit, currency, count=3
    )
    return SpendHoldOut(*columns)


def kind_of(model: Model) -> ModelKind:
    """A stored model's kind; the table holds no others."""
    return KINDS[model.kind]


async def read_rates(
    connection: asyncpg.Connection, observed: date, currency: str
) -> tuple[float, float | None]:
    """The share of spend that was given back, and the share of the rest that it cost, None if unknown.

    Purchases that were given back in full never happened, here as in the facts.
    """
    row = await connection.fetchrow(_RATES, observed, currency)
    return row["refund_rate"], row["cost_rate"]


async def write_drift(connection: asyncpg.Connection, model: Served, drift: Drift) -> None:
    """Keep how far a model is off; that it drifts is told once, when it is first seen."""
    said = orjson.dumps(asdict(drift)).decode()
    await connection.execute(_DRIFT, model.id, said, model.name, model.window_to)


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


async def read_model(session: AsyncSession, kind: str, version: int | None) -> Model | None:
    """One version."""
    query = select(Model).where(Model.kind == kind, Model.version == version)
    return (await session.exec(query)).first()


async def read_serving_version(session: AsyncSession, kind: ModelKind, currency: str | None) -> Model | None:
    """The version of this kind that serves; of any currency when none is given."""
    query = select(Model).where(Model.kind == kind, col(Model.serving))
    if currency is not None:
        query = query.where(Model.currency == currency)
    return (await session.exec(query.order_by(col(Model.id).desc()))).first()
