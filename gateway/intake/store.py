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

# Receipts and events in one statement: both or neither. Sorted, so that two gateways never wait in a circle.
_RECEIVE = """
    WITH given AS (
        SELECT * FROM unnest(
            $1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bytea[]
        ) AS given (id, partner, webhook_id, event_id, envelope, reason, body)
    ), stored AS (
        INSERT INTO receipts (id, partner, webhook_id, status, reason, body)
        SELECT id, partner, webhook_id,
               CASE WHEN envelope IS NULL THEN 'quarantined' ELSE 'accepted' END, reason, body
        FROM given ORDER BY partner, webhook_id
        ON CONFLICT (partner, webhook_id) DO NOTHING RETURNING id
    ), sent AS (
        INSERT INTO outbox (id, type, envelope)
        SELECT event_id, 'feedback.received', envelope FROM given JOIN stored USING (id)
        WHERE envelope IS NOT NULL
    )
    SELECT id FROM stored
"""
# By the unique index on partner and webhook id.
_FIRST = """
    SELECT partner, webhook_id, id FROM receipts
    WHERE (partner, webhook_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""
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


class Arrived(NamedTuple):
    """A verified webhook with its event's envelope, or with the body and why it is to be quarantined."""

    receipt_id: UUID
    partner: str
    webhook_id: str
    event_id: UUID
    envelope: str | None
    reason: str | None
    body: bytes | None


class Stored(NamedTuple):
    """Where a webhook ended; `fresh` is false for one that was here before."""

    receipt_id: UUID
    fresh: bool


async def receive(pool: asyncpg.Pool, arrived: Sequence[Arrived]) -> list[Stored]:
    """Store webhooks with their events, all or none; says for each whether it was here before."""
    fresh = {row[0] for row in await pool.fetch(_RECEIVE, *zip(*arrived, strict=True))}
    again = [webhook for webhook in arrived if webhook.receipt_id not in fresh]
    first: dict[tuple[str, str], UUID] = {}
    if again:
        # A statement of its own, so that it sees what a twin of the request has committed meanwhile.
        rows = await pool.fetch(_FIRST, [a.partner for a in again], [a.webhook_id for a in again])
        first = {(row[0], row[1]): row[2] for row in rows}
    return [
        Stored(webhook.receipt_id, True)
        if webhook.receipt_id in fresh
        else Stored(first[webhook.partner, webhook.webhook_id], False)
        for webhook in arrived
    ]


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
