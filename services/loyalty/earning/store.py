"""All SQL of earning: refunds that were heard of, and what they still take back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from services.loyalty.earning.rules import Refunded
from shared.contracts.handles import Refund

PURCHASE = "purchase/"  # the ledger's key of a purchase's earning is this and the purchase's id

_KEEP = """
    INSERT INTO refunds (refund_id, purchase_id, customer_id, amount, purchase_amount, occurred_at, event_id)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::timestamptz[],
                         $7::uuid[])
    ON CONFLICT DO NOTHING
"""
# Refunded purchases of these customers that have earned. Indexes: refunds_of_customer,
# transfers_idempotency_key_key, transfers_reversed_once.
_REFUNDED = """
    SELECT r.customer_id, r.purchase_id, t.id AS transfer_id, t.points AS earned, r.paid, r.refunded,
           r.occurred_at, r.event_id,
           (SELECT coalesce(sum(points), 0)::bigint FROM transfers WHERE reverses = t.id) AS taken
      FROM (SELECT customer_id, purchase_id, max(purchase_amount) AS paid,
                   least(sum(amount), max(purchase_amount))::bigint AS refunded,
                   max(occurred_at) AS occurred_at,
                   (array_agg(event_id ORDER BY occurred_at DESC, refund_id DESC))[1] AS event_id
              FROM refunds WHERE customer_id = ANY ($1::uuid[]) GROUP BY customer_id, purchase_id) AS r
      JOIN transfers AS t ON t.idempotency_key = $2 || r.purchase_id
     ORDER BY r.occurred_at, r.purchase_id
"""
_OWE = """
    WITH changed AS (
        UPDATE accounts SET owed = due.owed
          FROM unnest($1::uuid[], $2::bigint[]) AS due (owner, owed)
         WHERE accounts.kind = 'member' AND accounts.owner = due.owner AND accounts.owed <> due.owed
        RETURNING accounts.owner
    )
    INSERT INTO section_marks (customer_id) SELECT owner FROM changed
"""


@dataclass(frozen=True, slots=True)
class RefundedPurchase:
    """A purchase that was refunded after or before it earned."""

    customer_id: UUID
    purchase_id: UUID
    transfer_id: UUID
    occurred_at: datetime
    event_id: UUID
    figures: Refunded


async def keep_refunds(connection: asyncpg.Connection, refunds: Sequence[tuple[Refund, UUID]]) -> None:
    """Remember refunds, each with the event that told it; one that is known stays as it is."""
    columns = [
        (r.refund_id, r.purchase_id, r.customer_id, r.amount, r.purchase_amount, r.occurred_at, event_id)
        for r, event_id in refunds
        if r.amount > 0 and r.purchase_amount > 0
    ]
    if columns:
        await connection.execute(_KEEP, *map(list, zip(*columns, strict=True)))


async def refunded_purchases(
    connection: asyncpg.Connection, customer_ids: Sequence[UUID]
) -> list[RefundedPurchase]:
    """Refunded purchases of these customers, the oldest refund first."""
    rows = await connection.fetch(_REFUNDED, list(customer_ids), PURCHASE)
    return [
        RefundedPurchase(
            row["customer_id"],
            row["purchase_id"],
            row["transfer_id"],
            row["occurred_at"],
            row["event_id"],
            Refunded(row["earned"], row["paid"], row["refunded"], row["taken"]),
        )
        for row in rows
    ]


async def owe(connection: asyncpg.Connection, owed: Mapping[UUID, int]) -> None:
    """Write down what these members still owe."""
    await connection.execute(_OWE, list(owed.keys()), list(owed.values()))
