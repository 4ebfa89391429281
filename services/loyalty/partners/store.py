"""All SQL of the coalition's partners."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.partners.rules import Side
from services.loyalty.tables import LoyaltyPartner, PartnerExchange
from shared.problems import NotFound

FUNCTION = Path(__file__).with_name("moves.sql")

# A month from its first day ($2) until before another ($3): days that are closed, and what came since.
# Index: partner_days_pkey.
_MONTH = """
    WITH day AS (
        SELECT day, issued, issued_back, issued_worth, accepted, accepted_back, accepted_worth,
               accepted - accepted_back - issued + issued_back AS moved
          FROM partner_days WHERE partner_id = $1 AND day >= $2 AND day < $3
        UNION ALL
        SELECT day, issued, issued_back, issued_worth, accepted, accepted_back, accepted_worth, moved
          FROM partner_moves($1, $3::date::timestamp AT TIME ZONE 'UTC')
    ), before AS (
        SELECT coalesce((SELECT closing FROM partner_days WHERE partner_id = $1 AND day < $2
                          ORDER BY day DESC LIMIT 1), 0)
               + coalesce((SELECT sum(moved) FROM day WHERE day < $2), 0) AS points
    )
    SELECT before.points::bigint AS opening,
           coalesce(sum(issued), 0)::bigint AS issued, coalesce(sum(issued_back), 0)::bigint AS issued_back,
           coalesce(sum(issued_worth), 0) AS issued_worth,
           coalesce(sum(accepted), 0)::bigint AS accepted,
           coalesce(sum(accepted_back), 0)::bigint AS accepted_back,
           coalesce(sum(accepted_worth), 0) AS accepted_worth,
           (before.points + coalesce(sum(moved), 0))::bigint AS closing
      FROM before LEFT JOIN day ON day >= $2 GROUP BY before.points
"""
_PARTNERS = "SELECT id FROM loyalty_partners ORDER BY id"
# A later day may read on from after the entries of the days before this one.
_CLOSE = """
    INSERT INTO partner_days (partner_id, day, issued, issued_back, issued_worth, accepted, accepted_back,
                              accepted_worth, closing, next_entry)
    SELECT $1, m.day, m.issued, m.issued_back, m.issued_worth, m.accepted, m.accepted_back, m.accepted_worth,
           coalesce(last.closing, 0) + sum(m.moved) OVER (ORDER BY m.day),
           greatest(last.next_entry, 0, 1 + max(m.last_entry) OVER (
               ORDER BY m.day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))
      FROM partner_moves($1, $2) AS m
      LEFT JOIN (SELECT closing, next_entry FROM partner_days WHERE partner_id = $1
                  ORDER BY day DESC LIMIT 1) AS last ON true
    ON CONFLICT DO NOTHING
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


async def month(pool: asyncpg.Pool, partner_id: UUID, first: date, until: date) -> Month:
    """What moved on a partner's account from a day on until before another, in UTC."""
    row = await pool.fetchrow(_MONTH, partner_id, first, until)
    return Month(
        opening=row["opening"],
        issued=Side(row["issued"], row["issued_back"], Decimal(row["issued_worth"])),
        accepted=Side(row["accepted"], row["accepted_back"], Decimal(row["accepted_worth"])),
        closing=row["closing"],
    )


async def every_partner(pool: asyncpg.Pool) -> list[UUID]:
    """The ids of all partners."""
    return [row["id"] for row in await pool.fetch(_PARTNERS)]


async def close_days(connection: asyncpg.Connection, partner_id: UUID, until: datetime) -> None:
    """Keep what moved on the partner's days before a midnight (UTC) to which nothing can come any more."""
    await connection.execute(_CLOSE, partner_id, until)
