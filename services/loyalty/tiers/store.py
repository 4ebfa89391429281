"""All SQL of the tiers: their versions, where members stand, and how they got there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.loyalty.ledger.store import Connection
from services.loyalty.tiers.rules import Basis, Change, Period, Standing, Tier, TierTable
from shared.telemetry import current_traceparent

_TABLES = "SELECT version, since, tiers::text FROM tier_tables ORDER BY version"
_TERMS = "SELECT basis, period FROM tier_terms"
_KEEP_TERMS = """
    INSERT INTO tier_terms AS kept (basis, period) VALUES ($1, $2)
    ON CONFLICT (one) DO UPDATE SET (basis, period) = (excluded.basis, excluded.period)
     WHERE (kept.basis, kept.period) <> (excluded.basis, excluded.period)
       AND NOT EXISTS (SELECT FROM standings)
"""
_ADD_TABLE = """
    INSERT INTO tier_tables (version, since, tiers, made_by, newcomer)
    VALUES ($1, $2, $3::text::jsonb, $4, $5::text::jsonb)
    ON CONFLICT DO NOTHING RETURNING version
"""
_LOAD = """
    SELECT customer_id, clock, last_id, tier, since, due_at, quantities::text, total, counted::text, tier_now
      FROM standings WHERE customer_id = ANY ($1::uuid[])
"""
_SAVE = """
    INSERT INTO standings (customer_id, clock, last_id, tier, since, due_at, quantities, total, counted,
                           tier_now, shown, review_at, tiers_version)
    SELECT customer_id, clock, last_id, tier, since, due_at, quantities::jsonb, total, counted::jsonb,
           tier_now, shown::jsonb, review_at, tiers_version
      FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::timestamptz[],
                  $6::timestamptz[], $7::text[], $8::bigint[], $9::text[], $10::text[], $11::text[],
                  $12::timestamptz[], $13::int[])
           AS moved (customer_id, clock, last_id, tier, since, due_at, quantities, total, counted, tier_now,
                     shown, review_at, tiers_version)
    ON CONFLICT (customer_id) DO UPDATE SET
        (clock, last_id, tier, since, due_at, quantities, total, counted, tier_now, shown, review_at,
         tiers_version)
      = (excluded.clock, excluded.last_id, excluded.tier, excluded.since, excluded.due_at,
         excluded.quantities, excluded.total, excluded.counted, excluded.tier_now, excluded.shown,
         excluded.review_at, excluded.tiers_version)
"""
_MARK = "INSERT INTO section_marks (customer_id) SELECT unnest($1::uuid[])"
_FORGET_CHANGES = """
    DELETE FROM tier_changes AS old USING unnest($1::uuid[], $2::timestamptz[]) AS moved (customer_id, clock)
     WHERE old.customer_id = moved.customer_id AND old.at > moved.clock
"""
_ADD_CHANGES = """
    INSERT INTO tier_changes (customer_id, at, place, from_tier, to_tier, qualifying)
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::int[], $4::text[], $5::text[], $6::bigint[])
"""
_EMIT = """
    SELECT outbox_emit('tier.changed', told.customer_id, jsonb_build_object(
               'customer_id', told.customer_id, 'from_tier', told.before, 'to_tier', told.after,
               'qualifying', told.qualifying, 'occurred_at', told.at), $6)
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[])
           AS told (customer_id, before, after, qualifying, at)
"""
# Index: standings_review, standings_version.
_DUE = """
    SELECT customer_id FROM standings WHERE review_at <= $1 OR tiers_version < $2
     ORDER BY customer_id LIMIT $3
"""
# Index: tier_changes_pkey, read backwards.
_HISTORY = """
    SELECT at, place, from_tier, to_tier, qualifying FROM tier_changes
     WHERE customer_id = $1 AND (at, place) < ($2, $3) ORDER BY at DESC, place DESC LIMIT $4
"""


_FORGET = """
    WITH changes AS (DELETE FROM tier_changes WHERE customer_id = ANY ($1::uuid[]))
    DELETE FROM standings WHERE customer_id = ANY ($1::uuid[])
"""


@dataclass(slots=True)
class Kept:
    """A member's standing as of the last purchase that was counted, and what was shown of it last.

    `counted` is what earning remembers beside it; the tiers do not look at it.
    """

    customer_id: UUID
    standing: Standing
    last_id: UUID
    counted: dict[str, Any]
    tier_now: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A standing to be kept: as of the last purchase, and as of now."""

    kept: Kept
    since: datetime  # changes after this moment are replaced by `changes`
    changes: Sequence[Change]
    tier_before: str
    shown: dict[str, Any] = field(default_factory=dict)
    review_at: datetime | None = None
    tiers_version: int = 1


