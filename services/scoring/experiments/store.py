"""SQL of experiments and exposures: designs, who was exposed to what, and whose exposures they are now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.scoring.experiments.rules import Status

_READ = """
    SELECT id, version, status, design::text AS design, size::text AS size, created_at, started_at, ends_at,
           stopped_at, uplift::text AS uplift
    FROM experiments
"""
_INSERT = """
    INSERT INTO experiments (id, design, size, ends_at)
    VALUES ($1, $2::text::jsonb, $3::text::jsonb, $4)
    RETURNING id, version, status, design::text AS design, size::text AS size, created_at, started_at,
              ends_at, stopped_at, uplift::text AS uplift
"""
_CHANGE = """
    UPDATE experiments
    SET version = version + 1, design = $3::text::jsonb, size = $4::text::jsonb, ends_at = $5
    WHERE id = $1 AND version = $2 AND status = 'draft'
"""
_START = """
    UPDATE experiments SET version = version + 1, status = 'running', started_at = $2, begun_at = $3
    WHERE id = $1 AND status = 'draft'
"""
_STOP = """
    UPDATE experiments SET version = version + 1, status = 'stopped', stopped_at = $2
    WHERE id = $1 AND status = 'running' RETURNING id
"""
# Of one that was over when it was let run the exposures are yet to be told: who tells them stops it.
_ENDED = """
    SELECT id FROM experiments WHERE status = 'running' AND ends_at <= $1 AND ends_at > begun_at
    ORDER BY ends_at LIMIT 1
"""

# The earliest exposure of each customer asked for, whoever they are now. By exposures_customer.
_EXPOSED = """
    SELECT DISTINCT ON (asked.id) asked.id, e.arm, e.exposed_at
    FROM unnest($2::uuid[]) AS asked (id) LEFT JOIN owners o ON o.customer_id = asked.id
    JOIN exposures e ON e.customer_id = coalesce(o.owner, asked.id) AND e.experiment_id = $1
    ORDER BY asked.id, e.exposed_at, coalesce(e.told_of, e.customer_id)
"""
_AUDIENCE = """
    SELECT asked.id, $2::text IS NULL OR s.segment IS NOT DISTINCT FROM $2 AS chosen
    FROM unnest($1::uuid[]) AS asked (id) LEFT JOIN owners o ON o.customer_id = asked.id
    JOIN customer_facts f ON f.customer_id = coalesce(o.owner, asked.id)
    LEFT JOIN customer_scores s ON s.customer_id = f.customer_id
"""
# A first exposure stays; when an earlier one to the same arm comes to be known, it is the first.
_EXPOSE = """
    INSERT INTO exposures AS e (experiment_id, customer_id, told_of, arm, exposed_at)
    SELECT $1, coalesce(o.owner, told.id), nullif(told.id, coalesce(o.owner, told.id)), told.arm, told.at
    FROM unnest($2::uuid[], $3::smallint[], $4::timestamptz[]) AS told (id, arm, at)
    LEFT JOIN owners o ON o.customer_id = told.id
    ORDER BY told.id
    ON CONFLICT (experiment_id, coalesce(told_of, customer_id)) DO UPDATE SET exposed_at = EXCLUDED.exposed_at
    WHERE e.arm = EXCLUDED.arm AND EXCLUDED.exposed_at < e.exposed_at
"""
_MEASURED = """
    INSERT INTO measured_uplifts (action, metric, experiment_id, uplift, low, high, customers, measured_at)
    SELECT t.action, t.metric, $1, t.uplift, t.low, t.high, t.customers, $2
    FROM unnest($3::text[], $4::text[], $5::float8[], $6::float8[], $7::float8[], $8::int[])
        AS t (action, metric, uplift, low, high, customers)
    ON CONFLICT DO NOTHING
"""
_NEWEST_MEASURED = """
    SELECT action, metric, experiment_id, uplift, low, high, customers, measured_at FROM measured_uplifts
    WHERE action = $1 AND metric = $2 ORDER BY measured_at DESC, experiment_id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """An experiment as stored; `design`, `size` and `uplift` are JSON text."""

    id: UUID
    version: int
    status: Status
    design: str
    size: str | None
    created_at: datetime
    started_at: datetime | None
    ends_at: datetime | None
    stopped_at: datetime | None
    uplift: str | None


