"""All SQL of challenges and badges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.loyalty.challenges.rules import Challenge
from services.loyalty.ledger.store import Connection

_ALL = "SELECT id, version, definition::text, made_at FROM challenges ORDER BY id"
_PAGE = """
    SELECT id, version, definition::text, made_at FROM challenges WHERE id > $1 ORDER BY id LIMIT $2
"""
_ONE = "SELECT id, version, definition::text, made_at FROM challenges WHERE id = $1"
_ADD = """
    INSERT INTO challenges (id, definition, made_at) VALUES ($1, $2::text::jsonb, $3)
    ON CONFLICT DO NOTHING RETURNING version
"""
_CHANGE = """
    UPDATE challenges SET definition = $2::text::jsonb, version = version + 1
     WHERE id = $1 AND version = $3 RETURNING version
"""
# How much was done in each window, as far as it is wanted, purchases that came back whole left out.
# Index: deeds_of_member, read in the order of time and no further than the target.
_COUNT = """
    SELECT w.customer_id, w.challenge_id, w.starts_at, done.number,
           coalesce(before.met_at, done.moments[w.target]) AS met_at, before.met_at IS NULL AS fresh
      FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::int[])
           AS w (customer_id, challenge_id, starts_at, since, until, target)
      JOIN challenges AS c ON c.id = w.challenge_id
      LEFT JOIN challenge_progress AS before
        ON before.customer_id = w.customer_id AND before.challenge_id = w.challenge_id
       AND before.starts_at = w.starts_at
     CROSS JOIN LATERAL (
        SELECT count(*) AS number, array_agg(counts.occurred_at ORDER BY counts.occurred_at) AS moments FROM (
        SELECT d.occurred_at FROM deeds AS d
         WHERE d.customer_id = w.customer_id AND d.kind = (c.definition ->> 'kind')::deed_kind
           AND d.occurred_at >= w.since AND d.occurred_at < w.until
           AND (c.definition -> 'subjects' IS NULL OR c.definition -> 'subjects' ? d.subject)
           AND (c.definition -> 'channels' IS NULL OR c.definition -> 'channels' ? d.channel)
           AND (c.definition -> 'categories' IS NULL OR EXISTS (
                SELECT FROM jsonb_array_elements(d.parts) AS part
                 WHERE c.definition -> 'categories' ? (part ->> 1)))
           AND (d.kind <> 'purchase' OR d.amount > (
                SELECT coalesce(sum(back.amount), 0) FROM refunds AS back
                 WHERE back.customer_id = coalesce(d.told_of, d.customer_id)
                   AND back.purchase_id = d.id))
         ORDER BY d.occurred_at, d.id LIMIT w.target) AS counts) AS done
"""
_KEEP = """
    INSERT INTO challenge_progress (customer_id, challenge_id, starts_at, done, met_at)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::bigint[], $5::timestamptz[])
    ON CONFLICT (customer_id, challenge_id, starts_at)
    DO UPDATE SET (done, met_at) = (excluded.done, excluded.met_at)
"""
# Indexes: challenge_progress_pkey, badges_pkey.
_MET = """
    SELECT p.customer_id, p.challenge_id, array_agg(p.starts_at) AS met,
           array(SELECT b.starts_at FROM badges AS b
                  WHERE b.challenge_id = p.challenge_id
                    AND b.customer_id = ANY (array(SELECT family(p.customer_id)))) AS given
      FROM challenge_progress AS p
     WHERE p.customer_id = ANY ($1::uuid[]) AND p.challenge_id = ANY ($2::text[]) AND p.met_at IS NOT NULL
     GROUP BY p.customer_id, p.challenge_id
"""
# Index: challenge_progress_pkey.
_WINDOWS = """
    SELECT DISTINCT challenge_id, starts_at FROM challenge_progress
     WHERE customer_id = ANY ($1::uuid[]) AND challenge_id = ANY ($2::text[])
     ORDER BY challenge_id, starts_at
"""
_AWARD = """
    INSERT INTO badges (customer_id, challenge_id, starts_at, badge, awarded_at)
    SELECT w.customer_id, w.challenge_id, w.starts_at, w.badge, p.met_at
      FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[])
           AS w (customer_id, challenge_id, starts_at, badge)
      JOIN challenge_progress AS p
        ON p.customer_id = w.customer_id AND p.challenge_id = w.challenge_id AND p.starts_at = w.starts_at
    ON CONFLICT DO NOTHING RETURNING customer_id, challenge_id, starts_at, awarded_at
"""
# Index: badges_pkey.
_BADGES = """
    SELECT DISTINCT ON (b.challenge_id, b.starts_at)
           b.badge, b.challenge_id, c.definition ->> 'name' AS challenge, b.awarded_at, b.starts_at
      FROM badges AS b JOIN challenges AS c ON c.id = b.challenge_id
     WHERE b.customer_id = ANY (array(SELECT family(survivor) FROM survivors(ARRAY[$1::uuid])))
       AND (b.challenge_id, b.starts_at) > ($2, $3)
     ORDER BY b.challenge_id, b.starts_at, b.awarded_at LIMIT $4
"""
_PROGRESS = """
    SELECT starts_at, done, met_at, challenge_id FROM challenge_progress
     WHERE customer_id = (SELECT survivor FROM survivors(ARRAY[$1::uuid])) AND challenge_id = ANY ($2::text[])
     ORDER BY challenge_id, starts_at
"""
_FORGET = """
    WITH progress AS (
        DELETE FROM challenge_progress WHERE customer_id = ANY ($1::uuid[])
    ), hidden AS (
        DELETE FROM board_opt_outs WHERE customer_id = ANY ($1::uuid[])
    )
    DELETE FROM badges WHERE customer_id = ANY ($1::uuid[])
