"""All SQL of identities. Set-based: one statement for one identity or a thousand."""

from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

import asyncpg
import orjson

from services.profile.identities.rules import Claim, Identity, Owner
from shared.contracts.handles import HandleKind

# Index: identities_pkey.
_FIND = """
    SELECT kind, source, value, customer_id, verified FROM identities
    WHERE (kind, source, value) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))
"""

# Claimed in the key's order, so that two transactions that claim the same identities wait, never deadlock.
_CLAIM = """
    INSERT INTO identities (kind, source, value, verified, customer_id)
    SELECT new.* FROM json_to_recordset($1::text::json)
                      AS new (kind text, source text, value text, verified boolean, customer_id uuid)
    ORDER BY new.kind COLLATE "C", new.source COLLATE "C", new.value COLLATE "C"
    ON CONFLICT DO NOTHING
    RETURNING kind, source, value
"""

# Index: identities_customer.
_COUNT = """
    SELECT customer_id, kind, count(*) AS held FROM identities
    WHERE customer_id = ANY($1::uuid[]) GROUP BY customer_id, kind
"""


async def find(connection: asyncpg.Connection, wanted: Collection[Identity]) -> dict[Identity, Owner]:
    """The owners of those identities that have one."""
    if not wanted:
        return {}
    rows = await connection.fetch(_FIND, *_columns(wanted))
    return {_identity(row): Owner(row["customer_id"], row["verified"]) for row in rows}


async def claim(connection: asyncpg.Connection, claims: Sequence[tuple[UUID, Claim]]) -> set[Identity]:
    """Give identities to customers; returns those that were free. Waits for a concurrent claim to end."""
    if not claims:
        return set()
    wanted = [
        {"kind": c.identity.kind, "source": c.identity.source, "value": c.identity.value}
        | {"verified": c.verified, "customer_id": customer_id}
        for customer_id, c in claims
    ]
    rows = await connection.fetch(_CLAIM, orjson.dumps(wanted, default=str).decode())
    return {_identity(row) for row in rows}


async def count(
    connection: asyncpg.Connection, customers: Collection[UUID]
) -> dict[UUID, dict[HandleKind, int]]:
    """How many identities of each kind these customers hold."""
    held: dict[UUID, dict[HandleKind, int]] = {customer_id: {} for customer_id in customers}
    for row in await connection.fetch(_COUNT, list(customers)):
        held[row["customer_id"]][row["kind"]] = row["held"]
    return held


async def verify(connection: asyncpg.Connection, identity: Identity) -> None:
    """Write down that an identity is verified."""
    await connection.execute(
        "UPDATE identities SET verified = true WHERE (kind, source, value) = ($1, $2, $3)",
        identity.kind,
        identity.source,
        identity.value,
    )


async def release(connection: asyncpg.Connection, customer_id: UUID, identity: Identity) -> bool:
    """Take an identity from its customer; False when it was not theirs."""
    deleted = await connection.fetchval(
        """DELETE FROM identities WHERE (kind, source, value) = ($1, $2, $3) AND customer_id = $4
           RETURNING true""",
        identity.kind,
        identity.source,
        identity.value,
        customer_id,
    )
    return deleted is not None


def _columns(identities: Iterable[Identity]) -> tuple[list[str], list[str], list[str]]:
    items = list(identities)
    return [i.kind for i in items], [i.source for i in items], [i.value for i in items]


def _identity(row: asyncpg.Record) -> Identity:
    return Identity(row["kind"], row["source"], row["value"])
