"""Customers who were erased: a digest of the id stays, so that what comes late is not written down."""

from collections.abc import Collection, Iterable
from uuid import UUID

from services.loyalty.ledger.store import Connection, lock_members

_REMEMBER = """
    INSERT INTO forgotten (digest) SELECT sha256(uuid_send(id)) FROM unnest($1::uuid[]) AS id
    ON CONFLICT DO NOTHING
"""
# Index: forgotten_pkey.
_AMONG = """
    SELECT id FROM unnest($1::uuid[]) AS id
     WHERE EXISTS (SELECT FROM forgotten AS f WHERE f.digest = sha256(uuid_send(id)))
"""


class ForgottenMeanwhile(Exception):
    """A customer was erased while something of theirs was counted; the event is tried again without them."""


async def remember(connection: Connection, customer_ids: Collection[UUID]) -> None:
    """Note that these customers are erased, before anything of theirs is.

    Who counts for them at this moment is waited for, also with their first account; who comes later knows.
    """
    if len(await among(connection, customer_ids)) < len(customer_ids):
        await lock_members(connection, list(customer_ids))
        await connection.execute(_REMEMBER, list(customer_ids))


async def among(connection: Connection, customer_ids: Iterable[UUID]) -> set[UUID]:
    """Which of these customers were erased."""
    return {row["id"] for row in await connection.fetch(_AMONG, list(customer_ids))}
