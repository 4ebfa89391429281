"""All SQL of purchases and refunds. Set-based: one statement for one purchase or a thousand."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

Key = tuple[str, str]

# Index: purchases_source_source_id_key.
_FIND = """
    SELECT id, source, source_id, currency, amount FROM purchases
    WHERE (source, source_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""

# Rows are inserted in the order of their key and sums are locked in the order of theirs, so that two batches
# that meet wait for each other and never deadlock.
_RECORD = """
    WITH recorded AS (
        INSERT INTO purchases (id, customer_id, source, source_id, currency, amount, lines, touchpoint,
                               channel, occurred_at, recorded_at)
        SELECT new.*, $2::timestamptz
        FROM json_to_recordset($1::text::json)
             AS new (id uuid, customer_id uuid, source text, source_id text, currency text, amount bigint,
                     lines jsonb, touchpoint text, channel text, occurred_at timestamptz)
        ORDER BY new.source COLLATE "C", new.source_id COLLATE "C"
        ON CONFLICT (source, source_id) DO NOTHING
        RETURNING id, customer_id, currency, amount, occurred_at),
    summed AS (
        INSERT INTO purchase_totals AS total (customer_id, currency, purchases, amount, first_at, last_at)
        SELECT customer_id, currency COLLATE "C", count(*), sum(amount)::bigint,
               min(occurred_at), max(occurred_at)
        FROM recorded GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (customer_id, currency) DO UPDATE SET
            purchases = total.purchases + excluded.purchases,
            amount = total.amount + excluded.amount,
            first_at = least(total.first_at, excluded.first_at),
            last_at = greatest(total.last_at, excluded.last_at))
    SELECT id FROM recorded
"""

# Index: purchases_customer.
_OF_CUSTOMER = """
    SELECT id, occurred_at, document FROM purchase_documents
    WHERE customer_id = $1 AND (occurred_at, id) < (coalesce($2::timestamptz, 'infinity'), $3::uuid)
    ORDER BY occurred_at DESC, id DESC LIMIT $4
"""

_GIVE_BACK = """
    WITH refund AS (
        INSERT INTO refunds (id, purchase_id, source, source_id, amount, reason, occurred_at, recorded_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, now()) ON CONFLICT (source, source_id) DO NOTHING
        RETURNING purchase_id, amount),
    purchase AS (
        UPDATE purchases SET refunded = purchases.refunded + refund.amount FROM refund
        WHERE purchases.id = refund.purchase_id RETURNING customer_id, currency, refund.amount),
    summed AS (
        UPDATE purchase_totals AS total SET refunded = total.refunded + purchase.amount FROM purchase
        WHERE total.customer_id = purchase.customer_id AND total.currency = purchase.currency)
    SELECT true FROM refund
"""

LAST_ID = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Row:
    """A purchase to be recorded."""

    id: UUID
    customer_id: UUID
    source: str
    source_id: str
    currency: str
    amount: int
    lines: list[dict[str, Any]]
    touchpoint: str | None
    channel: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a recorded purchase: enough to tell a repeat from a contradiction."""

    id: UUID
    currency: str
    amount: int


@dataclass(frozen=True, slots=True)
class Locked:
    """A purchase that nobody else can give back from until the transaction ends."""

    customer_id: UUID
    source: str
    currency: str
    amount: int
    refunded: int
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Refund:
    """A recorded refund."""

    id: UUID
    purchase_id: UUID
    source: str
    source_id: str | None
    amount: int
    reason: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """A purchase in a list: its place, and its JSON text."""

    place: tuple[datetime, UUID]
    json: str


async def find(connection: asyncpg.Connection, keys: Collection[Key]) -> dict[Key, Known]:
    """Those of the purchases that are recorded."""
    rows = await connection.fetch(_FIND, [source for source, _ in keys], [own for _, own in keys])
    return {(r["source"], r["source_id"]): Known(r["id"], r["currency"], r["amount"]) for r in rows}


async def record(connection: asyncpg.Connection, rows: Sequence[Row], now: datetime) -> set[UUID]:
    """Record purchases and add them to their customers' sums; returns the ids of those that were new."""
    kept = await connection.fetch(_RECORD, _json(rows), now)
    return {row["id"] for row in kept}


async def document(connection: asyncpg.Connection | asyncpg.Pool, purchase_id: UUID) -> str | None:
    """One purchase as JSON text."""
    text: str | None = await connection.fetchval(
        "SELECT document FROM purchase_documents WHERE id = $1", purchase_id
    )
    return text


async def of_customer(
    pool: asyncpg.Pool, customer_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Listed]:
    """A customer's purchases, the latest first."""
    moment, purchase_id = before or (None, LAST_ID)
    rows = await pool.fetch(_OF_CUSTOMER, customer_id, moment, purchase_id, limit)
    return [Listed((row["occurred_at"], row["id"]), row["document"]) for row in rows]


async def lock(connection: asyncpg.Connection, purchase_id: UUID) -> Locked | None:
    """Lock a purchase until the transaction ends."""
    row = await connection.fetchrow(
        """SELECT customer_id, source, currency, amount, refunded, occurred_at FROM purchases
           WHERE id = $1 FOR NO KEY UPDATE""",
        purchase_id,
    )
    return Locked(**row) if row else None


async def find_refund(connection: asyncpg.Connection, key: Key) -> Refund | None:
    """The refund that the source calls so."""
    row = await connection.fetchrow(
        """SELECT id, purchase_id, source, source_id, amount, reason, occurred_at FROM refunds
           WHERE (source, source_id) = ($1, $2)""",
        *key,
    )
    return Refund(**row) if row else None


async def give_back(connection: asyncpg.Connection, refund: Refund) -> bool:
    """Record a refund of a locked purchase; False when the source used this source_id before."""
    recorded = await connection.fetchval(
        _GIVE_BACK,
        refund.id,
        refund.purchase_id,
        refund.source,
        refund.source_id,
        refund.amount,
        refund.reason,
        refund.occurred_at,
    )
    return recorded is not None


def _json(rows: Sequence[Row]) -> str:
    return orjson.dumps(rows, default=str).decode()  # asyncpg's UUIDs are not quite the standard library's
