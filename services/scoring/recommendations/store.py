"""SQL of the recommendations: what was learnt, what is offered to one customer, when to learn anew."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.scoring.facts.columns import fetch_columns
from services.scoring.facts.histories import Floats
from services.scoring.recommendations.neighbours import Terms
from services.scoring.recommendations.worker import Learnt

PIECE = 1 << 18  # bytes of rows handed over at a time
FORGET = 50_000  # rows per DELETE
MOST_BASKET = 50  # items of a customer, the newest, that recommendations stand on

# Each customer's items, as of $1 and as of $2 before it; purchases given back in full by then never were. Of
# a customer the newest $3 items count, of all the newest $4 pairs.
_PAIRS = """
    WITH kept AS (
        SELECT p.customer_id, i.number, (p.occurred_at AT TIME ZONE 'UTC')::date AS day
        FROM purchases p
        JOIN purchase_lines l ON l.purchase_id = p.id
        JOIN items i ON i.sku = l.sku
        LEFT JOIN (
            SELECT purchase_id, sum(amount) AS amount FROM refunds
            WHERE (occurred_at AT TIME ZONE 'UTC')::date <= $1::date GROUP BY 1
        ) g ON g.purchase_id = p.id
        WHERE (p.occurred_at AT TIME ZONE 'UTC')::date <= $1::date
          AND (g.amount IS NULL OR g.amount < p.amount)
    ), pairs AS (
        SELECT customer_id, number, max(day) AS last_on, max(day) FILTER (WHERE day <= $2::date) AS seen_on
        FROM kept GROUP BY 1, 2
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY last_on DESC, number) AS place
        FROM pairs
    ), capped AS (
        SELECT * FROM ranked WHERE place <= $3 ORDER BY last_on DESC, customer_id, number LIMIT $4
    )
    SELECT (dense_rank() OVER (ORDER BY c.customer_id))::float8, c.number::float8,
           ($1::date - c.last_on)::float8, coalesce($1::date - c.seen_on, -1)::float8,
           coalesce(array_position($6::text[], a.value #>> '{}') - 1, 0)::float8
    FROM capped c
    LEFT JOIN customer_attributes a ON a.customer_id = c.customer_id AND a.name = $5::text
"""
_WINDOW = """
    SELECT (min(p.occurred_at) AT TIME ZONE 'UTC')::date FROM purchases p
    WHERE EXISTS (SELECT FROM purchase_lines l WHERE l.purchase_id = p.id)
"""
_GROUPS = """
    SELECT value #>> '{}' AS name FROM customer_attributes
    WHERE name = $1 AND value #>> '{}' <> ''
    GROUP BY 1 HAVING count(*) >= $2 ORDER BY count(*) DESC, 1 LIMIT $3
"""
# Those that sell come first, and then what is new.
_CATALOGUE = """
    SELECT i.number, i.category, i.attributes::text AS attributes FROM items i
    LEFT JOIN (SELECT sku, count(*) AS lines FROM purchase_lines GROUP BY 1) l USING (sku)
    ORDER BY coalesce(l.lines, 0) DESC, i.number LIMIT $1
"""
_ADD = """
    INSERT INTO recommendation_models (version, window_from, window_to, customers, items, pairs, neighbours,
                                       terms, groups, data_hash, quality, seconds)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9, $10, $11::text::jsonb, $12)
"""
_FORGET_NEIGHBOURS = """
    DELETE FROM item_neighbours WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM item_neighbours
        WHERE version < (SELECT max(version) FROM recommendation_models) LIMIT $1))
"""
_FORGET_POPULARITY = """
    DELETE FROM item_popularity WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM item_popularity
        WHERE version < (SELECT max(version) FROM recommendation_models) LIMIT $1))
"""
_ENOUGH = """
    SELECT c.since < clock_timestamp() - make_interval(secs => $3)
        OR c.since < clock_timestamp() - make_interval(secs => $2) AND c.lines >= $1 * coalesce((
            SELECT pairs FROM recommendation_models ORDER BY version DESC LIMIT 1), 0)
    FROM (SELECT sum(lines) AS lines, min(at) AS since FROM recommendation_changes) c
