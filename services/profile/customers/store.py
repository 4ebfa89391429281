"""All SQL of the customers' records and of finding them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from services.profile.attributes.rules import NAME
from services.profile.customers.rules import search_keys, search_range
from services.profile.identities.rules import Identity

# Indexes: customers_pkey, and in the view identities_customer and attribute_values_pkey.
_READ = "SELECT version, document FROM customer_documents WHERE id = $1"
_NEWEST = """
    SELECT id, document FROM customer_documents WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2
"""
# Index: identities_pkey.
_BY_IDENTITY = """
    SELECT c.id, c.document FROM identities AS owned JOIN customer_documents AS c ON c.id = owned.customer_id
    WHERE (owned.kind, owned.source, owned.value) = ($1, $2, $3)
"""
# Indexes: search_keys_pkey walks the keys in order, search_keys_customer leaves each customer its first key.
_SEARCH = """
    WITH found AS (
        SELECT s.key, s.customer_id FROM search_keys AS s
        WHERE s.key >= $1 AND s.key <= $2 AND (s.key, s.customer_id) > ($3, $4)
          AND NOT EXISTS (SELECT FROM search_keys AS earlier
                          WHERE earlier.customer_id = s.customer_id
                            AND earlier.key >= $1 AND earlier.key < s.key)
        ORDER BY s.key, s.customer_id LIMIT $5)
    SELECT found.key, c.id, c.document FROM found JOIN customer_documents AS c ON c.id = found.customer_id
    ORDER BY found.key, c.id
"""

_INSERT = """
    INSERT INTO customers (id, created_at, updated_at)
    SELECT id, $2, $2 FROM unnest($1::uuid[]) AS id ORDER BY id
"""
_CHANGED = "UPDATE customers SET version = version + 1, updated_at = $2 WHERE id = ANY($1::uuid[])"
_LOCK = "SELECT id, version FROM customers WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"

_KEYED = """
    SELECT c.id, (SELECT v.value #>> '{}' FROM attribute_values AS v
                  WHERE v.customer_id = c.id AND v.name = $2 AND v.rank = 0) AS name,
           i.kind, i.source, i.value
    FROM unnest($1::uuid[]) AS c (id) LEFT JOIN identities AS i ON i.customer_id = c.id
"""
_FORGET_KEYS = """
    DELETE FROM search_keys AS s WHERE s.customer_id = ANY($1::uuid[])
      AND NOT EXISTS (SELECT FROM unnest($2::text[], $3::uuid[]) AS kept (key, customer_id)
                      WHERE kept.key = s.key AND kept.customer_id = s.customer_id)
"""
_LEARN_KEYS = """
    INSERT INTO search_keys (key, customer_id) SELECT * FROM unnest($1::text[], $2::uuid[])
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Document:
    """A customer as JSON text, with the version that it shows."""

    version: int
    json: str


@dataclass(frozen=True, slots=True)
class Found:
    """A customer in a list: the place in its order, and the JSON text."""

    place: tuple[str | UUID, ...]
    json: str


async def read(connection: asyncpg.Connection | asyncpg.Pool, customer_id: UUID) -> Document | None:
    """One customer."""
    row = await connection.fetchrow(_READ, customer_id)
    return Document(row["version"], row["document"]) if row else None


async def newest(pool: asyncpg.Pool, after: UUID | None, limit: int) -> list[Found]:
    """Customers, the latest registered first."""
    return [Found((row["id"],), row["document"]) for row in await pool.fetch(_NEWEST, after, limit)]


async def by_identity(pool: asyncpg.Pool, identity: Identity) -> list[Found]:
    """The one customer who owns the identity, if any."""
    rows = await pool.fetch(_BY_IDENTITY, identity.kind, identity.source, identity.value)
    return [Found((row["id"],), row["document"]) for row in rows]


async def search(pool: asyncpg.Pool, query: str, after: tuple[str, UUID] | None, limit: int) -> list[Found]:
    """Customers with a key that begins with the folded query, in the order of the key."""
    first, last = search_range(query)
    key, customer_id = after or ("", UUID(int=0))
    rows = await pool.fetch(_SEARCH, first, last, key, customer_id, limit)
    return [Found((row["key"], row["id"]), row["document"]) for row in rows]


async def existing(connection: asyncpg.Connection | asyncpg.Pool, customers: Collection[UUID]) -> set[UUID]:
    """Those of the customers who exist."""
    rows = await connection.fetch("SELECT id FROM customers WHERE id = ANY($1::uuid[])", list(customers))
    return {row["id"] for row in rows}


async def insert(connection: asyncpg.Connection, customers: Sequence[UUID], now: datetime) -> None:
    """Make empty records."""
    await connection.execute(_INSERT, list(customers), now)


async def lock(connection: asyncpg.Connection, customers: Collection[UUID]) -> dict[UUID, int]:
    """Lock records until the transaction ends, in the order of their ids; returns their versions."""
    return {row["id"]: row["version"] for row in await connection.fetch(_LOCK, list(customers))}


async def changed(connection: asyncpg.Connection, customers: Collection[UUID], now: datetime) -> None:
    """Count a change of locked records."""
    await connection.execute(_CHANGED, sorted(customers), now)


async def index(connection: asyncpg.Connection, customers: Collection[UUID]) -> None:
    """Bring the search keys of customers in line with their names and identities."""
    ids = list(customers)
    names: dict[UUID, str | None] = {}
    identities: dict[UUID, list[Identity]] = {customer_id: [] for customer_id in ids}
    for row in await connection.fetch(_KEYED, ids, NAME):
        names[row["id"]] = row["name"]
        if row["kind"] is not None:
            identities[row["id"]].append(Identity(row["kind"], row["source"], row["value"]))
    pairs = sorted((key, i) for i in ids for key in search_keys(names.get(i), identities[i]))
    keys, owners = [key for key, _ in pairs], [owner for _, owner in pairs]
    await connection.execute(_FORGET_KEYS, ids, keys, owners)
    await connection.execute(_LEARN_KEYS, keys, owners)
