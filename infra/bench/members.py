"""Members of the loyalty programme with points to spend, for the benchmarks of the ledger."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from services.loyalty.ledger.store import Cause, Earning, post_earnings

POINTS = 1_000_000_000
BATCH = 500
CAUSE = Cause("bench", "bench", datetime(2026, 1, 1, tzinfo=UTC))
_HIGH = UUID("00000000-0000-7000-8000-000000000000").int
# The same id in SQL, of a number :n.
ID_IN_SQL = "('00000000-0000-7000-8000-' || lpad(to_hex({n}::int), 12, '0'))::uuid"


def member_id(number: int) -> UUID:
    """The id of member `number`."""
    return UUID(int=_HIGH + number)


async def enrol(loyalty: asyncpg.Pool, count: int) -> None:
    """Have this many members with POINTS each, by one earning; quick when they are there already."""
    for start in range(0, count, BATCH):
        together = [
            Earning(member_id(number), POINTS, f"bench:{number}", CAUSE, None)
            for number in range(start, min(start + BATCH, count))
        ]
        await post_earnings(loyalty, together, "bench", Decimal(0))
    await forget_events(loyalty)
    await loyalty.execute("VACUUM ANALYZE")


async def forget_events(loyalty: asyncpg.Pool) -> None:
    """Drop what waits to be published, as a relay would have taken it away."""
    await loyalty.execute("TRUNCATE outbox, section_marks")


async def redemptions(loyalty: asyncpg.Pool) -> int:
    """How many there are."""
    return int(await loyalty.fetchval("SELECT count(*) FROM transfers WHERE kind = 'redemption'"))


async def differences(loyalty: asyncpg.Pool) -> int:
    """Accounts whose balance is not the sum of their entries and of their lots, or was not, plus one when the
    entries do not sum to zero.
    """
    return int(
        await loyalty.fetchval(
            """SELECT count(*) + (SELECT (coalesce(sum(points), 0) <> 0)::int FROM entries)
               FROM accounts AS a
               LEFT JOIN (SELECT account_id, sum(points) AS points FROM entries GROUP BY 1) AS e
                      ON e.account_id = a.id
               LEFT JOIN (SELECT account_id, sum(remaining) AS points FROM lots GROUP BY 1) AS l
                      ON l.account_id = a.id
               WHERE a.balance IS NOT NULL AND (a.balance, a.balance) IS DISTINCT FROM (e.points, l.points)"""
        )
    )
