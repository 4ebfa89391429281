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
# stock, price or repeatability it does not, as these are read when somebody asks.
_TELL = """
    WITH said AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::bool[], $6::bigint[],
                             $7::text[])
            AS t (sku, category, attributes, in_stock, repeatable, price, currency)
    ), before AS (
        SELECT i.sku, i.category, i.attributes FROM items i JOIN said USING (sku)
    ), written AS (
        INSERT INTO items AS i (sku, category, attributes, in_stock, repeatable, price, currency, told)
        SELECT sku, category, attributes::jsonb, in_stock, repeatable, price, currency, true
        FROM said ORDER BY sku
        ON CONFLICT (sku) DO UPDATE SET
            category = EXCLUDED.category, attributes = EXCLUDED.attributes, in_stock = EXCLUDED.in_stock,
            repeatable = EXCLUDED.repeatable, price = EXCLUDED.price, currency = EXCLUDED.currency,
            told = true, version = i.version + 1
        WHERE (i.category, i.attributes, i.in_stock, i.repeatable, i.price, i.currency, i.told)
              IS DISTINCT FROM (EXCLUDED.category, EXCLUDED.attributes, EXCLUDED.in_stock,
                                EXCLUDED.repeatable, EXCLUDED.price, EXCLUDED.currency, true)
        RETURNING i.sku, i.category, i.attributes, i.version
    ), other AS (
        SELECT count(*)::int AS items FROM written w LEFT JOIN before b USING (sku)
        WHERE b.sku IS NULL OR (w.category, w.attributes) IS DISTINCT FROM (b.category, b.attributes)
    ), noted AS (
        INSERT INTO recommendation_changes (lines) SELECT items FROM other WHERE items > 0
    )
    SELECT count(*) FILTER (WHERE b.sku IS NULL)::int AS created, count(b.sku)::int AS changed
    FROM written w LEFT JOIN before b USING (sku)
"""
# The newest line that names a category says which one it is of, until somebody tells.
_FIND_IN_LINES = """
    INSERT INTO items AS i (sku, category, told)
    SELECT DISTINCT ON (l.sku) l.sku, l.category, false
    FROM purchase_lines l JOIN purchases p ON p.id = l.purchase_id
    ORDER BY l.sku, l.category IS NULL, p.occurred_at DESC, l.purchase_id
    ON CONFLICT (sku) DO UPDATE SET category = EXCLUDED.category, version = i.version + 1
    WHERE NOT i.told AND i.category IS DISTINCT FROM EXCLUDED.category
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
