"""Leaderboards: refreshed by the clock, read by index.

A board ranks members by what they did in a month or a year (UTC), in all and within their tier. Ranks are
as of the last refresh and stay until the next, so that whoever looks sees one order; who does not want to be
seen is left out of what is read, at once. A refresh writes the scores that changed, and for each score how
many stand higher.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from uuid import UUID

import asyncpg

from shared.clock import utc_now
from shared.database import Database
from shared.jobs import Job

Board = Literal["points", "purchases", "badges"]
BOARDS: tuple[Board, ...] = get_args(Board)
TOP = 100  # as many are ever read; also in _TOP and _TOP_OF_SEGMENT
MONTH_EVERY_S = 300.0
YEAR_EVERY_S = 3600.0
LATE = timedelta(days=3)  # how long a month or year that is over is still counted
REFRESH_TIMEOUT_MS = 600_000

# Each gives customer_id and score of what was done from $1 to $2. Index: deeds_in_time.
_SCORES: dict[Board, str] = {
    "points": """
        SELECT d.customer_id,
               sum(CASE WHEN back.refunded IS NULL OR d.amount = 0 THEN d.points
                        ELSE d.points - floor(d.points * least(back.refunded, d.amount) / d.amount)::bigint
                    END)::bigint AS score
          FROM deeds AS d
          LEFT JOIN (SELECT purchase_id, sum(amount) AS refunded FROM refunds GROUP BY purchase_id) AS back
                 ON back.purchase_id = d.id AND d.kind = 'purchase'
         WHERE d.occurred_at >= $1 AND d.occurred_at < $2 GROUP BY d.customer_id
    """,
    "purchases": """
        SELECT customer_id, count(*) AS score FROM deeds
         WHERE kind = 'purchase' AND occurred_at >= $1 AND occurred_at < $2 GROUP BY customer_id
    """,
    "badges": """
        SELECT coalesce(m.survivor, b.customer_id) AS customer_id,
               count(DISTINCT (b.challenge_id, b.starts_at)) AS score
          FROM badges AS b
          LEFT JOIN survivors(array(SELECT owner FROM accounts WHERE merged_into IS NOT NULL)) AS m
                 ON m.customer = b.customer_id
         WHERE b.awarded_at >= $1 AND b.awarded_at < $2 GROUP BY 1
    """,
}
# Without an index: keeping one while a million come in any order took most of the time.
_FRESH_SCORES = """
    CREATE TEMP TABLE fresh_scores (customer_id uuid, segment text, score bigint) ON COMMIT DROP
"""
# Who has no account was erased: their deeds count for nobody.
_FRESH = """
    INSERT INTO fresh_scores
    SELECT counted.customer_id, coalesce(s.tier_now, $3), counted.score FROM ({scores}) AS counted
      LEFT JOIN standings AS s ON s.customer_id = counted.customer_id
     WHERE counted.score > 0
       AND EXISTS (SELECT FROM accounts AS a WHERE a.kind = 'member' AND a.owner = counted.customer_id)
       AND NOT EXISTS (SELECT FROM board_opt_outs AS o WHERE o.customer_id = counted.customer_id)
"""
_LOWEST = "SELECT newcomer ->> 'name' FROM tier_tables ORDER BY version DESC LIMIT 1"
_FORGET = """
    DELETE FROM board_scores AS old WHERE board = $1 AND period = $2
       AND NOT EXISTS (SELECT FROM fresh_scores AS f WHERE f.customer_id = old.customer_id)
"""
# What has not changed is neither written nor locked.
_WRITE = """
    INSERT INTO board_scores AS old (board, period, customer_id, segment, score)
    SELECT $1, $2, f.customer_id, f.segment, f.score FROM fresh_scores AS f
      LEFT JOIN board_scores AS b ON b.board = $1 AND b.period = $2 AND b.customer_id = f.customer_id
     WHERE (b.segment, b.score) IS DISTINCT FROM (f.segment, f.score)
    ON CONFLICT (board, period, customer_id)
    DO UPDATE SET (segment, score) = (excluded.segment, excluded.score)
"""
_STEPS = """
    INSERT INTO board_steps (board, period, segment, score, above)
    SELECT $1, $2, segment, score, sum(members) OVER (PARTITION BY segment ORDER BY score DESC) - members
      FROM (SELECT coalesce(segment, '') AS segment, score, count(*) AS members FROM fresh_scores
             GROUP BY GROUPING SETS ((segment, score), (score))) AS counted
"""
_RAN = """
    INSERT INTO board_runs (board, period, as_of, members)
    SELECT $1, $2, $3, count(*) FROM fresh_scores
    ON CONFLICT (board, period) DO UPDATE SET (as_of, members) = (excluded.as_of, excluded.members)
"""
# Who was erased while the scores were counted leaves before they are seen. The lock: an erasure that is under
# way ends first, and one that comes now waits for the commit, so that it finds what was written.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('boards', 360))"
_SWEEP = """
    DELETE FROM board_scores AS s WHERE board = $1 AND period = $2
       AND NOT EXISTS (SELECT FROM accounts AS a WHERE a.kind = 'member' AND a.owner = s.customer_id)
"""
# Index: board_scores_top, read from its beginning. The limit is no parameter, so that the plan knows it.
_TOP = """
    SELECT s.customer_id, s.score FROM board_scores AS s
     WHERE s.board = $1 AND s.period = $2
       AND NOT EXISTS (SELECT FROM board_opt_outs AS o WHERE o.customer_id = s.customer_id)
     ORDER BY s.score DESC, s.customer_id LIMIT 100
