"""Leaderboards: refreshed by the clock, read by index.

A board ranks members by what they did in a month or a year (UTC), in all and within their tier. Ranks are
as of the last refresh and stay until the next, so that whoever looks sees one order. A refresh writes the
scores that changed, and for each score how many stand higher.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from uuid import UUID

import asyncpg

from services.loyalty.ledger.store import Connection
from shared.clock import utc_now
from shared.database import Database
from shared.jobs import Job

Board = Literal["points", "purchases", "badges"]
BOARDS: tuple[Board, ...] = get_args(Board)
MONTH_EVERY_S = 300.0
YEAR_EVERY_S = 3600.0
LATE = timedelta(days=3)  # how long a month or year that is over is still counted
REFRESH_TIMEOUT_MS = 600_000

# Each gives customer_id and score of what was done from $1 to $2. Index: deeds_in_time.
_SCORES: dict[Board, str] = {
    "points": """
        SELECT d.customer_id,
               sum(d.points - CASE WHEN back.refunded IS NULL THEN 0
                               ELSE d.points * least(back.refunded, d.amount) / d.amount END)::bigint AS score
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
        SELECT customer_id, count(*) AS score FROM badges
         WHERE awarded_at >= $1 AND awarded_at < $2 GROUP BY customer_id
    """,
}
_FRESH = """
    INSERT INTO fresh_scores
    SELECT counted.customer_id, coalesce(s.tier_now, $3), counted.score FROM ({scores}) AS counted
      LEFT JOIN standings AS s ON s.customer_id = counted.customer_id
     WHERE counted.score > 0
       AND NOT EXISTS (SELECT FROM board_opt_outs AS o WHERE o.customer_id = counted.customer_id)
"""
_LOWEST = "SELECT newcomer ->> 'name' FROM tier_tables ORDER BY version DESC LIMIT 1"
_FORGET = """
    DELETE FROM board_scores AS old WHERE board = $1 AND period = $2
       AND NOT EXISTS (SELECT FROM fresh_scores AS f WHERE f.customer_id = old.customer_id)
"""
_WRITE = """
    INSERT INTO board_scores AS old (board, period, customer_id, segment, score)
    SELECT $1, $2, customer_id, segment, score FROM fresh_scores
    ON CONFLICT (board, period, customer_id)
    DO UPDATE SET (segment, score) = (excluded.segment, excluded.score)
     WHERE (old.segment, old.score) <> (excluded.segment, excluded.score)
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
# Index: board_scores_top, read from its beginning; index only.
_TOP = """
    SELECT customer_id, score FROM board_scores WHERE board = $1 AND period = $2
     ORDER BY score DESC, customer_id LIMIT $3
"""
# Index: board_scores_top_of_segment.
_TOP_OF_SEGMENT = """
    SELECT customer_id, score FROM board_scores WHERE board = $1 AND period = $2 AND segment = $4
     ORDER BY score DESC, customer_id LIMIT $3
"""
# Indexes: board_scores_pkey, board_steps_pkey; one row of each.
_OWN = """
    SELECT s.score, t.above + 1 AS rank FROM board_scores AS s
      JOIN board_steps AS t ON t.board = s.board AND t.period = s.period AND t.score = s.score
                           AND t.segment = coalesce($4, '')
     WHERE s.board = $1 AND s.period = $2 AND s.customer_id = $3 AND ($4::text IS NULL OR s.segment = $4)
"""
_RUN = "SELECT as_of, members FROM board_runs WHERE board = $1 AND period = $2"
_OPT_OUT = "INSERT INTO board_opt_outs (customer_id) VALUES ($1) ON CONFLICT DO NOTHING"
_OPT_IN = "DELETE FROM board_opt_outs WHERE customer_id = $1"
# Index: board_scores_pkey, for each board and period that there is.
_LEAVE = """
    DELETE FROM board_scores AS s USING board_runs AS r
     WHERE s.board = r.board AND s.period = r.period AND s.customer_id = $1
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
        await connection.execute(
            "CREATE TEMP TABLE fresh_scores (customer_id uuid PRIMARY KEY, segment text, score bigint)"
            " ON COMMIT DROP"
        )
        lowest = await connection.fetchval(_LOWEST)
        await connection.execute(_FRESH.format(scores=_SCORES[board]), start, end, lowest)
        await connection.execute("ANALYZE fresh_scores")
        await connection.execute(_FORGET, board, period)
        await connection.execute(_WRITE, board, period)
        await connection.execute("DELETE FROM board_steps WHERE board = $1 AND period = $2", board, period)
        await connection.execute(_STEPS, board, period)
        await connection.execute(_RAN, board, period, now)


async def read(
    connection: Connection,
    board: Board,
    period: str,
    *,
    segment: str | None,
    limit: int,
    member: UUID | None,
) -> Standings:
    """The top of a board as of its last refresh, and a member's own place on it."""
    run = await connection.fetchrow(_RUN, board, period)
    if run is None:
        return Standings(None, 0, [], None)
    if segment is None:
        rows = await connection.fetch(_TOP, board, period, limit)
    else:
        rows = await connection.fetch(_TOP_OF_SEGMENT, board, period, limit, segment)
    own = await connection.fetchrow(_OWN, board, period, member, segment) if member else None
    place = Place(own["rank"], member, own["score"]) if own and member else None
    return Standings(run["as_of"], run["members"], _ranked(rows), place)


def _ranked(rows: list[asyncpg.Record]) -> list[Place]:
    """Equal scores share the rank of the first of them."""
    places: list[Place] = []
    for number, row in enumerate(rows, start=1):
        shared = places and places[-1].score == row["score"]
        rank = places[-1].rank if shared else number
        places.append(Place(rank, row["customer_id"], row["score"]))
    return places


async def show(connection: asyncpg.Connection, customer_id: UUID, *, shown: bool) -> None:
    """Have a member appear on boards or not; who leaves is gone at once, who returns is there next time."""
    if shown:
        await connection.execute(_OPT_IN, customer_id)
    else:
        await connection.execute(_OPT_OUT, customer_id)
        await connection.execute(_LEAVE, customer_id)


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
