"""SQL of the clusters: features of buyers, fitted models, and who is in which cluster and RFM segment."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import orjson

from services.scoring.facts.columns import fetch_columns
from services.scoring.segments.clustering import FEATURES, Buyers, Clusters
from services.scoring.segments.fitting import Fitted, clusters_of, said_of

_FEATURES = """
    greatest($1::date - last_on, 0)::float8, days::float8, complaints::float8,
    coalesce(spend::float8 / nullif(currency_days, 0), 0)
"""
# A sample for fitting: ids are random enough in their last bytes, and the same ones come each time.
_SAMPLE = f"""
    SELECT {_FEATURES}, coalesce(array_position($2::text[], currency), 0)::float8
    FROM customer_facts WHERE days > 0 ORDER BY md5(customer_id::text) LIMIT $3
"""  # noqa: S608
_BUYERS = f"""
    SELECT customer_id, currency, {_FEATURES}
    FROM customer_facts WHERE customer_id = ANY ($2) AND days > 0
"""  # noqa: S608
_CURRENCIES = "SELECT DISTINCT currency FROM customer_facts WHERE currency IS NOT NULL ORDER BY 1"
_LATEST = """
    SELECT version, model::text AS model, quality::text AS quality, customers, next_label, as_of, created_at
    FROM cluster_models ORDER BY version DESC LIMIT 1
"""
_ADD = """
    INSERT INTO cluster_models (version, model, quality, customers, next_label, data_hash, as_of)
    VALUES ($1, $2::text::jsonb, $3::text::jsonb, $4, $5, $6, $7)
"""
# Who came into another RFM segment or cluster is told of each; the section shows the cluster only (the RFM
# segment is marked with the scores).
_WRITE = """
    WITH told AS (
        SELECT t.customer_id, s.segment AS rfm, t.cluster, t.profile::jsonb AS profile
        FROM unnest($1::uuid[], $2::text[], $3::text[]) AS t (customer_id, cluster, profile)
        LEFT JOIN customer_scores s ON s.customer_id = t.customer_id
    ), before AS (
        SELECT c.* FROM customer_segments c WHERE c.customer_id = ANY ($1)
    ), written AS (
        INSERT INTO customer_segments AS c (customer_id, rfm, cluster, profile)
        SELECT customer_id, rfm, cluster, profile FROM told ORDER BY 1
        ON CONFLICT (customer_id) DO UPDATE SET
            rfm = EXCLUDED.rfm, cluster = EXCLUDED.cluster, profile = EXCLUDED.profile
        WHERE (c.rfm, c.cluster, c.profile)
              IS DISTINCT FROM (EXCLUDED.rfm, EXCLUDED.cluster, EXCLUDED.profile)
        RETURNING c.*
    ), emitted AS (
        SELECT outbox_emit('segment.changed', w.customer_id, jsonb_build_object(
            'customer_id', w.customer_id, 'kind', k.kind,
            'entered', to_jsonb(array_remove(ARRAY[k.now], NULL)),
            'left', to_jsonb(array_remove(ARRAY[k.was], NULL)),
            'as_of', to_char($4::date, 'YYYY-MM-DD"T00:00:00Z"'))) AS id
        FROM written w LEFT JOIN before b USING (customer_id)
        CROSS JOIN LATERAL (
            VALUES ('rfm', b.rfm, w.rfm), ('cluster', b.cluster, w.cluster)) AS k (kind, was, now)
        WHERE k.was IS DISTINCT FROM k.now
    ), marked AS (
        INSERT INTO section_marks (customer_id)
        SELECT w.customer_id FROM written w LEFT JOIN before b USING (customer_id)
        WHERE (w.cluster, w.profile) IS DISTINCT FROM (b.cluster, b.profile)
    )
    SELECT count(emitted.id) FROM emitted
"""
_SIZES = """
    SELECT cluster, count(*) AS customers FROM customer_segments WHERE cluster IS NOT NULL GROUP BY cluster
"""


@dataclass(frozen=True, slots=True)
class ClusterModel:
    """A version of the clusters; `quality` says how their number was chosen."""

    version: int
    clusters: Clusters
    quality: dict[str, Any]
    customers: int
    next_label: int
    as_of: date
    created_at: datetime


async def latest(connection: asyncpg.Connection) -> ClusterModel | None:
    """The clusters that serve; None before the first fit."""
    row = await connection.fetchrow(_LATEST)
    if row is None:
        return None
    return ClusterModel(
        row["version"],
        clusters_of(orjson.loads(row["model"])),
        orjson.loads(row["quality"]),
        row["customers"],
        row["next_label"],
        row["as_of"],
        row["created_at"],
    )


async def add(
    connection: asyncpg.Connection, version: int, fitted: Fitted, customers: int, observed: date
) -> None:
    """Keep clusters as this version; they serve from now on."""
    quality = {"choices": [asdict(choice) for choice in fitted.choices], "why": fitted.why}
    await connection.execute(
        _ADD,
        version,
        orjson.dumps(said_of(fitted.clusters)).decode(),
        orjson.dumps(quality).decode(),
        customers,
        fitted.next_label,
        fitted.data_hash,
        observed,
    )


async def sample(
    connection: asyncpg.Connection, observed: date, limit: int
) -> tuple[Buyers, tuple[str, ...]]:
    """Buyers that stand for all, and the currencies that they pay in."""
    currencies = [row["currency"] for row in await connection.fetch(_CURRENCIES)]
    columns = await fetch_columns(connection, _SAMPLE, observed, currencies, limit, count=len(FEATURES) + 1)
    *features, currency = columns
    return Buyers(np.column_stack(features), currency.astype(np.int64) - 1), tuple(currencies)


async def buyers(
    connection: asyncpg.Connection, customer_ids: Sequence[UUID], observed: date
) -> tuple[list[UUID], Buyers, list[str]]:
    """Those of these customers who have bought, with their features."""
    rows = await connection.fetch(_BUYERS, observed, customer_ids)
    currencies = sorted({row["currency"] or "" for row in rows})
    places = {name: place for place, name in enumerate(currencies)}
    features = np.array([tuple(row)[2:] for row in rows], dtype=np.float64).reshape(len(rows), len(FEATURES))
    currency = np.array([places[row["currency"] or ""] for row in rows], dtype=np.int64)
    return [row["customer_id"] for row in rows], Buyers(features, currency), currencies


async def write(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    clusters: Sequence[str | None],
    profiles: Sequence[str | None],
    observed: date,
) -> None:
    """Note these customers' clusters, with profiles as JSON text, and RFM segments; tell of what changed."""
    await connection.fetchval(_WRITE, customer_ids, clusters, profiles, observed)


async def sizes(connection: asyncpg.Connection) -> dict[str, int]:
    """Customers by cluster."""
    return {row["cluster"]: row["customers"] for row in await connection.fetch(_SIZES)}
