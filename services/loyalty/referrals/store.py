"""All SQL of referrals."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
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
# The code of who was erased is nobody's.
_OWNER = """
    SELECT customer_id FROM referral_codes AS c
     WHERE code = $1 AND EXISTS (SELECT FROM accounts WHERE kind = 'member' AND owner = c.customer_id)
"""
# $1: the referrer's survivor, $2: everybody who is one with the friend.
# Indexes: referrals_referee_id_key, referrals_device, referral_codes_device, deeds_of_member.
_KNOWN = """
    WITH RECURSIVE up AS (
        SELECT $1::uuid AS member, 0 AS depth
        UNION
        SELECT (SELECT survivor FROM survivors(ARRAY[r.referrer_id])), up.depth + 1
          FROM up CROSS JOIN LATERAL family(up.member) AS own (customer)
          JOIN referrals AS r ON r.referee_id = own.customer
         WHERE r.status <> 'void' AND up.depth < $4
    )
    SELECT array(SELECT member FROM up WHERE depth > 0) AS ancestors,
           EXISTS (SELECT FROM referrals WHERE referee_id = ANY ($2::uuid[])) AS referred,
           EXISTS (SELECT FROM referrals WHERE device = $3)
               OR EXISTS (SELECT FROM referral_codes WHERE device = $3 AND customer_id <> ALL ($2::uuid[]))
               AS device_used,
           (SELECT min(occurred_at) FROM deeds WHERE customer_id = ANY ($2::uuid[]) AND kind = 'purchase')
               AS bought_at
"""
# One after the other, so that two who bring each other, or share a device, see one another.
_LOCK = "SELECT pg_advisory_xact_lock(364)"
_JOIN = """
    INSERT INTO referrals (code, referrer_id, referee_id, device, joined_at) VALUES ($1, $2, $3, $4, $5)
    RETURNING *
"""
_LIST = "SELECT * FROM referrals WHERE referrer_id = ANY ($1::uuid[]) AND id > $2 ORDER BY id LIMIT $3"
# Those that are to be looked at, with the friend's first purchase (deeds_of_member) and what came back of it
# in the return period (refunds_of_customer). Index: referrals_due.
_DUE = """
    SELECT r.id, r.referrer_id, r.referee_id, r.joined_at, r.status, r.look_at,
           friend.survivor = (SELECT survivor FROM survivors(ARRAY[r.referrer_id])) AS alone,
           first.id AS purchase_id, first.occurred_at AS bought_at, first.amount, first.currency,
           (SELECT coalesce(sum(back.amount), 0)::bigint FROM refunds AS back
             WHERE back.customer_id IN (SELECT family(friend.survivor)) AND back.purchase_id = first.id
               AND back.occurred_at <= first.occurred_at + $2) AS back
      FROM (SELECT * FROM referrals WHERE look_at <= $1 ORDER BY look_at, id LIMIT $3) AS r
     CROSS JOIN LATERAL survivors(ARRAY[r.referee_id]) AS friend
      LEFT JOIN LATERAL (
          SELECT id, occurred_at, amount, currency FROM deeds
           WHERE customer_id = friend.survivor AND kind = 'purchase'
           ORDER BY occurred_at, id LIMIT 1) AS first ON true
     ORDER BY r.id
"""
# Where something became known since it was looked at, it stays due and is looked at once more.
_END = """
    UPDATE referrals SET (status, reason, purchase_id, completed_at, points, look_at)
         = ($3, $4, $5, $6, $7, NULL)
     WHERE id = $1 AND look_at = $2 RETURNING id
"""
_WAIT = """
    UPDATE referrals
       SET (status, reason, purchase_id, completed_at, points, look_at)
         = ('joined', NULL, NULL, NULL, NULL, $3)
     WHERE id = $1 AND look_at = $2
