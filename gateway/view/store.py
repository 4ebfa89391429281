"""All SQL of the sections and identities of the view."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from gateway.view.answer import Row
from gateway.view.position import Position
from shared.contracts.sections import SECTIONS


class Snapshot(NamedTuple):
    """A section of one customer as the view keeps it; `body` is JSON text, or None for a tombstone."""

    customer_id: UUID
    section: str
    version: int
    as_of: datetime
    body: str | None


# Rows as gateway/view/answer.py takes them. Postgres writes `as_of` as JSON, which costs less than making it
# a datetime here and writing that.
# Index: view_sections_pkey.
_READ_MANY = """
    SELECT customer_id, section, version, to_json(as_of)::text, body FROM view_sections
    WHERE customer_id = ANY($1::uuid[])
"""

# Indexes: view_identities_pkey, then view_sections_pkey.
_FIND = """
    SELECT customer_id, section, version, to_json(as_of)::text, body FROM view_sections
    WHERE customer_id = (
        SELECT held.customer_id FROM view_identities AS held
        JOIN view_sections AS profile USING (customer_id)
        WHERE held.handle = $1 AND profile.section = 'profile'
        ORDER BY profile.version DESC LIMIT 1)
"""

_APPLY = """
    INSERT INTO view_sections AS stored (customer_id, section, version, as_of, body)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[])
    ON CONFLICT (customer_id, section) DO UPDATE
        SET version = excluded.version, as_of = excluded.as_of, body = excluded.body
        WHERE excluded.version > stored.version
    RETURNING customer_id, section
"""

# Index: view_identities_customer. Rows that stay are not touched.
_REPLACE_HANDLES = """
    WITH held AS (SELECT * FROM unnest($2::uuid[], $3::bytea[]) AS held (customer_id, handle)),
    dropped AS (
        DELETE FROM view_identities AS stored WHERE stored.customer_id = ANY($1::uuid[])
        AND NOT EXISTS (SELECT FROM held
                        WHERE held.customer_id = stored.customer_id AND held.handle = stored.handle))
    INSERT INTO view_identities (handle, customer_id) SELECT handle, customer_id FROM held
    ON CONFLICT DO NOTHING
"""

# Indexes: view_sections_pkey, timeline_heads_pkey.
_POSITION = """
    SELECT section, version, body IS NOT NULL AS known FROM view_sections WHERE customer_id = $1
    UNION ALL SELECT 'line', position, false FROM timeline_heads WHERE customer_id = $1
"""

# Index: view_sections_pkey. One row of input for each reader and section.
_SECTIONS_BEYOND = """
    SELECT read.reader, section, stored.version, stored.as_of, stored.body
    FROM unnest($1::int[], $2::uuid[], $3::text[], $4::bigint[])
        AS read (reader, customer_id, section, version)
    JOIN view_sections AS stored USING (customer_id, section)
    WHERE stored.version > read.version
    ORDER BY read.reader, stored.as_of
"""

# Index: view_sections_pkey, read in its order.
_CUSTOMERS_AFTER = """
    SELECT DISTINCT customer_id FROM view_sections WHERE customer_id > $1 ORDER BY customer_id LIMIT $2
"""


async def read_many(pool: asyncpg.Pool, customer_ids: Sequence[UUID]) -> list[list[Row]]:
    """Each customer's rows, as `from_rows` takes them, in the order of the ids; none for a stranger."""
    found: dict[UUID, list[Row]] = {customer_id: [] for customer_id in customer_ids}
    for row in await pool.fetch(_READ_MANY, customer_ids):
        found[row[0]].append(row[1:])
    return [found[customer_id] for customer_id in customer_ids]


async def find(pool: asyncpg.Pool, handle: bytes) -> tuple[UUID, list[Row]] | None:
    """The customer who holds this handle, with their rows as in `read_many`."""
    rows = await pool.fetch(_FIND, handle)
    return (rows[0][0], [row[1:] for row in rows]) if rows else None


async def position(pool: asyncpg.Pool, customer_id: UUID) -> Position | None:
    """Where a stream of this customer stands that begins now; None for a stranger."""
    rows = await pool.fetch(_POSITION, customer_id)
    if not any(row["known"] for row in rows):
        return None
    at = {row["section"]: row["version"] for row in rows}
    return Position(at.get("line", 0), tuple(at.get(section, 0) for section in SECTIONS))


async def sections_beyond(
    pool: asyncpg.Pool, readers: Sequence[tuple[UUID, Sequence[int]]]
) -> list[asyncpg.Record]:
    """The sections newer than the versions that each reader has, with `reader` as the reader's index."""
    read = [
        (index, customer_id, section, version)
        for index, (customer_id, versions) in enumerate(readers)
        for section, version in zip(SECTIONS, versions, strict=True)
    ]
    rows: list[asyncpg.Record] = await pool.fetch(
        _SECTIONS_BEYOND, *([list(column) for column in zip(*read, strict=True)] or [[]] * 4)
    )
    return rows


async def apply(connection: asyncpg.Connection, snapshots: Iterable[Snapshot]) -> set[tuple[UUID, str]]:
    """Keep what is newer than what is kept; one statement, rows locked in the order of their key.

    Args:
        snapshots: at most one for each customer and section.

    Returns:
        The customers and sections that changed.
    """
    ordered = sorted(snapshots, key=lambda snapshot: (snapshot.customer_id.int, snapshot.section))
    columns = [list(column) for column in zip(*ordered, strict=True)] or [[]] * 5
    rows = await connection.fetch(_APPLY, *columns)
    return {(row[0], row[1]) for row in rows}


async def replace_handles(connection: asyncpg.Connection, held: dict[UUID, set[bytes]]) -> None:
    """Give these customers exactly these handles.

    Called in the transaction of `apply`, after it: the rows that it locked keep two snapshots of one customer
    apart, and a statement of its own sees what the earlier one has committed.
    """
    pairs = sorted((customer_id, handle) for customer_id, handles in held.items() for handle in handles)
    await connection.execute(
        _REPLACE_HANDLES, sorted(held), [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    )


async def customers_after(pool: asyncpg.Pool, after: UUID, limit: int) -> list[UUID]:
    """The next customers of the view, in the order of their ids."""
    return [row[0] for row in await pool.fetch(_CUSTOMERS_AFTER, after, limit)]
