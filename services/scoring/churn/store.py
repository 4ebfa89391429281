"""SQL of churn: what is known of customers as rows of attributes, their risks, and the classifiers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.scoring import due

# What is known of customers as JSON objects: facts under names in words, then their own attributes. What is
# nested is left out. An attribute of a fact's name stands instead of it.
_ROWS = """
    SELECT (jsonb_build_object(
        'days since registration', $2::date - (f.registered_at AT TIME ZONE 'UTC')::date,
        'days since the first purchase', $2::date - f.first_on,
        'days since the last purchase', $2::date - f.last_on,
        'days with a purchase', f.days, 'purchases', f.purchases, 'refunds', f.refunds,
        'currency', f.currency, 'spend', f.spend,
        'spend per day with a purchase', round(f.spend::numeric / nullif(f.currency_days, 0), 2),
        'days between purchases', f.gap_mean, 'tickets', f.tickets, 'open tickets', f.open_tickets,
        'severe tickets', f.severe_tickets, 'breached tickets', f.breaches, 'complaints', f.complaints,
        'mood of tickets', f.mood, 'NPS answer', f.nps, 'CSAT answer', f.csat, 'CES answer', f.ces,
        'tier', f.tier, 'points', f.points
    ) || coalesce(a.own, '{}') || jsonb_build_object('customer_id', f.customer_id))::text AS said
    FROM customer_facts f
    LEFT JOIN LATERAL (
        SELECT jsonb_object_agg(name, value) FILTER (WHERE jsonb_typeof(value) NOT IN ('object', 'array'))
            AS own
        FROM customer_attributes WHERE customer_id = f.customer_id
    ) a ON true
    WHERE f.customer_id = ANY ($1) ORDER BY f.customer_id
"""
# The same ones each time when there are more than are learnt from: ids are random enough.
_LABELLED = """
    SELECT customer_id FROM customer_attributes JOIN customer_facts USING (customer_id)
    WHERE name = $1 ORDER BY md5(customer_id::text) LIMIT $2
"""
_STATE = """
    SELECT basis, after, after IS NULL AND EXISTS (SELECT FROM walks WHERE finished_at > pass_at) AS walked
    FROM churn_pass
"""
# Risks that differ are written and marked for the view; who has come above the line is told about.
_WRITE = """
    WITH told AS (
        SELECT * FROM unnest($1::uuid[], $2::float8[], $3::text[]) AS t (customer_id, risk, reasons)
    ), judged AS (
        SELECT t.customer_id, t.risk, ARRAY(SELECT jsonb_array_elements_text(t.reasons::jsonb)) AS reasons,
               coalesce(b.above, false) AS was,
               CASE WHEN $6::float8 IS NULL OR t.risk < $7::float8 THEN false
                    ELSE t.risk >= $6::float8 OR coalesce(b.above, false) END AS above
        FROM told t LEFT JOIN churn_risks b USING (customer_id)
        WHERE EXISTS (SELECT FROM customer_facts f WHERE f.customer_id = t.customer_id)
    ), written AS (
        INSERT INTO churn_risks AS r (
            customer_id, risk, kind, horizon_days, threshold, above, model, reasons, as_of)
        SELECT customer_id, risk, $4::text, $5::int, $6::float8, above, $8::text, reasons, $9::date
        FROM judged ORDER BY customer_id
        ON CONFLICT (customer_id) DO UPDATE SET
            risk = EXCLUDED.risk, kind = EXCLUDED.kind, horizon_days = EXCLUDED.horizon_days,
            threshold = EXCLUDED.threshold, above = EXCLUDED.above, model = EXCLUDED.model,
            reasons = EXCLUDED.reasons, as_of = EXCLUDED.as_of
        WHERE (r.*) IS DISTINCT FROM (EXCLUDED.*)
        RETURNING r.customer_id
    ), emitted AS (
        SELECT outbox_emit('churn.risk_raised', j.customer_id, jsonb_build_object(
            'customer_id', j.customer_id, 'model_version', $8::text, 'risk', j.risk,
            'threshold', $6::float8, 'reasons', to_jsonb(j.reasons),
            'as_of', to_char($9::date, 'YYYY-MM-DD"T00:00:00Z"'))) AS id
        FROM judged j JOIN written w USING (customer_id) WHERE j.above AND NOT j.was
    ), marked AS (
        INSERT INTO section_marks (customer_id) SELECT customer_id FROM written
    )
    SELECT count(emitted.id) AS raised FROM emitted
"""
_FORGET = """
    WITH gone AS (DELETE FROM churn_risks WHERE customer_id = ANY ($1) RETURNING customer_id)
    INSERT INTO section_marks (customer_id) SELECT customer_id FROM gone
"""
# Served by the index churn_risks_highest.
_AT_RISK = """
    SELECT customer_id, risk, kind, horizon_days, threshold, above, model, reasons, as_of FROM churn_risks
    WHERE risk >= $1 AND ($2::float8 IS NULL OR risk < $2 OR (risk = $2 AND customer_id > $3))
    ORDER BY risk DESC, customer_id LIMIT $4
"""
# One change at a time is written, so that versions have no gaps and one model serves.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('scoring.churn_models'))"
_ADD = """
    INSERT INTO churn_models (version, kind, label, positive, classifier, threshold, report, customers,
                              data_hash, as_of, promotion, serving)
    SELECT coalesce(max(version), 0) + 1, $1, $2, $3, $4::text::jsonb, $5, $6::text::jsonb, $7, $8, $9, $10,
           $11
    FROM churn_models RETURNING version
