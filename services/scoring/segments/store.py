"""SQL of the rules: who fits, who came in and who left, and how far a walk over all has come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import asyncpg

from services.scoring.due import BEFORE_ALL
from services.scoring.segments.compiler import compile_all
from services.scoring.segments.expressions import Expression
from services.scoring.segments.fields import SOURCES

RULES_AT_ONCE = 10  # in one statement, so that its plan stays small

_STATE = "SELECT version, as_of, after FROM segment_walk"
# Whoever asks for a walk holds this row until the end of the transaction: edits come one after the other.
_BEGIN = """
    UPDATE segment_walk
    SET version = version + 1, after = $1, as_of = coalesce($2, as_of), began_at = clock_timestamp()
    RETURNING began_at
"""
_ADVANCE = "UPDATE segment_walk SET after = $1 WHERE version = $2 RETURNING began_at"
_DONE = """
    WITH gone AS (DELETE FROM segments WHERE deleted_at IS NOT NULL AND deleted_at <= $1)
    UPDATE segments SET computed_at = clock_timestamp() WHERE deleted_at IS NULL AND changed_at <= $1
"""
# In the order of arrival; whoever changes something meanwhile appends after these.
# In one order, before rows that refer to them are written: a reaction locks its customers in the same order.
_HOLD = """
    SELECT customer_id FROM customer_facts WHERE customer_id = ANY ($1) ORDER BY customer_id FOR KEY SHARE
"""
_RULES = "SELECT id, expression FROM segments WHERE deleted_at IS NULL ORDER BY id"
# Pairs that are new come in, those of these customers that are no more leave; who has any is told and marked
# once.
_WRITE = """
    WITH told AS (
        SELECT t.customer_id, t.segment_id FROM unnest($1::uuid[], $2::uuid[]) AS t (customer_id, segment_id)
    ), came AS (
        INSERT INTO segment_members (segment_id, customer_id)
        SELECT t.segment_id, t.customer_id FROM told t ORDER BY 1, 2
        ON CONFLICT DO NOTHING
        RETURNING customer_id, segment_id
    ), went AS (
        DELETE FROM segment_members m
        WHERE m.customer_id = ANY ($3)
          AND NOT EXISTS (SELECT FROM told t
                          WHERE t.customer_id = m.customer_id AND t.segment_id = m.segment_id)
        RETURNING customer_id, segment_id
    ), changes AS (
        SELECT x.customer_id,
               coalesce(jsonb_agg(g.name ORDER BY g.name) FILTER (WHERE x.came), '[]') AS entered,
               coalesce(jsonb_agg(g.name ORDER BY g.name) FILTER (WHERE NOT x.came), '[]') AS gone
        FROM (SELECT *, true AS came FROM came UNION ALL SELECT *, false FROM went) x
        JOIN segments g ON g.id = x.segment_id
        GROUP BY 1
    ), emitted AS (
        SELECT outbox_emit('segment.changed', c.customer_id, jsonb_build_object(
            'customer_id', c.customer_id, 'kind', 'rule', 'entered', c.entered, 'left', c.gone,
            'as_of', to_char($4::date, 'YYYY-MM-DD"T00:00:00Z"'))) AS id
        FROM changes c
    ), marked AS (
        INSERT INTO section_marks (customer_id) SELECT customer_id FROM changes
    )
    SELECT count(emitted.id) FROM emitted
"""
# The primary key finds both in the order of customers.
_CUSTOMERS = """
    SELECT customer_id, since FROM segment_members
    WHERE segment_id = $1 AND customer_id > $2 ORDER BY customer_id LIMIT $3
"""
_COUNTS = """
    SELECT segment_id, count(*) AS members FROM segment_members
    WHERE segment_id = ANY ($1) GROUP BY segment_id
"""
_COLUMNS = "id, name, description, expression, version, created_at, changed_at, computed_at"
_ADD = f"""
    INSERT INTO segments (name, description, expression, created_at, changed_at) VALUES ($1, $2, $3, $4, $4)
    ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608
