"""What members and operators read of the ledger: statements, lots, and what is outstanding."""

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.loyalty.ledger.store import Connection

LOTS_SHOWN = 50  # of one line of a statement
LOTS_OF_TRANSFER = 1000
CSV_CHUNK = 500  # lines read at once
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

# The statement of an account, newest first: by the order of posting, which the running balance follows. Each
# line tells by how much which lots changed. $2: entries before this one.
# Indexes: entries_statement, uses_pkey, lots_of_transfer.
_STATEMENT = """
    SELECT e.id, jsonb_build_object(
        'transfer_id', t.id, 'kind', t.kind, 'points', e.points, 'balance', e.balance, 'reason', t.reason,
        'rule', t.rule, 'arithmetic', t.arithmetic, 'reverses', t.reverses, 'event_id', t.event_id,
        'occurred_at', t.occurred_at, 'posted_at', t.posted_at,
        'lots', coalesce((
            SELECT jsonb_agg(jsonb_build_object('earned_by', change.earned_by, 'points', change.points,
                                                'expires_at', nullif(change.expires_at, 'infinity'))
                             ORDER BY change.expires_at, change.id)
              FROM (SELECT coalesce(l.origin, l.transfer_id) AS earned_by, -u.points AS points,
                           l.expires_at, l.id
                      FROM uses AS u JOIN lots AS l ON l.id = u.lot_id AND l.account_id = e.account_id
                     WHERE u.transfer_id = t.id
                    UNION ALL
                    SELECT coalesce(l.origin, l.transfer_id), l.points, l.expires_at, l.id
                      FROM lots AS l WHERE l.transfer_id = t.id AND l.account_id = e.account_id
                     ORDER BY 3, 4 LIMIT $4) AS change), '[]'))::text AS item
      FROM entries AS e JOIN transfers AS t ON t.id = e.transfer_id
     WHERE e.account_id = $1 AND e.balance IS NOT NULL AND e.id < $2
     ORDER BY e.id DESC LIMIT $3
"""
# One transfer with everything that explains it. $2: lots of it. Indexes: transfers_pkey, entries_pkey,
# uses_pkey, lots_of_transfer, seals_transfer_id_key, transfers_reversed_once.
_TRANSFER = """
    SELECT jsonb_build_object(
        'transfer_id', t.id, 'kind', t.kind, 'points', t.points, 'reason', t.reason, 'rule', t.rule,
        'arithmetic', t.arithmetic, 'actor', t.actor, 'event_id', t.event_id, 'occurred_at', t.occurred_at,
        'posted_at', t.posted_at, 'reverses', t.reverses,
        'reversed', (SELECT coalesce(sum(r.points), 0) FROM transfers AS r WHERE r.reverses = t.id),
        'entries', (
            SELECT jsonb_agg(jsonb_build_object(
                       'account', CASE a.kind WHEN 'member' THEN 'available' WHEN 'hold' THEN 'held'
                                              ELSE a.kind::text END,
                       'customer_id', CASE WHEN a.kind <= 'hold' THEN a.owner END,
                       'partner_id', CASE a.kind WHEN 'partner' THEN a.owner END,
                       'points', e.points, 'balance', e.balance) ORDER BY e.points)
              FROM entries AS e JOIN accounts AS a ON a.id = e.account_id WHERE e.transfer_id = t.id),
        'lots', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                       'account', CASE a.kind WHEN 'member' THEN 'available' WHEN 'hold' THEN 'held'
                                              ELSE a.kind::text END,
                       'earned_by', change.earned_by, 'points', change.points,
                       'expires_at', nullif(change.expires_at, 'infinity'))
                             ORDER BY change.expires_at, change.id)
              FROM (SELECT coalesce(l.origin, l.transfer_id) AS earned_by, -u.points AS points,
                           l.expires_at, l.id, l.account_id
                      FROM uses AS u JOIN lots AS l ON l.id = u.lot_id WHERE u.transfer_id = t.id
                    UNION ALL
                    SELECT coalesce(l.origin, l.transfer_id), l.points, l.expires_at, l.id, l.account_id
                      FROM lots AS l WHERE l.transfer_id = t.id
                     ORDER BY 3, 4 LIMIT $2) AS change
              JOIN accounts AS a ON a.id = change.account_id), '[]'),
        'seal', (SELECT jsonb_build_object('position', s.position, 'hash', encode(s.hash, 'hex'))
                   FROM seals AS s WHERE s.transfer_id = t.id))::text
      FROM transfers AS t WHERE t.id = $1
"""
# What a member still has, in the order in which it is spent. $2: lots after this one. Index: lots_open.
_LOTS = """
    SELECT l.id, jsonb_build_object(
        'transfer_id', l.transfer_id, 'points', l.points, 'remaining', l.remaining, 'earned_at', l.earned_at,
        'expires_at', nullif(l.expires_at, 'infinity'), 'pending_until', l.pending_until,
        'reason', (SELECT reason FROM transfers WHERE id = coalesce(l.origin, l.transfer_id)))::text AS item
      FROM lots AS l
     WHERE l.account_id = $1 AND l.open
       AND ($2::bigint IS NULL
            OR (l.expires_at, l.id) > (SELECT last.expires_at, last.id FROM lots AS last WHERE last.id = $2))
     ORDER BY l.expires_at, l.id LIMIT $3
"""

