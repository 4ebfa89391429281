"""Whole ledgers made at once: members with a few earnings each, every sum in place, sealed or not."""

import asyncpg

from infra.bench import members
from infra.bench.stage import Stage

EARNINGS = 5  # of each member, one lot each
POINTS = 1_000_000
CHUNK = 50_000  # members in one transaction

# Straight into the tables, with the triggers off: a minute instead of an hour. $1 to $2: numbers of members,
# $3 earnings of each, $4 points of each.
_FILL = f"""
    WITH member AS (
        INSERT INTO accounts (id, kind, owner, balance, earned)
        SELECT 1000 + n, 'member', {members.ID_IN_SQL.format(n="n")}, $3 * $4::bigint, $3 * $4::bigint
          FROM generate_series($1::int, $2::int - 1) AS n
    ), earning AS MATERIALIZED (
        SELECT uuid7() AS id, 1000 + n AS account_id, number, n
          FROM generate_series($1::int, $2::int - 1) AS n, generate_series(1, $3::int) AS number
    ), transfer AS (
        INSERT INTO transfers (id, kind, points, reason, actor, occurred_at, idempotency_key, input_hash)
        SELECT id, 'earning', $4::bigint, 'bench', 'bench', now(), 'fill/' || n || '/' || number, ''
          FROM earning
    ), entry AS (
        INSERT INTO entries (transfer_id, account_id, points, balance)
        SELECT id, side.account_id, side.points, side.balance FROM earning
         CROSS JOIN LATERAL (VALUES (account_id, $4::bigint, number * $4::bigint), (1, -$4::bigint, NULL))
               AS side (account_id, points, balance) ORDER BY number
    )
    INSERT INTO lots (account_id, transfer_id, points, remaining, earned_at, expires_at, cost_per_point)
    SELECT account_id, id, $4::bigint, $4::bigint, now(), now() + number * interval '100 days', 1 FROM earning
"""  # noqa: S608 - our own expression


async def make(stage: Stage, name: str, size: int) -> None:
    """A loyalty database with this many members."""
    pool = await stage.another("loyalty", name)
    async with pool.acquire() as connection:
        await fill(connection, size)


async def fill(connection: asyncpg.Connection, size: int) -> None:
    """Add members with EARNINGS each to an empty ledger."""
    for start in range(0, size, CHUNK):
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(_FILL, start, min(start + CHUNK, size), EARNINGS, POINTS)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")  # or the first postings would wait for the filling's pages
