"""Who is due: customers whose value index, risk, segments or next action want computing anew.

Noted by whoever changes something, taken by the background jobs in the order of arrival. Beside it a job
passes over all customers from time to time, in the order of their ids, and remembers how far it has come.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import asyncpg

Work = Literal["value_index", "churn", "segments", "actions"]
BY_EVENTS: tuple[Work, ...] = ("value_index", "churn", "actions")  # triggers note whose segments are due
BEFORE_ALL = UUID(int=0)  # where a pass begins

_NOTE = """
    INSERT INTO due (work, customer_id)
    SELECT work, customer_id FROM unnest($1::text[]) AS work, unnest($2::uuid[]) AS customer_id
"""
_TAKE = """
    DELETE FROM due WHERE (work, id) IN (
        SELECT work, id FROM due WHERE work = $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING customer_id
"""
_NEXT = "SELECT customer_id FROM customer_facts WHERE customer_id > $1 ORDER BY customer_id LIMIT $2"


async def note(connection: asyncpg.Connection, works: Sequence[Work], customer_ids: Sequence[UUID]) -> None:
    """Say that these want computing anew of these customers."""
    if customer_ids:
        await connection.execute(_NOTE, works, customer_ids)


async def take(connection: asyncpg.Connection, work: Work, limit: int) -> list[UUID]:
    """Customers who are due, taken off the list, each once, in the order of their ids."""
    return sorted({row["customer_id"] for row in await connection.fetch(_TAKE, work, limit)})


async def next_customers(connection: asyncpg.Connection, after: UUID, limit: int) -> list[UUID]:
    """The next of a pass over all, in the order of their ids."""
    return [row["customer_id"] for row in await connection.fetch(_NEXT, after, limit)]