"""
# Index: board_scores_pkey, for each board and period that there is.
_FORGET_SCORES = """
    DELETE FROM board_scores AS s USING board_runs AS r
     WHERE s.board = r.board AND s.period = r.period AND s.customer_id = ANY ($1::uuid[])
"""
_NO_BOARD_ENDS = "SELECT pg_advisory_xact_lock_shared(hashtextextended('boards', 360))"  # boards._LOCK


@dataclass(frozen=True, slots=True)
class Version:
    """A challenge as it was written."""

    id: str
    version: int
    definition: Mapping[str, Any]
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Touched:
    """A member's window in which something was done; `since` and `until` are what of it counts."""

    customer_id: UUID
    challenge: Challenge
    starts_at: datetime
    since: datetime
    until: datetime


def read(version: Version) -> Challenge:
    """A challenge of what was written."""
    said = version.definition
    return Challenge(
        version.id,
        version.version,
        said["name"],
        said["kind"],
        said.get("target", 1),
        said.get("every", "once"),
        said.get("in_a_row", 1),
        said.get("badge") or said["name"],
        said.get("points", 0),
        datetime.fromisoformat(said["starts_at"]) if "starts_at" in said else version.made_at,
        datetime.fromisoformat(said["ends_at"]) if "ends_at" in said else None,
        frozenset(said.get("subjects", ())),
        frozenset(said.get("channels", ())),
        frozenset(said.get("categories", ())),
        said.get("points_days"),
    )


async def enabled(connection: Connection) -> list[Challenge]:
    """The challenges that run."""
    versions = [_version(row) for row in await connection.fetch(_ALL)]
    return [read(version) for version in versions if version.definition.get("enabled", True)]


async def page(connection: Connection, after: str, limit: int) -> list[Version]:
    """Challenges after one of them, by id."""
    return [_version(row) for row in await connection.fetch(_PAGE, after, limit)]


async def one(connection: Connection, challenge_id: str) -> Version | None:
    """A challenge as it is."""
    row = await connection.fetchrow(_ONE, challenge_id)
    return None if row is None else _version(row)


async def add(connection: Connection, version: Version) -> bool:
    """Keep a new challenge; False when there is one of this id."""
    definition = orjson.dumps(version.definition).decode()
    return await connection.fetchval(_ADD, version.id, definition, version.made_at) is not None


async def change(connection: Connection, challenge_id: str, definition: Mapping[str, Any], of: int) -> bool:
    """Change a challenge of this version; False when it has moved on."""
    said = orjson.dumps(definition).decode()
    return await connection.fetchval(_CHANGE, challenge_id, said, of) is not None


async def count(connection: asyncpg.Connection, touched: Sequence[Touched]) -> list[asyncpg.Record]:
    """Count what was done in these windows, and keep it; gives those that are met now for the first time."""
    columns = (
        [each.customer_id for each in touched],
        [each.challenge.id for each in touched],
        [each.starts_at for each in touched],
        [each.since for each in touched],
        [each.until for each in touched],
        [each.challenge.target for each in touched],
    )
    rows = await connection.fetch(_COUNT, *columns)
    names = ("customer_id", "challenge_id", "starts_at", "number", "met_at")
    await connection.execute(_KEEP, *([row[name] for row in rows] for name in names))
    return [row for row in rows if row["fresh"] and row["met_at"] is not None]


async def met(
    connection: asyncpg.Connection, customer_ids: Sequence[UUID], challenge_ids: Sequence[str]
) -> list[asyncpg.Record]:
    """The windows that members met, and those that badges were given for, by member and challenge."""
    rows: list[asyncpg.Record] = await connection.fetch(_MET, customer_ids, challenge_ids)
    return rows


async def windows_of(
    connection: asyncpg.Connection, customer_ids: Sequence[UUID], challenge_ids: Sequence[str]
) -> list[asyncpg.Record]:
    """The windows in which any of these customers did something that counted."""
    rows: list[asyncpg.Record] = await connection.fetch(_WINDOWS, customer_ids, challenge_ids)
    return rows


async def award(
    connection: asyncpg.Connection, wanted: Sequence[tuple[UUID, str, datetime, str]]
) -> list[asyncpg.Record]:
    """Give badges; returns those that are new."""
    rows: list[asyncpg.Record] = await connection.fetch(_AWARD, *map(list, zip(*wanted, strict=True)))
    return rows


async def badges_of(
    connection: Connection, customer_id: UUID, after: tuple[str, datetime], limit: int
) -> list[asyncpg.Record]:
    """A member's badges, and those of whom they were merged with, by challenge and window."""
    rows: list[asyncpg.Record] = await connection.fetch(_BADGES, customer_id, *after, limit)
    return rows


async def progress_of(
    connection: Connection, customer_id: UUID, challenge_ids: Sequence[str]
) -> list[asyncpg.Record]:
    """What a member did in every window of some challenges."""
    rows: list[asyncpg.Record] = await connection.fetch(_PROGRESS, customer_id, challenge_ids)
    return rows


def _version(row: asyncpg.Record) -> Version:
    return Version(row["id"], row["version"], orjson.loads(row["definition"]), row["made_at"])


async def forget(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> int:
    """Leave nothing of what these customers reached; returns how many badges went."""
    ids = list(customer_ids)
    badges = int((await connection.execute(_FORGET, ids)).split()[-1])
    # Twice: a refresh that was writing has ended by the second, and the next one will know. Not under the
    # lock at once, as the refresh holds what it wrote when it asks for the lock.
    await connection.execute(_FORGET_SCORES, ids)
    await connection.execute(_NO_BOARD_ENDS)
    await connection.execute(_FORGET_SCORES, ids)
    return badges
