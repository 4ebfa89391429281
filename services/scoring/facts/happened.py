"""SQL of what happened: each thing is written once, under the customer whose it is now.

What is told of a customer who was merged goes to whoever they are one with (`owners`), and keeps in `told_of`
whom it was told of; of those who are forgotten nothing is written. Rows are written in the order of ids.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

import asyncpg

from shared.contracts import Event
from shared.contracts.feedback import SurveyAnswered, TicketBreached, TicketEvent
from shared.contracts.handles import Purchase, Refund
from shared.contracts.loyalty import ReferralCompleted
from shared.contracts.profile import CustomerRegistered

_RECORD_PURCHASES = """
    INSERT INTO purchases (id, customer_id, told_of, amount, currency, occurred_at, cost, touchpoint, channel)
    SELECT told.id, coalesce(o.owner, told.customer_id), CASE WHEN o.owner IS NOT NULL THEN o.customer_id END,
           told.amount, told.currency, told.occurred_at, told.cost, told.touchpoint, told.channel
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[], $6::bigint[], $7::text[],
                $8::text[])
        AS told (id, customer_id, amount, currency, occurred_at, cost, touchpoint, channel)
    LEFT JOIN owners o USING (customer_id)
    WHERE o.customer_id IS NULL OR o.owner IS NOT NULL
    ORDER BY told.id ON CONFLICT DO NOTHING RETURNING customer_id
"""
_RECORD_LINES = """
    INSERT INTO purchase_lines (purchase_id, line, sku, category, quantity, amount, cost)
    SELECT told.*
    FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::bigint[])
        AS told (purchase_id, line, sku, category, quantity, amount, cost)
    JOIN purchases p ON p.id = told.purchase_id
    ORDER BY 1, 2 ON CONFLICT DO NOTHING
"""
_RECORD_REFUNDS = """
    INSERT INTO refunds (id, purchase_id, amount, occurred_at, customer_id, told_of)
    SELECT told.id, told.purchase_id, told.amount, told.occurred_at, coalesce(o.owner, told.customer_id),
           CASE WHEN o.owner IS NOT NULL THEN o.customer_id END
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::uuid[])
        AS told (id, purchase_id, amount, occurred_at, customer_id)
    LEFT JOIN owners o USING (customer_id)
    WHERE o.customer_id IS NULL OR o.owner IS NOT NULL
    ORDER BY told.id ON CONFLICT DO NOTHING RETURNING customer_id
"""
_BUYERS = "SELECT customer_id FROM purchases WHERE id = ANY ($1)"
_LOCK_TICKETS = "SELECT customer_id FROM tickets WHERE id = ANY ($1) ORDER BY id FOR UPDATE"
# The newest word on a ticket stands; a customer once known is not forgotten for a word that names none.
_RECORD_TICKETS = """
    INSERT INTO tickets AS t (id, customer_id, told_of, kind, mood, status, category, severity, told_at,
                              told_by, opened_at)
    SELECT told.id, coalesce(o.owner, told.customer_id), CASE WHEN o.owner IS NOT NULL THEN o.customer_id END,
           told.kind, told.mood, told.status, told.category, told.severity, told.told_at, told.told_by,
           told.opened_at
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::float8[], $5::text[], $6::text[], $7::text[],
                $8::timestamptz[], $9::uuid[], $10::timestamptz[])
        AS told (id, customer_id, kind, mood, status, category, severity, told_at, told_by, opened_at)
    LEFT JOIN owners o USING (customer_id)
    WHERE o.customer_id IS NULL OR o.owner IS NOT NULL
    ORDER BY told.id
    ON CONFLICT (id) DO UPDATE SET
        customer_id = coalesce(EXCLUDED.customer_id, t.customer_id),
        told_of = CASE WHEN EXCLUDED.customer_id IS NULL THEN t.told_of ELSE EXCLUDED.told_of END,
        kind = EXCLUDED.kind, mood = EXCLUDED.mood, status = EXCLUDED.status, category = EXCLUDED.category,
        severity = EXCLUDED.severity, told_at = EXCLUDED.told_at, told_by = EXCLUDED.told_by,
        opened_at = EXCLUDED.opened_at
    WHERE (EXCLUDED.told_at, EXCLUDED.told_by) > (t.told_at, t.told_by)