@dataclass(frozen=True, slots=True)
class Exposure:
    """A customer's first exposure: the arm counted from 0, and when."""

    arm: int
    exposed_at: datetime


@dataclass(frozen=True, slots=True)
class Measured:
    """What a finished experiment measured of an action: uplift and interval in the metric's unit."""

    action: str
    metric: str
    experiment_id: UUID
    uplift: float
    low: float
    high: float
    customers: int
    measured_at: datetime


async def add(
    connection: asyncpg.Connection,
    experiment_id: UUID,
    design: str,
    size: str | None,
    ends_at: datetime | None,
) -> Stored:
    """Keep a new draft."""
    return Stored(**await connection.fetchrow(_INSERT, experiment_id, design, size, ends_at))


async def read(connection: asyncpg.Connection, experiment_id: UUID, *, lock: bool = False) -> Stored | None:
    """One experiment, held until the transaction ends when `lock`."""
    query = _READ + " WHERE id = $1" + (" FOR UPDATE" if lock else "")
    row = await connection.fetchrow(query, experiment_id)
    return Stored(**row) if row else None


async def page(connection: asyncpg.Connection, before: UUID | None, limit: int) -> list[Stored]:
    """The newest experiments first; their ids are in the order they were made."""
    query = _READ + " WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"
    return [Stored(**row) for row in await connection.fetch(query, before, limit)]


async def change(
    connection: asyncpg.Connection, before: Stored, design: str, size: str | None, ends_at: datetime | None
) -> None:
    """Change a draft as it was read."""
    await connection.execute(_CHANGE, before.id, before.version, design, size, ends_at)


async def start(connection: asyncpg.Connection, experiment_id: UUID, at: datetime, now: datetime) -> None:
    """A draft runs, with a time that began at `at`."""
    await connection.execute(_START, experiment_id, at, now)


async def stop(connection: asyncpg.Connection, experiment_id: UUID, at: datetime) -> bool:
    """It runs no more; returns whether it ran."""
    return await connection.fetchval(_STOP, experiment_id, at) is not None


async def ended(connection: asyncpg.Connection, now: datetime) -> UUID | None:
    """A running experiment whose time came to its end while it ran."""
    found: UUID | None = await connection.fetchval(_ENDED, now)
    return found


async def keep_uplift(connection: asyncpg.Connection, experiment_id: UUID, uplift: str) -> None:
    """Keep what uplift models said, as JSON text."""
    await connection.execute(
        "UPDATE experiments SET uplift = $2::text::jsonb WHERE id = $1", experiment_id, uplift
    )


async def exposed(
    connection: asyncpg.Connection, experiment_id: UUID, customer_ids: Sequence[UUID]
) -> dict[UUID, Exposure]:
    """First exposures of those of these customers who have one."""
    rows = await connection.fetch(_EXPOSED, experiment_id, customer_ids)
    return {row["id"]: Exposure(row["arm"], row["exposed_at"]) for row in rows}


async def audience(
    connection: asyncpg.Connection, customer_ids: Sequence[UUID], segment: str | None
) -> dict[UUID, bool]:
    """Of these customers those who are known, and whether they are of the segment."""
    rows = await connection.fetch(_AUDIENCE, customer_ids, segment)
    return {row["id"]: row["chosen"] for row in rows}


async def expose(
    connection: asyncpg.Connection, experiment_id: UUID, exposures: dict[UUID, Exposure]
) -> None:
    """Write exposures; the first one of a customer stays."""
    await connection.execute(
        _EXPOSE,
        experiment_id,
        list(exposures),
        [exposure.arm for exposure in exposures.values()],
        [exposure.exposed_at for exposure in exposures.values()],
    )


async def keep_measured(
    connection: asyncpg.Connection, experiment_id: UUID, measured: Sequence[Measured]
) -> None:
    """Keep what an experiment measured of actions."""
    if measured:
        await connection.execute(
            _MEASURED,
            experiment_id,
            measured[0].measured_at,
            [one.action for one in measured],
            [one.metric for one in measured],
            [one.uplift for one in measured],
            [one.low for one in measured],
            [one.high for one in measured],
            [one.customers for one in measured],
        )


async def measured_uplift(
    connection: asyncpg.Connection, action: str, metric: str = "conversion"
) -> Measured | None:
    """What the newest finished experiment measured of an action; None when there is none."""
    row: Any = await connection.fetchrow(_NEWEST_MEASURED, action, metric)
    return Measured(**row) if row else None
