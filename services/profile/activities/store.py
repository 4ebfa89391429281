"""All SQL of activities. Set-based: one statement for one activity or a thousand."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

Key = tuple[str, str]

# Index: activities_source_source_id_key.
_FIND = """
    SELECT id, source, source_id FROM activities
    WHERE (source, source_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""

# In the order of the key, so that two batches that meet wait for each other and never deadlock.
_RECORD = """
    INSERT INTO activities (id, customer_id, source, source_id, kind, touchpoint, channel, stage, details,
                            occurred_at, recorded_at)
    SELECT new.*, $2::timestamptz
    FROM json_to_recordset($1::text::json)
         AS new (id uuid, customer_id uuid, source text, source_id text, kind text, touchpoint text,
                 channel text, stage text, details jsonb, occurred_at timestamptz)
    ORDER BY new.source COLLATE "C", new.source_id COLLATE "C"
    ON CONFLICT (source, source_id) DO NOTHING
    RETURNING id
"""

# Index: activities_customer.
_OF_CUSTOMER = """
    SELECT id, occurred_at, document FROM activity_documents
    WHERE customer_id = $1 AND (occurred_at, id) < (coalesce($2::timestamptz, 'infinity'), $3::uuid)
    ORDER BY occurred_at DESC, id DESC LIMIT $4
"""

LAST_ID = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Row:
    """An activity to be recorded."""

    id: UUID
    customer_id: UUID
    source: str
    source_id: str | None
    kind: str
    touchpoint: str | None
    channel: str | None
    stage: str | None
    details: dict[str, Any]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """An activity in a list: its place, and its JSON text."""

    place: tuple[datetime, UUID]
    json: str


async def find(connection: asyncpg.Connection, keys: Collection[Key]) -> dict[Key, UUID]:
    """The ids of those of the activities that are recorded."""
    rows = await connection.fetch(_FIND, [source for source, _ in keys], [own for _, own in keys])
    return {(row["source"], row["source_id"]): row["id"] for row in rows}


async def record(connection: asyncpg.Connection, rows: Sequence[Row], now: datetime) -> set[UUID]:
    """Record activities; returns the ids of those that were new."""
    kept = await connection.fetch(_RECORD, _json(rows), now)
    return {row["id"] for row in kept}


async def document(connection: asyncpg.Connection | asyncpg.Pool, activity_id: UUID) -> str | None:
    """One activity as JSON text."""
    text: str | None = await connection.fetchval(
        "SELECT document FROM activity_documents WHERE id = $1", activity_id
    )
    return text


async def of_customer(
    pool: asyncpg.Pool, customer_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Listed]:
    """A customer's activities, the latest first."""
    moment, activity_id = before or (None, LAST_ID)
    rows = await pool.fetch(_OF_CUSTOMER, customer_id, moment, activity_id, limit)
    return [Listed((row["occurred_at"], row["id"]), row["document"]) for row in rows]


def _json(rows: Sequence[Row]) -> str:
    return orjson.dumps(rows, default=str).decode()  # asyncpg's UUIDs are not quite the standard library's