"""
_NAME_TICKETS = """
    UPDATE tickets t SET customer_id = coalesce(o.owner, told.customer_id),
                         told_of = CASE WHEN o.owner IS NOT NULL THEN o.customer_id END
    FROM unnest($1::uuid[], $2::uuid[]) AS told (id, customer_id) LEFT JOIN owners o USING (customer_id)
    WHERE t.id = told.id AND t.customer_id IS NULL AND told.customer_id IS NOT NULL
      AND (o.customer_id IS NULL OR o.owner IS NOT NULL)
"""
# A promise that was missed once stays missed, whatever is told of the ticket before or after.
_BREACH_TICKETS = "UPDATE tickets SET breached = true WHERE id = ANY ($1) AND NOT breached"
_WHOSE_TICKETS = "SELECT customer_id FROM tickets WHERE id = ANY ($1) AND customer_id IS NOT NULL"
_RECORD_ANSWERS = """
    INSERT INTO survey_answers (id, customer_id, told_of, kind, score, occurred_at)
    SELECT told.id, coalesce(o.owner, told.customer_id), CASE WHEN o.owner IS NOT NULL THEN o.customer_id END,
           told.kind, told.score, told.occurred_at
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::timestamptz[])
        AS told (id, customer_id, kind, score, occurred_at)
    LEFT JOIN owners o USING (customer_id)
    WHERE o.customer_id IS NULL OR o.owner IS NOT NULL
    ORDER BY told.id ON CONFLICT DO NOTHING RETURNING customer_id
"""
_RECORD_REFERRALS = """
    INSERT INTO referrals (id, customer_id, told_of, occurred_at)
    SELECT told.id, coalesce(o.owner, told.customer_id), CASE WHEN o.owner IS NOT NULL THEN o.customer_id END,
           told.at
    FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS told (id, customer_id, at)
    LEFT JOIN owners o USING (customer_id)
    WHERE o.customer_id IS NULL OR o.owner IS NOT NULL
    ORDER BY told.id ON CONFLICT DO NOTHING RETURNING customer_id
"""
_REGISTER = """
    INSERT INTO registrations AS r (customer_id, told_of, registered_at)
    SELECT coalesce(o.owner, told.customer_id), CASE WHEN o.owner IS NOT NULL THEN o.customer_id END, told.at
    FROM unnest($1::uuid[], $2::timestamptz[]) AS told (customer_id, at)
    LEFT JOIN owners o USING (customer_id)
    WHERE o.customer_id IS NULL OR o.owner IS NOT NULL
    ORDER BY told.customer_id
    ON CONFLICT (coalesce(told_of, customer_id)) DO UPDATE SET registered_at = EXCLUDED.registered_at
    WHERE EXCLUDED.registered_at < r.registered_at
    RETURNING customer_id