"""
# Index: board_scores_top_of_segment.
_TOP_OF_SEGMENT = """
    SELECT s.customer_id, s.score FROM board_scores AS s
     WHERE s.board = $1 AND s.period = $2 AND s.segment = $3
       AND NOT EXISTS (SELECT FROM board_opt_outs AS o WHERE o.customer_id = s.customer_id)
     ORDER BY s.score DESC, s.customer_id LIMIT 100
"""
# All that is told of a board in one statement, as a refresh may end between two; a row without a customer
# when nobody is on it. Indexes: board_scores_pkey and board_steps_pkey, one row of each for a place.
_READ = """
    WITH place AS (
        SELECT customer_id, score, false AS own FROM ({top}) AS top
        UNION ALL
        SELECT s.customer_id, s.score, true FROM board_scores AS s
         WHERE s.board = $1 AND s.period = $2 AND ($3::text IS NULL OR s.segment = $3)
           AND s.customer_id = (SELECT survivor FROM survivors(ARRAY[$4::uuid]))
           AND NOT EXISTS (SELECT FROM board_opt_outs AS o WHERE o.customer_id = s.customer_id)
    )
    SELECT r.as_of, r.members, p.customer_id, p.score, p.own,
           (SELECT t.above + 1 FROM board_steps AS t
             WHERE t.board = $1 AND t.period = $2 AND t.segment = coalesce($3, '')
               AND t.score = p.score) AS rank
      FROM board_runs AS r LEFT JOIN place AS p ON true
     WHERE r.board = $1 AND r.period = $2
     ORDER BY p.score DESC, p.customer_id
"""
_OPT_OUT = """
    INSERT INTO board_opt_outs (customer_id) SELECT survivor FROM survivors(ARRAY[$1::uuid])
    ON CONFLICT DO NOTHING
"""
_OPT_IN = """
    DELETE FROM board_opt_outs
     WHERE customer_id = ANY (array(SELECT family(survivor) FROM survivors(ARRAY[$1::uuid])))
"""
# Who is one with somebody who does not want to be seen is not seen.
_REGROUP = """
    INSERT INTO board_opt_outs (customer_id)
    SELECT DISTINCT m.survivor FROM unnest($1::uuid[], $2::uuid[]) AS m (customer, survivor)
      JOIN board_opt_outs AS o ON o.customer_id = m.customer
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A member's rank and score."""

    rank: int
    customer_id: UUID
    score: int


@dataclass(frozen=True, slots=True)
class Standings:
    """The top of a board, and a member's own place."""

    as_of: datetime | None
    members: int
    top: list[Place]
    own: Place | None


def month(moment: datetime) -> str:
    """The name of a month."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def year(moment: datetime) -> str:
    """The name of a year."""
    return f"{moment.astimezone(UTC):%Y}"


def span(period: str) -> tuple[datetime, datetime]:
    """From when to when a period lasts.

    Raises:
        ValueError: neither a month nor a year.
    """
    if len(period) == 4:
        first = datetime(int(period), 1, 1, tzinfo=UTC)
        return first, first.replace(year=first.year + 1)
    first = datetime.strptime(period, "%Y-%m").replace(tzinfo=UTC)
    return first, (first + timedelta(days=31)).replace(day=1)


async def refresh(database: Database, board: Board, period: str, now: datetime) -> None:
    """Count a board anew, in one transaction: readers see the last one until then."""
    start, end = span(period)
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute(f"SET LOCAL statement_timeout = {REFRESH_TIMEOUT_MS}")
        await connection.execute(_FRESH_SCORES)
        lowest = await connection.fetchval(_LOWEST)
        await connection.execute(_FRESH.format(scores=_SCORES[board]), start, end, lowest)
        await connection.execute("ANALYZE fresh_scores")
        await connection.execute(_FORGET, board, period)
        await connection.execute(_WRITE, board, period)
        await connection.execute("DELETE FROM board_steps WHERE board = $1 AND period = $2", board, period)
        await connection.execute(_STEPS, board, period)
        await connection.execute(_RAN, board, period, now)
        await connection.execute(_LOCK)
        await connection.execute(_SWEEP, board, period)


async def read(
    pool: asyncpg.Pool, board: Board, period: str, *, segment: str | None, limit: int, member: UUID | None
) -> Standings:
    """The top of a board as of its last refresh, at most `TOP`, and a member's own place on it."""
    query = _READ.format(top=_TOP if segment is None else _TOP_OF_SEGMENT)
    rows = await pool.fetch(query, board, period, segment, member)
    if not rows:
        return Standings(None, 0, [], None)
    places = [
        (row["own"], Place(row["rank"], row["customer_id"], row["score"]))
        for row in rows
        if row["customer_id"] is not None
    ]
    top = [place for own, place in places if not own]
    found = next((place for own, place in places if own), None)
    return Standings(rows[0]["as_of"], rows[0]["members"], top[:limit], found)


async def show(connection: asyncpg.Connection, customer_id: UUID, *, shown: bool) -> None:
    """Have a member appear on boards or not; who leaves is gone at once, who returns is there next time."""
    await connection.execute(_OPT_IN if shown else _OPT_OUT, customer_id)


async def regroup(connection: asyncpg.Connection, family: Mapping[UUID, UUID]) -> None:
    """Have customers who were merged appear on boards only when each of them wants to."""
    await connection.execute(_REGROUP, list(family), list(family.values()))


def board_jobs() -> list[Job]:
    """The refreshes by the clock."""

    async def months(database: Database) -> None:
        now = utc_now()
        for period in sorted({month(now - LATE), month(now)}):
            for board in BOARDS:
                await refresh(database, board, period, now)

    async def years(database: Database) -> None:
        now = utc_now()
        for period in sorted({year(now - LATE), year(now)}):
            for board in BOARDS:
                await refresh(database, board, period, now)

    return [Job("month's boards", MONTH_EVERY_S, months), Job("year's boards", YEAR_EVERY_S, years)]