async def tables(connection: Connection) -> tuple[TierTable, ...]:
    """Every version of the tiers, the oldest first."""
    return tuple(
        TierTable(row["version"], row["since"], tuple(read_tier(tier) for tier in orjson.loads(row["tiers"])))
        for row in await connection.fetch(_TABLES)
    )


async def terms(connection: Connection) -> tuple[Basis, Period] | None:
    """By what members are counted, if that is kept yet."""
    row = await connection.fetchrow(_TERMS)
    return None if row is None else (row["basis"], row["period"])


async def keep_terms(connection: Connection, basis: Basis, period: Period) -> None:
    """Keep by what members are counted; once one was counted it stays."""
    await connection.execute(_KEEP_TERMS, basis, period)


async def add_table(connection: Connection, table: TierTable, made_by: str, newcomer: dict[str, Any]) -> bool:
    """Keep a new version; False when another was faster. `newcomer` is shown of who has bought nothing."""
    tiers = orjson.dumps([write_tier(tier) for tier in table.tiers]).decode()
    row = await connection.fetchval(
        _ADD_TABLE, table.version, table.since, tiers, made_by, orjson.dumps(newcomer).decode()
    )
    return row is not None


def read_tier(value: dict[str, Any]) -> Tier:
    """A tier from its JSON."""
    multiplier = Decimal(value.get("multiplier", 1))
    return Tier(value["name"], value["threshold"], multiplier, value.get("benefits", {}))


def write_tier(tier: Tier) -> dict[str, Any]:
    """A tier as JSON."""
    return {
        "name": tier.name,
        "threshold": tier.threshold,
        "multiplier": str(tier.multiplier),
        "benefits": dict(tier.benefits),
    }


async def load(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> dict[UUID, Kept]:
    """The standings of those of the members who have bought."""
    kept = {}
    for row in await connection.fetch(_LOAD, list(customer_ids)):
        window = {date.fromisoformat(day): amount for day, amount in orjson.loads(row["quantities"])}
        standing = Standing(row["clock"], row["tier"], row["since"], row["due_at"], window, row["total"])
        counted = orjson.loads(row["counted"])
        kept[row["customer_id"]] = Kept(
            row["customer_id"], standing, row["last_id"], counted, row["tier_now"]
        )
    return kept


async def save(connection: asyncpg.Connection, moved: Sequence[Moved]) -> None:
    """Keep standings and their changes, mark the sections, and tell of tiers that are others now."""
    if not moved:
        return
    ids = [each.kept.customer_id for each in moved]
    await connection.execute(_SAVE, *map(list, zip(*map(_row, moved), strict=True)))
    await connection.execute(_MARK, ids)
    await connection.execute(_FORGET_CHANGES, ids, [each.since for each in moved])
    changes = [
        (each.kept.customer_id, change.at, place, change.before, change.after, change.qualifying)
        for each in moved
        for place, change in enumerate(each.changes)
    ]
    if changes:
        await connection.execute(_ADD_CHANGES, *map(list, zip(*changes, strict=True)))
    told = [
        (
            each.kept.customer_id,
            each.tier_before,
            each.kept.tier_now,
            each.shown["qualifying"],
            each.changes[-1].at if each.changes else each.since,
        )
        for each in moved
        if each.kept.tier_now != each.tier_before
    ]
    if told:
        await connection.execute(_EMIT, *map(list, zip(*told, strict=True)), current_traceparent())


def _row(moved: Moved) -> tuple[Any, ...]:
    kept, standing = moved.kept, moved.kept.standing
    window = [[day.isoformat(), amount] for day, amount in standing.window.items()]
    return (
        kept.customer_id,
        standing.clock,
        kept.last_id,
        standing.tier,
        standing.since,
        standing.due_at,
        orjson.dumps(window).decode(),
        standing.total,
        orjson.dumps(kept.counted).decode(),
        kept.tier_now,
        orjson.dumps(moved.shown).decode(),
        moved.review_at,
        moved.tiers_version,
    )


async def due(connection: Connection, now: datetime, version: int, limit: int) -> list[UUID]:
    """Members whose standing changes by itself by now, or was judged by an older version of the tiers."""
    return [row["customer_id"] for row in await connection.fetch(_DUE, now, version, limit)]


async def history(
    connection: Connection, customer_id: UUID, before: datetime, place: int, limit: int
) -> list[asyncpg.Record]:
    """A member's changes of tier before one of them, newest first."""
    rows: list[asyncpg.Record] = await connection.fetch(_HISTORY, customer_id, before, place, limit)
    return rows


async def forget(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> None:
    """Leave nothing of where these customers stood."""
    await connection.execute(_FORGET, list(customer_ids))
