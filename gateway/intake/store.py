"""All SQL of partners, their secrets and receipts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg
from sqlmodel import col, or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.tables import Partner, PartnerSecret, Receipt
from shared.database import Database

PURGE_ROWS = 5_000

# receive_webhook is in the first migration: receipt and event in one statement.
_RECEIVE = "SELECT receipt_id, fresh FROM receive_webhook($1, $2, $3, $4, $5, $6, $7)"
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
    event: str | None,
    reason: str | None,
    body: bytes | None,
    traceparent: str | None,
) -> Stored:
    """Store a verified webhook: with its event (JSON text), or quarantined with the reason and its body."""
    row = await pool.fetchrow(_RECEIVE, receipt_id, partner, webhook_id, event, reason, body, traceparent)
    return Stored(row[0], row[1])


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