"""
_RETIRE = "UPDATE churn_models SET serving = false WHERE serving"
_SERVE = "UPDATE churn_models SET serving = true, promotion = 'promoted by hand' WHERE version = $1"
_MODELS = """
    SELECT id, kind || '/' || version AS name, version, kind, serving, label, positive, threshold, promotion,
           customers, data_hash, as_of, report::text AS report, created_at
    FROM churn_models
    WHERE ($1::int IS NULL OR version = $1) AND ($2::int IS NULL OR version < $2)
    ORDER BY version DESC LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class Pass:
    """What risks stand on, how far a pass over all has come, and whether all were scored since."""

    basis: str
    after: UUID | None
    walked: bool


@dataclass(frozen=True, slots=True)
class Line:
    """Where a risk is high: from `threshold` on, until below `rearm` again. None: nowhere."""

    threshold: float | None
    rearm: float


@dataclass(frozen=True, slots=True)
class Served:
    """The classifier that serves, as JSON text."""

    name: str
    label: str
    positive: str | None
    threshold: float | None
    classifier: str
    skill: float


@dataclass(frozen=True, slots=True)
class Version:
    """A classifier to keep; `classifier` and `report` are JSON text."""

    kind: str
    label: str
    positive: str | None
    classifier: str
    threshold: float | None
    report: str
    customers: int
    data_hash: str
    as_of: date
    promotion: str
    serving: bool


async def read_rows(
    connection: asyncpg.Connection, customer_ids: Sequence[UUID], observed: date
) -> list[str]:
    """What is known of these customers as JSON objects, in the order of their ids."""
    return [row["said"] for row in await connection.fetch(_ROWS, customer_ids, observed)]


async def labelled(connection: asyncpg.Connection, label: str, limit: int) -> list[UUID]:
    """Customers who have the attribute."""
    return [row["customer_id"] for row in await connection.fetch(_LABELLED, label, limit)]


async def read_pass(connection: asyncpg.Connection) -> Pass:
    """How the pass over all customers stands."""
    row = await connection.fetchrow(_STATE)
    return Pass(row["basis"], row["after"], row["walked"])


async def begin_pass(connection: asyncpg.Connection, basis: str) -> None:
    """A pass over all begins."""
    await connection.execute(
        "UPDATE churn_pass SET basis = $1, after = $2, pass_at = clock_timestamp()", basis, due.BEFORE_ALL
    )


async def next_customers(connection: asyncpg.Connection, after: UUID, limit: int) -> list[UUID]:
    """The next of a pass over all, in the order of their ids; the pass has come to the last of them."""
    ids = await due.next_customers(connection, after, limit)
    await connection.execute("UPDATE churn_pass SET after = $1", ids[-1] if ids else None)
    return ids


async def write(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    risks: Sequence[float],
    reasons: Sequence[Sequence[str]],
    *,
    kind: str,
    horizon_days: int | None,
    line: Line,
    model: str,
    observed: date,
) -> int:
    """Write the risks that changed and tell who has come above the line; returns how many have."""
    raised: int = await connection.fetchval(
        _WRITE,
        customer_ids,
        risks,
        [orjson.dumps(some).decode() for some in reasons],
        kind,
        horizon_days,
        line.threshold,
        line.rearm,
        model,
        observed,
    )
    return raised


async def forget(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> None:
    """Nothing is known of these customers' risk (any more)."""
    if customer_ids:
        await connection.execute(_FORGET, customer_ids)


async def at_risk(
    connection: asyncpg.Connection, min_risk: float, after: tuple[float, UUID] | None, limit: int
) -> list[dict[str, Any]]:
    """Customers by risk, highest first, from after a risk and customer on."""
    risk, customer_id = after or (None, None)
    return [dict(row) for row in await connection.fetch(_AT_RISK, min_risk, risk, customer_id, limit)]


async def read_served(connection: asyncpg.Connection) -> Served | None:
    """The classifier that serves, None when the model of purchases does."""
    row = await connection.fetchrow(
        """SELECT kind || '/' || version AS name, label, positive, threshold, classifier::text AS classifier,
                  (report ->> 'skill')::float8 AS skill
           FROM churn_models WHERE serving"""
    )
    return Served(*row) if row else None


async def hold_models(connection: asyncpg.Connection) -> None:
    """Keep others from changing the classifiers until the transaction ends."""
    await connection.execute(_LOCK)


async def add_version(connection: asyncpg.Connection, version: Version) -> int:
    """Keep a classifier as the next version, serving or not; returns the version. Wants `hold_models`."""
    if version.serving:
        await connection.execute(_RETIRE)
    number: int = await connection.fetchval(
        _ADD,
        version.kind,
        version.label,
        version.positive,
        version.classifier,
        version.threshold,
        version.report,
        version.customers,
        version.data_hash,
        version.as_of,
        version.promotion,
        version.serving,
    )
    return number


async def serve(connection: asyncpg.Connection, version: int | None) -> bool:
    """Let this version serve, or none; returns whether there is such a version. Wants `hold_models`."""
    if version is not None and await read_model(connection, version) is None:
        return False
    await connection.execute(_RETIRE)
    if version is not None:
        await connection.execute(_SERVE, version)
    return True


async def read_model(connection: asyncpg.Connection, version: int) -> dict[str, Any] | None:
    """One version without its numbers."""
    row = await connection.fetchrow(_MODELS, version, None, 1)
    return _shown(row) if row else None


async def list_models(connection: asyncpg.Connection, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Versions without their numbers, newest first."""
    return [_shown(row) for row in await connection.fetch(_MODELS, None, before, limit)]


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    return dict(row) | {"report": orjson.loads(row["report"])}