_CHANGE = f"""
    UPDATE segments SET description = $2, expression = $3, changed_at = $4, version = version + 1
    WHERE id = $1 AND version = $5 AND deleted_at IS NULL RETURNING {_COLUMNS}
"""  # noqa: S608
_READ = f"SELECT {_COLUMNS} FROM segments WHERE id = $1 AND deleted_at IS NULL"  # noqa: S608
_LIST = f"""
    SELECT {_COLUMNS} FROM segments WHERE id > $1 AND deleted_at IS NULL ORDER BY id LIMIT $2
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class State:
    """As of when segments are, and how far a walk over all has come; None: there is none under way."""

    version: int
    as_of: date | None
    after: UUID | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A rule with a name; `computed_at` is when all customers were last looked at, None: not yet."""

    id: UUID
    name: str
    description: str
    expression: str
    version: int
    created_at: datetime
    changed_at: datetime
    computed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many customers there are and fit an expression, some of them, and how many fit each comparison."""

    customers: int
    fitting: int
    parts: list[int]
    sample: list[UUID]


async def read_state(connection: asyncpg.Connection) -> State:
    """How far membership has come."""
    return State(*await connection.fetchrow(_STATE))


async def begin_walk(connection: asyncpg.Connection, as_of: date | None = None) -> datetime:
    """Have all customers looked at from the first on; as of a new date if one is given.

    Edits that this is for happen after it, at the moment that it returns.
    """
    began_at: datetime = await connection.fetchval(_BEGIN, BEFORE_ALL, as_of)
    return began_at


async def advance(connection: asyncpg.Connection, after: UUID | None, version: int) -> None:
    """The walk has come this far; None: it is done. Nothing happens when it was begun anew meanwhile."""
    began_at = await connection.fetchval(_ADVANCE, after, version)
    if after is None and began_at is not None:
        await connection.execute(_DONE, began_at)


async def hold(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> list[UUID]:
    """Those of these customers who are there; they stay until the transaction ends."""
    return [row["customer_id"] for row in await connection.fetch(_HOLD, customer_ids)]


async def read_rules(connection: asyncpg.Connection) -> dict[UUID, str]:
    """The expressions of all segments."""
    return {row["id"]: row["expression"] for row in await connection.fetch(_RULES)}


async def fitting(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    rules: Mapping[UUID, Expression],
    observed: date,
) -> tuple[list[UUID], list[UUID]]:
    """Who of these customers fits which rule: pairs as two columns, customers and segments."""
    customers: list[UUID] = []
    segments: list[UUID] = []
    ids = list(rules)
    for start in range(0, len(ids), RULES_AT_ONCE):
        some = ids[start : start + RULES_AT_ONCE]
        compiled = compile_all((rules[i] for i in some), first=3)
        columns = ", ".join(f"array_agg(f.customer_id) FILTER (WHERE {c})" for c in compiled.conditions)
        query = f"""
            SELECT {columns} FROM {SOURCES}
            WHERE f.customer_id = ANY ($2::uuid[]) AND $1::date IS NOT NULL
        """  # noqa: S608 - fixed pieces
        row = await connection.fetchrow(query, observed, customer_ids, *compiled.parameters)
        for segment_id, found in zip(some, row, strict=True):
            customers += found or []
            segments += [segment_id] * len(found or [])
    return customers, segments


async def write_members(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    pairs: tuple[Sequence[UUID], Sequence[UUID]],
    observed: date,
) -> int:
    """Let these customers be in the segments of `pairs` and in no others; returns how many were told of."""
    told: int = await connection.fetchval(_WRITE, *pairs, customer_ids, observed)
    return told


async def count(
    connection: asyncpg.Connection,
    whole: Expression,
    parts: Sequence[Expression],
    observed: date,
    *,
    sample: int,
) -> Counted:
    """Look at all customers: how many fit the whole and each of its parts, and the first that fit."""
    compiled = compile_all([whole, *parts], first=2)
    columns = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in compiled.conditions)
    query = f"SELECT count(*), {columns} FROM {SOURCES} WHERE $1::date IS NOT NULL"  # noqa: S608 - fixed pieces
    customers, fit, *by_part = await connection.fetchrow(query, observed, *compiled.parameters)
    compiled = compile_all([whole], first=3)
    query = f"""
        SELECT f.customer_id FROM {SOURCES} WHERE {compiled.conditions[0]} AND $1::date IS NOT NULL
        ORDER BY f.customer_id LIMIT $2
    """  # noqa: S608 - fixed pieces
    rows = await connection.fetch(query, observed, sample, *compiled.parameters)
    return Counted(customers, fit, by_part, [row["customer_id"] for row in rows])


async def add(
    connection: asyncpg.Connection, name: str, description: str, expression: str, at: datetime
) -> Segment | None:
    """A new segment; None when there is one of this name."""
    return _segment(await connection.fetchrow(_ADD, name, description, expression, at))


async def change(
    connection: asyncpg.Connection, before: Segment, description: str, expression: str, at: datetime
) -> Segment | None:
    """Let a segment say this from now on; None when it has been changed meanwhile."""
    return _segment(
        await connection.fetchrow(_CHANGE, before.id, description, expression, at, before.version)
    )


async def remove(connection: asyncpg.Connection, segment_id: UUID, at: datetime) -> None:
    """Take a segment away; the walk empties it."""
    await connection.execute("UPDATE segments SET deleted_at = $2 WHERE id = $1", segment_id, at)


async def count_segments(connection: asyncpg.Connection) -> int:
    """How many segments there are."""
    found: int = await connection.fetchval("SELECT count(*) FROM segments WHERE deleted_at IS NULL")
    return found


async def read_segment(connection: asyncpg.Connection, segment_id: UUID) -> Segment | None:
    """One segment; None when there is none."""
    return _segment(await connection.fetchrow(_READ, segment_id))


async def list_segments(connection: asyncpg.Connection, after: UUID, limit: int) -> list[Segment]:
    """Segments in the order in which they were made."""
    return [Segment(**row) for row in await connection.fetch(_LIST, after, limit)]


async def count_members(connection: asyncpg.Connection, segment_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many customers are in each of these segments."""
    found = {row["segment_id"]: row["members"] for row in await connection.fetch(_COUNTS, segment_ids)}
    return {segment_id: found.get(segment_id, 0) for segment_id in segment_ids}


async def read_members(
    connection: asyncpg.Connection, segment_id: UUID, after: UUID, limit: int
) -> list[tuple[UUID, datetime]]:
    """Customers of a segment and since when, in the order of their ids."""
    return [
        (row["customer_id"], row["since"])
        for row in await connection.fetch(_CUSTOMERS, segment_id, after, limit)
    ]


def _segment(row: asyncpg.Record | None) -> Segment | None:
    return None if row is None else Segment(**row)