# What is outstanding, by the month in which it expires; adds up to the customers' balances, pending and held.
# `brought`: with how many points these months' lots began, whatever has become of them. Of points that could
# expire in the last two years, `lapsed` of `brought` did. $1 and $2: the period whose movements are summed; a
# transfer's id begins with the time at which it was posted. Index: transfers_pkey.
_LIABILITY = """
    WITH months AS (
        SELECT to_char(nullif(expires_at, 'infinity') AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
               sum(remaining) AS points, sum(remaining * cost_per_point) AS cost,
               coalesce(sum(points) FILTER (WHERE origin IS NULL), 0) AS brought
          FROM lots WHERE open OR expires_at > now() GROUP BY 1
    ), past AS (
        SELECT coalesce(sum(points) FILTER (WHERE origin IS NULL), 0) AS brought,
               (SELECT coalesce(sum(u.points), 0) FROM lots AS l JOIN uses AS u ON u.lot_id = l.id
                  JOIN transfers AS t ON t.id = u.transfer_id
                 WHERE l.expires_at BETWEEN now() - interval '2 years' AND now()
                   AND t.kind = 'expiry') AS lapsed
          FROM lots WHERE expires_at BETWEEN now() - interval '2 years' AND now()
    ), moved AS (
        SELECT CASE WHEN t.reverses IS NOT NULL THEN 'reversed' ELSE t.kind::text END AS kind,
               t.id >= uuid7_floor($2) AS later, sum(e.points) AS points
          FROM transfers AS t JOIN entries AS e ON e.transfer_id = t.id AND e.balance IS NOT NULL
         WHERE t.id >= uuid7_floor($1) GROUP BY 1, 2
    )
    SELECT (SELECT coalesce(sum(balance), 0) FROM accounts WHERE balance IS NOT NULL) AS points,
           (SELECT round(coalesce(sum(cost), 0)) FROM months) AS cost,
           (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'month', month, 'points', points, 'cost', round(cost), 'brought', brought)
                   ORDER BY month NULLS LAST), '[]')
              FROM months WHERE points > 0)::text AS by_expiry,
           past.brought, past.lapsed,
           (SELECT coalesce(sum(points), 0) FROM moved) AS since,
           (SELECT coalesce(jsonb_object_agg(kind, points), '{}')::text FROM moved WHERE NOT later) AS moved
      FROM past
"""


def row_id(value: object) -> int:
    """The id of an entry or lot in a cursor.

    Raises:
        ValueError: not such an id.
    """
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not the id of a row")
    return value


