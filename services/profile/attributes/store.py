"""All SQL of attribute values. The caller holds the customers' locks, or has just made them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import asyncpg
import orjson

from services.profile.attributes.rules import Value

# Index: attribute_values_pkey.
_READ = """
    SELECT customer_id, name, value::text, source, trust, observed_at FROM attribute_values
    WHERE customer_id = ANY($1::uuid[]) ORDER BY customer_id, name, rank
"""
_CLEAR = """
    DELETE FROM attribute_values AS v USING unnest($1::uuid[], $2::text[]) AS gone (customer_id, name)
    WHERE v.customer_id = gone.customer_id AND v.name = gone.name
"""
_WRITE = """
    INSERT INTO attribute_values (customer_id, name, rank, value, source, trust, observed_at)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::jsonb[], $5::text[], $6::smallint[],
                         $7::timestamptz[])
"""

# The values of one customer, by name, in the order of the rule.
Values = dict[str, list[Value]]


async def read(connection: asyncpg.Connection, customers: Collection[UUID]) -> dict[UUID, Values]:
    """All values of these customers."""
    known: dict[UUID, Values] = {customer_id: defaultdict(list) for customer_id in customers}
    for row in await connection.fetch(_READ, list(customers)):
        value = Value(orjson.loads(row["value"]), row["source"], row["trust"], row["observed_at"])
        known[row["customer_id"]][row["name"]].append(value)
    return known


async def replace(
    connection: asyncpg.Connection, values: Mapping[tuple[UUID, str], Sequence[Value]], *, new: bool = False
) -> None:
    """Write the values of these customers' attributes anew, each list in the order of the rule.

    Args:
        new: the customers were made in this transaction, so there is nothing to clear.
    """
    if not values:
        return
    if not new:
        await connection.execute(_CLEAR, [c for c, _ in values], [name for _, name in values])
    rows = [(c, n, rank, v) for (c, n), ranked in values.items() for rank, v in enumerate(ranked)]
    await connection.execute(
        _WRITE,
        [customer_id for customer_id, _, _, _ in rows],
        [name for _, name, _, _ in rows],
        [rank for _, _, rank, _ in rows],
        [value.written.decode() for _, _, _, value in rows],
        [value.source for _, _, _, value in rows],
        [value.trust for _, _, _, value in rows],
        [value.observed_at for _, _, _, value in rows],
    )