"""


async def record_purchases(connection: asyncpg.Connection, purchases: Sequence[Purchase]) -> set[UUID]:
    """Write purchases that are new, and their lines; returns whose they are."""
    rows = await connection.fetch(
        _RECORD_PURCHASES,
        [p.purchase_id for p in purchases],
        [p.customer_id for p in purchases],
        [p.amount for p in purchases],
        [p.currency for p in purchases],
        [p.occurred_at for p in purchases],
        [_cost(p) for p in purchases],
        [p.touchpoint for p in purchases],
        [p.channel for p in purchases],
    )
    lines = [(p.purchase_id, place, line) for p in purchases for place, line in enumerate(p.lines)]
    if lines:
        await connection.execute(
            _RECORD_LINES,
            [purchase_id for purchase_id, _, _ in lines],
            [place for _, place, _ in lines],
            [line.sku for _, _, line in lines],
            [line.category for _, _, line in lines],
            [line.quantity for _, _, line in lines],
            [line.amount for _, _, line in lines],
            [line.cost for _, _, line in lines],
        )
    return _whose(rows)


async def record_refunds(connection: asyncpg.Connection, refunds: Sequence[Refund]) -> set[UUID]:
    """Write refunds that are new; returns whose they are, and whose the purchases are."""
    purchase_ids = [r.purchase_id for r in refunds]
    rows = await connection.fetch(
        _RECORD_REFUNDS,
        [r.refund_id for r in refunds],
        purchase_ids,
        [r.amount for r in refunds],
        [r.occurred_at for r in refunds],
        [r.customer_id for r in refunds],
    )
    return _whose(rows) | _whose(await connection.fetch(_BUYERS, purchase_ids))


async def record_tickets(connection: asyncpg.Connection, events: Iterable[Event[TicketEvent]]) -> set[UUID]:
    """Write how tickets stand; returns whose they are and whose they were."""
    newest: dict[UUID, Event[TicketEvent]] = {}
    named: dict[UUID, UUID] = {}
    breached: set[UUID] = set()
    for event in sorted(events, key=lambda e: (e.time, e.id)):
        newest[event.data.ticket_id] = event
        if event.data.customer_id is not None:
            named[event.data.ticket_id] = event.data.customer_id
        if isinstance(event.data, TicketBreached):
            breached.add(event.data.ticket_id)
    ids = sorted(newest)
    before = await connection.fetch(_LOCK_TICKETS, ids)
    told = [newest[i] for i in ids]
    await connection.execute(
        _RECORD_TICKETS,
        ids,
        [named.get(i) for i in ids],
        [e.data.kind for e in told],
        [e.data.mood for e in told],
        [e.data.status for e in told],
        [e.data.category for e in told],
        [e.data.severity for e in told],
        [e.time for e in told],
        [e.id for e in told],
        [e.data.occurred_at for e in told],  # of the first feedback, in every event
    )
    await connection.execute(_NAME_TICKETS, ids, [named.get(i) for i in ids])
    if breached:
        await connection.execute(_BREACH_TICKETS, sorted(breached))
    after = await connection.fetch(_WHOSE_TICKETS, ids)
    return {row["customer_id"] for row in before if row["customer_id"]} | _whose(after)


async def record_answers(connection: asyncpg.Connection, answers: Sequence[SurveyAnswered]) -> set[UUID]:
    """Write answers to surveys that are new; returns whose they are."""
    rows = await connection.fetch(
        _RECORD_ANSWERS,
        [a.answer_id for a in answers],
        [a.customer_id for a in answers],
        [a.kind for a in answers],
        [a.score for a in answers],
        [a.occurred_at for a in answers],
    )
    return _whose(rows)


async def record_referrals(
    connection: asyncpg.Connection, referrals: Sequence[ReferralCompleted]
) -> set[UUID]:
    """Write friends that customers brought, where new; returns who brought them."""
    rows = await connection.fetch(
        _RECORD_REFERRALS,
        [r.referral_id for r in referrals],
        [r.customer_id for r in referrals],
        [r.occurred_at for r in referrals],
    )
    return _whose(rows)


async def register(connection: asyncpg.Connection, registrations: Iterable[CustomerRegistered]) -> set[UUID]:
    """Note since when these customers are known, the earliest that is told; returns of whom that is new."""
    since: dict[UUID, CustomerRegistered] = {}
    for registered in registrations:
        first = since.setdefault(registered.customer_id, registered)
        since[registered.customer_id] = min(first, registered, key=lambda r: r.registered_at)
    rows = await connection.fetch(_REGISTER, list(since), [r.registered_at for r in since.values()])
    return _whose(rows)


def _whose(rows: Iterable[asyncpg.Record]) -> set[UUID]:
    return {row["customer_id"] for row in rows}


def _cost(purchase: Purchase) -> int | None:
    """What a purchase cost the shop; None unless all of its lines say so."""
    costs = [line.cost for line in purchase.lines if line.cost is not None]
    return sum(costs) if costs and len(costs) == len(purchase.lines) else None
