"""SQL of the items: what there is to sell, told by somebody or known from the lines of purchases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

_SHOW = """
    SELECT sku, category, attributes::text AS attributes, in_stock, repeatable, price, currency, told, version
    FROM items WHERE sku = $1
"""
_LIST = """
    SELECT sku, category, attributes::text AS attributes, in_stock, repeatable, price, currency, told, version
    FROM items WHERE sku > $1 AND ($2::text IS NULL OR category = $2) ORDER BY sku LIMIT $3
"""
# Unchanged items keep their version. A change of what an item is makes the neighbours out of date; of its
# stock, price or repeatability it does not, as these are read when somebody asks. Items that are known are
# updated, not inserted anew: that would use up a number each time.
_TELL = """
    WITH said AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::bool[], $6::bigint[],
                             $7::text[])
            AS t (sku, category, attributes, in_stock, repeatable, price, currency)
    ), before AS MATERIALIZED (
        SELECT number, sku, category, attributes FROM items WHERE sku = ANY ($1) ORDER BY sku FOR UPDATE
    ), changed AS (
        UPDATE items i SET category = s.category, attributes = s.attributes::jsonb, in_stock = s.in_stock,
                           repeatable = s.repeatable, price = s.price, currency = s.currency, told = true,
                           version = i.version + 1
        FROM said s JOIN before b USING (sku)
        WHERE i.number = b.number
          AND (i.category, i.attributes, i.in_stock, i.repeatable, i.price, i.currency, i.told)
              IS DISTINCT FROM (s.category, s.attributes::jsonb, s.in_stock, s.repeatable, s.price,
                                s.currency, true)
        RETURNING (i.category, i.attributes) IS DISTINCT FROM (b.category, b.attributes) AS other
    ), created AS (
        INSERT INTO items AS i (sku, category, attributes, in_stock, repeatable, price, currency, told)
        SELECT sku, category, attributes::jsonb, in_stock, repeatable, price, currency, true FROM said
        WHERE sku NOT IN (SELECT sku FROM before) ORDER BY sku
        ON CONFLICT (sku) DO UPDATE SET
            category = EXCLUDED.category, attributes = EXCLUDED.attributes, in_stock = EXCLUDED.in_stock,
            repeatable = EXCLUDED.repeatable, price = EXCLUDED.price, currency = EXCLUDED.currency,
            told = true, version = i.version + 1
        RETURNING true AS other
    ), noted AS (
        INSERT INTO recommendation_changes (lines) SELECT count(*)
        FROM (SELECT other FROM changed UNION ALL SELECT other FROM created) what
        WHERE other HAVING count(*) > 0
    )
    SELECT (SELECT count(*)::int FROM created) AS created, (SELECT count(*)::int FROM changed) AS changed
"""
# The newest line that names a category says which one it is of, until somebody tells.
_FIND_IN_LINES = """
    WITH named AS (
        SELECT DISTINCT ON (l.sku) l.sku, l.category
        FROM purchase_lines l JOIN purchases p ON p.id = l.purchase_id
        ORDER BY l.sku, l.category IS NULL, p.occurred_at DESC, l.purchase_id
    ), recategorised AS (
        UPDATE items i SET category = n.category, version = i.version + 1
        FROM named n WHERE n.sku = i.sku AND NOT i.told AND i.category IS DISTINCT FROM n.category
    )
    INSERT INTO items (sku, category, told)
    SELECT sku, category, false FROM named n WHERE NOT EXISTS (SELECT FROM items i WHERE i.sku = n.sku)
    ORDER BY sku ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Item:
    """Something to sell; `price` in minor units. `told` is false while only purchases name it."""

    sku: str
    category: str | None
    attributes: dict[str, Any]
    in_stock: bool
    repeatable: bool
    price: int | None
    currency: str | None
    told: bool = True
    version: int = 1


async def show(connection: asyncpg.Connection, sku: str, *, lock: bool = False) -> Item | None:
    """One item, held until the transaction ends when `lock`."""
    row = await connection.fetchrow(_SHOW + "FOR UPDATE" if lock else _SHOW, sku)
    return _item(row) if row else None


async def list_items(
    connection: asyncpg.Connection, *, after: str, category: str | None, limit: int
) -> list[Item]:
    """The next items in the order of their skus."""
    return [_item(row) for row in await connection.fetch(_LIST, after, category, limit)]


async def tell(connection: asyncpg.Connection, items: Sequence[Item]) -> tuple[int, int]:
    """Write items, each sku once; returns how many are new and how many changed."""
    row = await connection.fetchrow(
        _TELL,
        [item.sku for item in items],
        [item.category for item in items],
        [orjson.dumps(item.attributes).decode() for item in items],
        [item.in_stock for item in items],
        [item.repeatable for item in items],
        [item.price for item in items],
        [item.currency for item in items],
    )
    return row["created"], row["changed"]


async def find_in_lines(connection: asyncpg.Connection) -> None:
    """Write down the items that only purchases name, and their categories."""
    await connection.execute(_FIND_IN_LINES)


def _item(row: asyncpg.Record) -> Item:
    return Item(**dict(row) | {"attributes": orjson.loads(row["attributes"])})