"""
_NEWEST = """
    SELECT version, window_from, window_to, customers, items, pairs, neighbours, terms::text AS terms, groups,
           data_hash, quality::text AS quality, seconds, created_at
    FROM recommendation_models WHERE $1::int IS NULL OR version < $1 ORDER BY version DESC LIMIT $2
"""
# What is known of whoever this customer is one with now; nobody of those who are forgotten.
_CUSTOMER = """
    SELECT f.customer_id, f.purchases,
           (SELECT a.value #>> '{}' FROM customer_attributes a
            WHERE a.customer_id = f.customer_id AND a.name = $2::text) AS grouping,
           (SELECT count(*) FROM purchases p WHERE p.customer_id = f.customer_id
            AND NOT EXISTS (SELECT FROM purchase_lines l WHERE l.purchase_id = p.id))::int AS bare,
           (SELECT coalesce(sum(lines), 0) FROM recommendation_changes)::int AS changes
    FROM customer_facts f
    WHERE f.customer_id = coalesce((SELECT owner FROM owners WHERE customer_id = $1), $1)
"""
_RECOMMEND = Path(__file__).with_name("offers.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Columns:
    """Pairs of customers and items as a task wants them."""

    customer: Floats
    item: Floats
    age_days: Floats
    seen_age_days: Floats
    grouping: Floats


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """An item as the database numbers it, and what it is."""

    number: int
    category: str | None
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LearntModel:
    """A version: what it was learnt from, with which terms, and how well that foretold."""

    version: int
    window_from: date
    window_to: date
    customers: int
    items: int
    pairs: int
    neighbours: int
    terms: Terms
    groups: list[str]
    data_hash: str
    quality: dict[str, Any] | None
    seconds: float
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KnownCustomer:
    """Who asks: who they are now, their purchases, those of them that name no item, and their group.

    `changes` are the lines, of anybody, that the model does not know of.
    """

    customer_id: UUID
    purchases: int
    grouping: str | None
    bare: int
    changes: int


@dataclass(frozen=True, slots=True)
class Offer:
    """An item for a customer: its parts, each before its weight, and which of their items each came from."""

    sku: str
    category: str | None
    price: int | None
    currency: str | None
    told: bool
    score: float
    together: float
    alike: float
    popular: float
    goes_with: str | None
    goes_with_on: date | None
    customers: int | None
    looks_like: str | None
    looks_like_on: date | None


async def read_pairs(
    connection: asyncpg.Connection,
    observed: date,
    split_on: date,
    *,
    most_per_customer: int,
    most: int,
    attribute: str | None,
    groups: Sequence[str],
) -> Columns:
    """Who bought what as of the observation date, in bounded numbers."""
    columns = await fetch_columns(
        connection, _PAIRS, observed, split_on, most_per_customer, most, attribute, groups, count=5
    )
    return Columns(*columns)


async def read_groups(
    connection: asyncpg.Connection, attribute: str | None, least: int, most: int
) -> list[str]:
    """Everybody (''), and the values of the attribute that enough customers have."""
    if attribute is None:
        return [""]
    return ["", *(row["name"] for row in await connection.fetch(_GROUPS, attribute, least, most))]


async def read_catalogue(connection: asyncpg.Connection, most: int) -> list[CatalogueItem]:
    """The items to learn of, by their numbers."""
    rows = await connection.fetch(_CATALOGUE, most)
    return await asyncio.to_thread(_catalogue, rows)


async def first_day(connection: asyncpg.Connection) -> date | None:
    """The day of the first purchase that names items."""
    day: date | None = await connection.fetchval(_WINDOW)
    return day


async def next_version(connection: asyncpg.Connection) -> int:
    """A number for what is about to be learnt."""
    version: int = await connection.fetchval(
        "SELECT nextval(pg_get_serial_sequence('recommendation_models', 'version'))"
    )
    return version


async def write(
    connection: asyncpg.Connection,
    version: int,
    learnt: Learnt,
    *,
    terms: Terms,
    groups: Sequence[str],
    window: tuple[date, date],
    seconds: float,
) -> None:
    """Keep what was learnt; it serves when the transaction commits."""
    await connection.execute(
        _ADD,
        version,
        *window,
        learnt.customers,
        learnt.items,
        learnt.pairs,
        learnt.neighbours,
        orjson.dumps(asdict(terms)).decode(),
        list(groups),
        learnt.data_hash,
        None if learnt.quality is None else orjson.dumps(learnt.quality).decode(),
        seconds,
    )
    for table, rows in (
        ("item_neighbours", learnt.neighbour_rows),
        ("item_popularity", learnt.popularity_rows),
    ):
        await connection.copy_to_table(table, source=_pieces(rows), format="binary")


async def tidy(connection: asyncpg.Connection) -> None:
    """Delete the rows of versions that no longer serve, some at a time, and let the planner know the new
    ones: a plan made for what was there before takes a hundred times as long."""
    for statement in (_FORGET_NEIGHBOURS, _FORGET_POPULARITY):
        while await connection.execute(statement, FORGET) == f"DELETE {FORGET}":
            pass
    await connection.execute("ANALYZE items, item_neighbours, item_popularity")


async def note_changes(connection: asyncpg.Connection, lines: int) -> None:
    """Say that so many lines came, or went back, which the neighbours do not know of."""
    if lines:
        await connection.execute("INSERT INTO recommendation_changes (lines) VALUES ($1)", lines)


async def last_change(connection: asyncpg.Connection) -> int:
    """The newest change; what is read after this knows of it and all before."""
    change: int = await connection.fetchval("SELECT coalesce(max(id), 0) FROM recommendation_changes")
    return change


async def settle_changes(connection: asyncpg.Connection, until: int) -> None:
    """These changes are known now."""
    await connection.execute("DELETE FROM recommendation_changes WHERE id <= $1", until)


async def enough_changed(
    connection: asyncpg.Connection, *, share: float, quiet_s: float, wait_s: float
) -> bool:
    """Whether to learn anew: `share` of the known pairs is new, the first of it `quiet_s` ago; or anything
    is, `wait_s` ago."""
    return bool(await connection.fetchval(_ENOUGH, share, quiet_s, wait_s))


async def list_models(connection: asyncpg.Connection, *, before: int | None, limit: int) -> list[LearntModel]:
    """Versions, newest first: the first of all serves."""
    return [
        LearntModel(
            **dict(row)
            | {
                "terms": Terms(**orjson.loads(row["terms"])),
                "quality": orjson.loads(row["quality"]) if row["quality"] else None,
            }
        )
        for row in await connection.fetch(_NEWEST, before, limit)
    ]


async def find_customer(
    connection: asyncpg.Connection, customer_id: UUID, attribute: str | None
) -> KnownCustomer | None:
    """The customer of this id, or whom they became one with; None when nobody is known by it."""
    row = await connection.fetchrow(_CUSTOMER, customer_id, attribute)
    return KnownCustomer(**dict(row)) if row else None


async def recommend(
    connection: asyncpg.Connection,
    customer_id: UUID,
    *,
    observed: date,
    model: LearntModel,
    group: int,
    limit: int,
) -> list[Offer]:
    """The best items for a customer that they have not bought and that are in stock."""
    terms = model.terms
    rows = await connection.fetch(
        _RECOMMEND,
        customer_id,
        observed,
        MOST_BASKET,
        model.version,
        terms.half_life_days,
        group,
        limit,
        terms.together,
        terms.alike,
        terms.popular,
    )
    return [Offer(**dict(row)) for row in rows]


def _catalogue(rows: Sequence[asyncpg.Record]) -> list[CatalogueItem]:
    found = [CatalogueItem(r["number"], r["category"], orjson.loads(r["attributes"])) for r in rows]
    return sorted(found, key=lambda item: item.number)


async def _pieces(rows: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(rows), PIECE):
        yield rows[start : start + PIECE]
