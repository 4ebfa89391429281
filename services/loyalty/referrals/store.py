"""All SQL of referrals."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.loyalty.ledger.store import Connection
from services.loyalty.referrals.rules import Known

MAX_DEPTH = 50  # how far a ring is looked for

# The first code of a customer stays; a device is noted when it becomes known.
_MAKE_CODE = """
    INSERT INTO referral_codes AS kept (code, customer_id, device) VALUES ($1, $2, $3)
    ON CONFLICT (customer_id) DO UPDATE SET device = coalesce(kept.device, excluded.device)
    RETURNING code
"""
_OWNER = "SELECT customer_id FROM referral_codes WHERE code = $1"
# Indexes: referrals_referee_id_key, referrals_device, referral_codes_device, deeds_of_member.
_KNOWN = """
    WITH RECURSIVE up AS (
        SELECT referrer_id, 1 AS depth FROM referrals WHERE referee_id = $1 AND status <> 'void'
        UNION
        SELECT r.referrer_id, up.depth + 1 FROM up JOIN referrals AS r ON r.referee_id = up.referrer_id
         WHERE r.status <> 'void' AND up.depth < $4
    )
    SELECT array(SELECT referrer_id FROM up) AS ancestors,
           EXISTS (SELECT FROM referrals WHERE referee_id = $2) AS referred,
           EXISTS (SELECT FROM referrals WHERE device = $3)
               OR EXISTS (SELECT FROM referral_codes WHERE device = $3 AND customer_id <> $2) AS device_used,
           (SELECT min(occurred_at) FROM deeds WHERE customer_id = $2 AND kind = 'purchase') AS bought_at
"""
# One after the other, so that two who bring each other, or share a device, see one another.
_LOCK = "SELECT pg_advisory_xact_lock(364)"
_JOIN = """
    INSERT INTO referrals (code, referrer_id, referee_id, device, joined_at) VALUES ($1, $2, $3, $4, $5)
    RETURNING *
"""
_LIST = "SELECT * FROM referrals WHERE referrer_id = $1 AND id > $2 ORDER BY id LIMIT $3"
# Index: referrals_open; for each the friend's first purchase (deeds_of_member) and what came back of it.
_OPEN = """
    SELECT r.id, r.referrer_id, r.referee_id, r.joined_at, first.id AS purchase_id,
           first.occurred_at AS bought_at, first.amount, first.currency,
           (SELECT coalesce(sum(back.amount), 0)::bigint FROM refunds AS back
             WHERE back.customer_id = r.referee_id AND back.purchase_id = first.id) AS back
      FROM referrals AS r
      LEFT JOIN LATERAL (
          SELECT id, occurred_at, amount, currency FROM deeds
           WHERE customer_id = r.referee_id AND kind = 'purchase'
           ORDER BY occurred_at, id LIMIT 1) AS first ON true
     WHERE r.status = 'joined' AND (first.occurred_at <= $1 OR first.id IS NULL AND r.joined_at < $2)
     ORDER BY r.id LIMIT $3
"""
_CLOSE = """
    UPDATE referrals SET (status, reason, purchase_id, completed_at, points)
         = (CASE WHEN $2::text IS NULL THEN 'completed' ELSE 'void' END, $2, $3, $4, $5)
     WHERE id = $1 AND status = 'joined' RETURNING id
"""
# Every place gets an id of its own, for customers are in these tables once.
_FORGET = """
    WITH codes AS (
        UPDATE referral_codes SET customer_id = uuid7(), device = NULL WHERE customer_id = ANY ($1::uuid[])
    )
    UPDATE referrals
       SET referrer_id = CASE WHEN referrer_id = ANY ($1::uuid[]) THEN uuid7() ELSE referrer_id END,
           referee_id = CASE WHEN referee_id = ANY ($1::uuid[]) THEN uuid7() ELSE referee_id END,
           device = CASE WHEN referee_id = ANY ($1::uuid[]) THEN NULL ELSE device END,
           (status, reason) = ROW(CASE WHEN status = 'joined' THEN 'void' ELSE status END,
                               CASE WHEN status = 'joined' THEN 'erased' ELSE reason END)
     WHERE referrer_id = ANY ($1::uuid[]) OR referee_id = ANY ($1::uuid[])
"""
_POINTS = "SELECT coalesce(sum(points), 0)::bigint FROM deeds WHERE id = $1 AND kind = 'referral'"


async def make_code(connection: Connection, code: str, customer_id: UUID, device: bytes | None) -> str:
    """The customer's code: this one, or the one they have."""
    kept: str = await connection.fetchval(_MAKE_CODE, code, customer_id, device)
    return kept


async def owner(connection: Connection, code: str) -> UUID | None:
    """Whose code it is."""
    found: UUID | None = await connection.fetchval(_OWNER, code)
    return found


async def known(connection: asyncpg.Connection, referrer: UUID, referee: UUID, device: bytes | None) -> Known:
    """What decides whether the friend may join; no other may join until the transaction ends."""
    await connection.execute(_LOCK)
    row = await connection.fetchrow(_KNOWN, referrer, referee, device, MAX_DEPTH)
    return Known(referrer, set(row["ancestors"]), row["device_used"], row["referred"], row["bought_at"])


async def join(
    connection: asyncpg.Connection,
    code: str,
    known: Known,
    *,
    referee: UUID,
    device: bytes | None,
    at: datetime,
) -> asyncpg.Record:
    """Write that a friend joined."""
    return await connection.fetchrow(_JOIN, code, known.referrer, referee, device, at)


async def page(connection: Connection, referrer: UUID, after: UUID, limit: int) -> list[asyncpg.Record]:
    """The friends that a member brought, in the order in which they joined."""
    rows: list[asyncpg.Record] = await connection.fetch(_LIST, referrer, after, limit)
    return rows


async def ready(
    connection: asyncpg.Connection, bought_before: datetime, joined_before: datetime, limit: int
) -> list[asyncpg.Record]:
    """Referrals whose friend's first purchase is old enough, or who never bought."""
    rows: list[asyncpg.Record] = await connection.fetch(_OPEN, bought_before, joined_before, limit)
    return rows


async def close(connection: asyncpg.Connection, referral_id: UUID, *end: Any) -> bool:
    """End a referral: why it is void or None, the purchase, when, and the points; False when it has ended."""
    return await connection.fetchval(_CLOSE, referral_id, *end) is not None


async def points(connection: asyncpg.Connection, referral_id: UUID) -> int:
    """What the referrer got."""
    found: int = await connection.fetchval(_POINTS, referral_id)
    return found


async def forget(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> int:
    """Replace customers by random ids; an open referral comes to nothing. Returns how many it were."""
    return int((await connection.execute(_FORGET, list(customer_ids))).split()[-1])
