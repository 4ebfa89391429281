"""Walks over all customers: asked for here, done a chunk at a time in the background."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg

WalkKind = Literal["rescore", "rebuild"]

# A walk of the same kind that has not begun will see everything this one would; one whose first chunk is
# being done is locked, and no longer such a one.
_ASK = """
    WITH waiting AS (
        SELECT id FROM walks WHERE finished_at IS NULL AND kind = $1 AND customers = 0
        ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
    ), added AS (
        INSERT INTO walks (kind, reason) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM waiting) RETURNING id
    )
    SELECT id FROM waiting UNION ALL SELECT id FROM added
"""
_CLAIM = """
    SELECT id, kind, reason, after, customers, changed FROM walks
    WHERE finished_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE
"""
_ADVANCE = """
    UPDATE walks SET after = coalesce($2, after), customers = customers + $3, changed = changed + $4,
           finished_at = CASE WHEN $2::uuid IS NULL THEN now() END
    WHERE id = $1
"""
_SHOW = """
    SELECT id, kind, reason, customers, changed, created_at, finished_at,
           (SELECT count(*) FROM customer_facts) AS total
    FROM walks WHERE id = $1 AND kind = $2
"""


@dataclass(frozen=True, slots=True)
class Walk:
    """How far a walk has come: `after` is the last customer done."""

    id: UUID
    kind: WalkKind
    reason: str
    after: UUID


@dataclass(frozen=True, slots=True)
class Progress:
    """What a walk has done so far."""

    id: UUID
    reason: str
    customers: int
    changed: int
    total: int
    created_at: datetime
    finished_at: datetime | None


async def ask(connection: asyncpg.Connection, kind: WalkKind, reason: str) -> UUID:
    """Have all customers visited soon; returns the walk's id."""
    walk_id: UUID = await connection.fetchval(_ASK, kind, reason)
    return walk_id


async def claim(connection: asyncpg.Connection) -> Walk | None:
    """The oldest walk that is not finished, held until the transaction ends."""
    row = await connection.fetchrow(_CLAIM)
    return Walk(row["id"], row["kind"], row["reason"], row["after"]) if row else None


async def advance(
    connection: asyncpg.Connection, walk: Walk, customer_ids: Sequence[UUID], changed: int
) -> None:
    """Note that these customers are done; none means that the walk is finished."""
    last = customer_ids[-1] if customer_ids else None
    await connection.execute(_ADVANCE, walk.id, last, len(customer_ids), changed)


async def show(connection: asyncpg.Connection, walk_id: UUID, kind: WalkKind) -> Progress | None:
    """How far a walk has come."""
    row = await connection.fetchrow(_SHOW, walk_id, kind)
    if row is None:
        return None
    return Progress(
        row["id"],
        row["reason"],
        row["customers"],
        row["changed"],
        row["total"],
        row["created_at"],
        row["finished_at"],
    )