async def statement(
    connection: Connection, account_id: int, before: int, limit: int
) -> list[tuple[int, str]]:
    """Entries of an account before one of them, newest first: id and JSON text."""
    return [tuple(row) for row in await connection.fetch(_STATEMENT, account_id, before, limit, LOTS_SHOWN)]


async def transfer(connection: Connection, transfer_id: UUID) -> str | None:
    """One transfer as JSON text; None when there is none."""
    text: str | None = await connection.fetchval(_TRANSFER, transfer_id, LOTS_OF_TRANSFER)
    return text


async def as_csv(pool: asyncpg.Pool, account_id: int | None, before: int) -> AsyncIterator[str]:
    """The whole statement as CSV, newest first, a chunk of lines at a time.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    columns = ("posted_at", "occurred_at", "kind", "points", "balance", "reason", "rule", "arithmetic")
    ids = ("transfer_id", "reverses", "event_id")
    yield _lines([(*columns, *ids, "lots")])
    while account_id is not None:
        found = await statement(pool, account_id, before, CSV_CHUNK)
        if not found:
            return
        items = [orjson.loads(text) for _, text in found]
        yield _lines([(*(item[name] for name in (*columns, *ids)), _told(item["lots"])) for item in items])
        before = found[-1][0]


async def open_lots(
    connection: Connection, account_id: int, after: int | None, limit: int
) -> list[tuple[int, str]]:
    """Lots with points left after one of them, in the order they are spent: id and JSON text."""
    return [tuple(row) for row in await connection.fetch(_LOTS, account_id, after, limit)]


async def liability(connection: Connection, since: datetime, until: datetime) -> dict[str, Any]:
    """What is outstanding now, what of it will likely expire, and what moved in a period.

    `opening` and `closing` are what was outstanding at its ends: opening + all that moved = closing.
    """
    row = await connection.fetchrow(_LIABILITY, since, until)
    moved = {kind: int(points) for kind, points in orjson.loads(row["moved"]).items()}
    points, opening = int(row["points"]), int(row["points"]) - int(row["since"])
    months = orjson.loads(row["by_expiry"])
    return {
        "points": points,
        "cost": int(row["cost"]),
        "by_expiry": months,
        "expected_breakage": expected_breakage(months, int(row["lapsed"]), int(row["brought"])),
        "period": {
            "from": since,
            "to": until,
            "opening": opening,
            "earned": moved.get("earning", 0),
            "spent": -moved.get("redemption", 0),
            "expired": -moved.get("expiry", 0),
            "adjusted": moved.get("adjustment", 0),
            "reversed": moved.get("reversed", 0),
            "closing": opening + sum(moved.values()),
        },
    }


def expected_breakage(months: Sequence[Mapping[str, Any]], lapsed: int, brought: int) -> int:
    """How many of the outstanding points will likely expire.

    Of what a month's lots began with, the share that lapsed before: most of what is spent is spent early, so
    of what is left a larger share lapses than of what was brought, and at most all of it.

    Args:
        months: of each `month` (None: never expire) the `points` outstanding and those `brought`.
        lapsed: of the points whose time passed in the last two years, how many expired
        brought: of how many.
    """
    if brought == 0:
        return 0
    dated = [month for month in months if month["month"] is not None]
    return sum(min(month["points"], month["brought"] * lapsed // brought) for month in dated)


def _lines(rows: list[tuple[Any, ...]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([[_cell(value) for value in row] for row in rows])
    return written.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _told(lots: list[dict[str, Any]]) -> str:
    """Whose earning's points they are, how many came or went, when they expire. It starts no formula."""
    told = [f"{lot['earned_by']} {lot['points']:+d}, expires {lot['expires_at'] or 'never'}" for lot in lots]
    return "; ".join([*told, "and perhaps more"] if len(told) == LOTS_SHOWN else told)
