"""Customers that are one, two again, or forgotten: their points move as transfers, lot by lot."""

from uuid import UUID

from services.loyalty.ledger.store import Connection, fetch


class MergeTooEarly(Exception):
    """Another merge of the customer stands, whose undo is still on its way; the event is tried again."""


async def merge(
    connection: Connection, merge_id: UUID, survivor_id: UUID, merged_id: UUID, event_id: UUID | None
) -> None:
    """Move all points of a customer to another, lot by lot; later postings for the one reach the other.

    A merge that is known, or whose undo came first, changes nothing.

    Raises:
        MergeTooEarly: another merge of this customer still stands.
    """
    merge = (merge_id, survivor_id, merged_id, event_id)
    rows = await fetch(connection, "SELECT merge_customers($1, $2, $3, $4) AS outcome", *merge)
    if rows[0]["outcome"] == "too-early":
        raise MergeTooEarly


async def unmerge(
    connection: Connection, merge_id: UUID, survivor_id: UUID, merged_id: UUID, event_id: UUID | None
) -> None:
    """Undo a merge: what is left of the points that the merged customer brought goes back, lot by lot."""
    merge = (merge_id, survivor_id, merged_id, event_id)
    await fetch(connection, "SELECT unmerge_customers($1, $2, $3, $4)", *merge)


async def forget(connection: Connection, customer_id: UUID) -> int:
    """Replace a customer's id by a random one wherever it owns points; returns in how many accounts."""
    forgotten: int = await connection.fetchval("SELECT forget_customer($1)", customer_id)
    return forgotten