"""
# What happened after a referral had ended changes nothing of it. Index: referrals_referee_id_key.
_WAKE = """
    UPDATE referrals AS r SET look_at = clock_timestamp()
      FROM (SELECT known.id FROM unnest($1::uuid[], $2::timestamptz[]) AS heard (customer_id, at)
              JOIN referrals AS known ON known.referee_id = heard.customer_id
             WHERE (known.status = 'joined' OR heard.at <= known.completed_at)
               AND known.look_at IS DISTINCT FROM 'infinity'
             ORDER BY known.id FOR NO KEY UPDATE OF known) AS due
     WHERE r.id = due.id
"""
# Indexes: referrals_referee_id_key, referrals_of.
_WAKE_ALL = """
    UPDATE referrals AS r SET look_at = clock_timestamp()
      FROM (SELECT id FROM referrals
             WHERE (referee_id = ANY ($1::uuid[]) OR referrer_id = ANY ($1::uuid[]))
               AND look_at IS DISTINCT FROM 'infinity'
             ORDER BY id FOR NO KEY UPDATE) AS due
     WHERE r.id = due.id
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
                               CASE WHEN status = 'joined' THEN 'erased' ELSE reason END),
           look_at = 'infinity'
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


async def known(
    connection: asyncpg.Connection, referrer: UUID, referee: Sequence[UUID], device: bytes | None
) -> Known:
    """What decides whether the friend may join; no other may join until the transaction ends.

    Args:
        referrer: who has the points of the code's owner now.
        referee: everybody who is one with the friend.
    """
    await connection.execute(_LOCK)
    row = await connection.fetchrow(_KNOWN, referrer, list(referee), device, MAX_DEPTH)
    return Known(referrer, set(row["ancestors"]), row["device_used"], row["referred"], row["bought_at"])


async def join(
    connection: asyncpg.Connection,
    code: str,
    *,
    referrer: UUID,
    referee: UUID,
    device: bytes | None,
    at: datetime,
) -> asyncpg.Record:
    """Write that a friend joined."""
    return await connection.fetchrow(_JOIN, code, referrer, referee, device, at)


async def page(
    connection: Connection, referrers: Sequence[UUID], after: UUID, limit: int
) -> list[asyncpg.Record]:
    """The friends that members brought, in the order in which they joined."""
    rows: list[asyncpg.Record] = await connection.fetch(_LIST, list(referrers), after, limit)
    return rows


async def due(
    connection: asyncpg.Connection, now: datetime, return_period: timedelta, limit: int
) -> list[asyncpg.Record]:
    """Referrals that are to be looked at, with what is known of the friend's first purchase, by id."""
    rows: list[asyncpg.Record] = await connection.fetch(_DUE, now, return_period, limit)
    return rows


async def end(connection: asyncpg.Connection, row: asyncpg.Record, *end: Any) -> bool:
    """Write how a referral ended: status, reason, purchase, when, points; False when more became known."""
    return await connection.fetchval(_END, row["id"], row["look_at"], *end) is not None


async def wait(connection: asyncpg.Connection, row: asyncpg.Record, until: datetime) -> None:
    """Look at a referral again at a later moment."""
    await connection.execute(_WAIT, row["id"], row["look_at"], until)


async def wake(connection: asyncpg.Connection, heard: Mapping[UUID, datetime]) -> None:
    """Have the referrals of friends looked at of whom something became known, by when it happened."""
    await connection.execute(_WAKE, list(heard.keys()), list(heard.values()))


async def wake_all(connection: asyncpg.Connection, customer_ids: Iterable[UUID]) -> None:
    """Have all referrals looked at again that these customers have a part in."""
    await connection.execute(_WAKE_ALL, list(customer_ids))


async def points(connection: asyncpg.Connection, referral_id: UUID) -> int:
    """What the referrer got."""
    found: int = await connection.fetchval(_POINTS, referral_id)
    return found


async def forget(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> int:
    """Replace customers by random ids; an open referral comes to nothing. Returns how many it were."""
    return int((await connection.execute(_FORGET, list(customer_ids))).split()[-1])
