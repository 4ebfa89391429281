"""All SQL of partners, their secrets and receipts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg
from sqlmodel import col, or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.tables import Partner, PartnerSecret, Receipt
from shared.clock import utc_now
from shared.contracts import encode
from shared.contracts.gateway import FeedbackReceived
from shared.database import Database
from shared.ids import new_id
from shared.telemetry import current_traceparent

PURGE_ROWS = 5_000

# Receipt and event in one statement: both or neither. Plain SQL takes two thirds of the time of a function.
_RECEIVE = """
    WITH stored AS (
        INSERT INTO receipts (id, partner, webhook_id, status, reason, body)
        VALUES ($1, $2, $3, CASE WHEN $5::text IS NULL THEN 'quarantined' ELSE 'accepted' END, $6, $7)
        ON CONFLICT (partner, webhook_id) DO NOTHING RETURNING id
    ), sent AS (
        INSERT INTO outbox (id, type, envelope)
        SELECT $4, 'feedback.received', $5 FROM stored WHERE $5 IS NOT NULL
    )
    SELECT id FROM stored
"""
# By the unique index on partner and webhook id.
_FIRST = "SELECT id FROM receipts WHERE partner = $1 AND webhook_id = $2"
# By the primary key of partners and the index on partner_secrets.partner.
_SECRETS = """
    SELECT sealed, retires_at FROM partner_secrets JOIN partners ON partners.name = partner_secrets.partner
    WHERE name = $1 AND disabled_at IS NULL AND (retires_at IS NULL OR retires_at > now())
    ORDER BY partner_secrets.id DESC LIMIT 10
"""
_PURGE = """
    DELETE FROM receipts WHERE id IN (
        SELECT id FROM receipts WHERE status = $1 AND id < uuid7_floor(now() - $2::interval)
        ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
"""


class Stored(NamedTuple):
    """Where a webhook ended; `fresh` is false for one that was here before."""

    receipt_id: UUID
    fresh: bool


async def receive(
    pool: asyncpg.Pool,
    *,
    receipt_id: UUID,
    partner: str,
    webhook_id: str,
    event: FeedbackReceived | None,
    reason: str | None,
    body: bytes | None,
) -> Stored:
    """Store a verified webhook: with its event, or quarantined with the reason and its body."""
    event_id, envelope = new_id(), None
    if event is not None:
        envelope = encode(event, event_id=event_id, time=utc_now(), traceparent=current_traceparent())
    if await pool.fetchval(_RECEIVE, receipt_id, partner, webhook_id, event_id, envelope, reason, body):
        return Stored(receipt_id, True)
    # A statement of its own, so that it sees what a twin of this request has committed meanwhile.
    return Stored(await pool.fetchval(_FIRST, partner, webhook_id), False)


async def live_secrets(pool: asyncpg.Pool, partner: str) -> list[asyncpg.Record]:
    """Sealed secrets that count now, newest first; none for a partner that is unknown or disabled."""
    found: list[asyncpg.Record] = await pool.fetch(_SECRETS, partner)
    return found


async def partners(session: AsyncSession, *, after: str | None, limit: int) -> Sequence[Partner]:
    """Partners by name."""
    wanted = select(Partner).order_by(col(Partner.name)).limit(limit)
    if after is not None:
        wanted = wanted.where(col(Partner.name) > after)
    return (await session.exec(wanted)).all()


async def retire_secrets(session: AsyncSession, partner: str, *, at: datetime) -> None:
    """Let the partner's present secrets verify until `at` and no longer; never prolongs one."""
    retires_at = col(PartnerSecret.retires_at)
    await session.exec(
        update(PartnerSecret)
        .where(col(PartnerSecret.partner) == partner, or_(retires_at.is_(None), retires_at > at))
        .values(retires_at=at)
    )


async def receipts(
    session: AsyncSession, *, partner: str | None, status: str | None, after: UUID | None, limit: int
) -> Sequence[Receipt]:
    """Receipts from the newest on; quarantined ones by the partial index receipts_quarantined."""
    wanted = select(Receipt).order_by(col(Receipt.id).desc()).limit(limit)
    if partner is not None:
        wanted = wanted.where(col(Receipt.partner) == partner)
    if status is not None:
        wanted = wanted.where(col(Receipt.status) == status)
    if after is not None:
        wanted = wanted.where(col(Receipt.id) < after)
    return (await session.exec(wanted)).all()


async def purge(database: Database, *, accepted: timedelta, quarantined: timedelta) -> None:
    """Forget old receipts, a bounded number at a time, and secrets that were retired long ago."""
    for status, age in (("accepted", accepted), ("quarantined", quarantined)):
        await database.pool.execute(_PURGE, status, age, PURGE_ROWS)
    await database.pool.execute(
        "DELETE FROM partner_secrets WHERE retires_at < now() - interval '30 days'",
    )
