"""All SQL of the coalition's partners."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.partners.rules import Side
from services.loyalty.tables import LoyaltyPartner, PartnerExchange
from shared.problems import NotFound

# The entries of a partner's account in a month. What a partner issued leaves its account; a reversal goes the
# other way, at the price of what it reverses. Indexes: accounts_kind_owner_key, entries_of_partners.
_CLEARING = """
    WITH entry AS (
        SELECT e.points, t.posted_at, t.reverses IS NOT NULL AS returned, coalesce(x.price, 0) AS price,
               (e.points < 0) = (t.reverses IS NULL) AS issued
          FROM accounts AS a
          JOIN entries AS e ON e.account_id = a.id AND e.balance IS NULL AND e.account_id >= 100
          JOIN transfers AS t ON t.id = e.transfer_id
          LEFT JOIN partner_exchanges AS x ON x.transfer_id = coalesce(t.reverses, t.id)
         WHERE a.kind = 'partner' AND a.owner = $1 AND t.posted_at < $3
    )
    SELECT coalesce(sum(points) FILTER (WHERE posted_at < $2), 0)::bigint AS opening,
           coalesce(sum(points), 0)::bigint AS closing,
           coalesce(sum(-points) FILTER (WHERE within AND issued AND NOT returned), 0)::bigint AS issued,
           coalesce(sum(points) FILTER (WHERE within AND issued AND returned), 0)::bigint AS issued_back,
           coalesce(sum(-points * price) FILTER (WHERE within AND issued), 0) AS issued_worth,
           coalesce(sum(points) FILTER (WHERE within AND NOT issued AND NOT returned), 0)::bigint AS accepted,
           coalesce(sum(-points) FILTER (WHERE within AND NOT issued AND returned), 0)::bigint AS given_back,
           coalesce(sum(points * price) FILTER (WHERE within AND NOT issued), 0) AS accepted_worth
      FROM (SELECT *, posted_at >= $2 AS within FROM entry) AS entry
"""


_COUNT = text("""
    INSERT INTO partner_months AS m (partner_id, month, issued) VALUES (:partner, :month, :points)
    ON CONFLICT (partner_id, month) DO UPDATE SET issued = m.issued + excluded.issued
    RETURNING issued
""")


class UnknownPartner(NotFound):
    slug, title = "unknown-partner", "There is no such partner"


class UnknownExchange(NotFound):
    slug, title = "unknown-exchange", "This partner has no such exchange"


@dataclass(frozen=True, slots=True)
class Month:
    """A partner's account over a month, as the ledger has it."""

    opening: int
    issued: Side
    accepted: Side
    closing: int


async def partner(session: AsyncSession, partner_id: UUID, *, lock: bool = False) -> LoyaltyPartner:
    """A partner; with `lock` nobody else changes it until the transaction ends.

    Raises:
        UnknownPartner: there is none.
    """
    query = select(LoyaltyPartner).where(LoyaltyPartner.id == partner_id)
    if lock:
        query = query.with_for_update(key_share=True)
    found = (await session.exec(query)).one_or_none()
    if found is None:
        raise UnknownPartner
    return found


async def partners(session: AsyncSession, *, after: UUID | None, limit: int) -> list[LoyaltyPartner]:
    """Partners in the order in which they joined."""
    query = select(LoyaltyPartner).order_by(col(LoyaltyPartner.id)).limit(limit)
    if after is not None:
        query = query.where(col(LoyaltyPartner.id) > after)
    return list(await session.exec(query))


async def named(session: AsyncSession, name: str) -> LoyaltyPartner | None:
    """The partner with this name."""
    return (await session.exec(select(LoyaltyPartner).where(LoyaltyPartner.name == name))).one_or_none()


async def count_issued(session: AsyncSession, partner_id: UUID, month: date, points: int) -> int:
    """Count points that a partner issues; returns all of the month. Others wait for it until the commit."""
    counted = {"partner": partner_id, "month": month, "points": points}
    return int((await session.execute(_COUNT, counted)).scalar_one())


async def exchange(session: AsyncSession, partner_id: UUID, transfer_id: UUID) -> PartnerExchange:
    """The partner's side of a transfer.

    Raises:
        UnknownExchange: it is not one of this partner's.
    """
    found = await session.get(PartnerExchange, transfer_id)
    if found is None or found.partner_id != partner_id:
        raise UnknownExchange
    return found


async def month(pool: asyncpg.Pool, partner_id: UUID, start: datetime, end: datetime) -> Month:
    """What moved on a partner's account from `start` until before `end`."""
    row = await pool.fetchrow(_CLEARING, partner_id, start, end)
    return Month(
        opening=row["opening"],
        issued=Side(row["issued"], row["issued_back"], Decimal(row["issued_worth"])),
        accepted=Side(row["accepted"], row["given_back"], Decimal(row["accepted_worth"])),
        closing=row["closing"],
    )
