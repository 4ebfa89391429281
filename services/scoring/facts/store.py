"""SQL of the facts: what happened is written once, and the statistics are derived from all of it.

A customer's facts are locked before they are derived, so that of two writers the second sees what the
first wrote. Everything that happened is written before the locks are taken, and both in the order of ids.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

import asyncpg

from services.scoring.facts.columns import fetch_columns
from services.scoring.facts.histories import DAYS_PER_UNIT, Histories, Spending, Unit, fold
from shared.contracts import Event
from shared.contracts.feedback import SurveyAnswered, TicketEvent
from shared.contracts.handles import Purchase, Refund
from shared.contracts.profile import CustomerRegistered

_RECORD_PURCHASES = """
    INSERT INTO purchases (id, customer_id, amount, currency, occurred_at, cost)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[], $6::bigint[])
        AS told (id)
    ORDER BY id ON CONFLICT DO NOTHING RETURNING customer_id
"""
_RECORD_REFUNDS = """
    INSERT INTO refunds (id, purchase_id, amount, occurred_at)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[]) AS told (id)
    ORDER BY id ON CONFLICT DO NOTHING
"""
_LOCK_TICKETS = "SELECT customer_id FROM tickets WHERE id = ANY ($1) ORDER BY id FOR UPDATE"
# The newest word on a ticket stands; a customer once known is not forgotten for a word that names none.
_RECORD_TICKETS = """
    INSERT INTO tickets AS t (id, customer_id, kind, mood, status, told_at, told_by)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::float8[], $5::text[], $6::timestamptz[],
                         $7::uuid[]) AS told (id)
    ORDER BY id
    ON CONFLICT (id) DO UPDATE SET
        customer_id = coalesce(EXCLUDED.customer_id, t.customer_id), kind = EXCLUDED.kind,
        mood = EXCLUDED.mood, status = EXCLUDED.status, told_at = EXCLUDED.told_at, told_by = EXCLUDED.told_by
    WHERE (EXCLUDED.told_at, EXCLUDED.told_by) > (t.told_at, t.told_by)
"""
_NAME_TICKETS = """
    UPDATE tickets t SET customer_id = told.customer_id
    FROM unnest($1::uuid[], $2::uuid[]) AS told (id, customer_id)
    WHERE t.id = told.id AND t.customer_id IS NULL AND told.customer_id IS NOT NULL
"""
_RECORD_ANSWERS = """
    INSERT INTO survey_answers (id, customer_id, kind, score, occurred_at)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::timestamptz[]) AS told (id)
    ORDER BY id ON CONFLICT DO NOTHING
"""
_MEET = """
    INSERT INTO customer_facts (customer_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING
    RETURNING customer_id
"""
_LOCK = "SELECT FROM customer_facts WHERE customer_id = ANY ($1) ORDER BY customer_id FOR UPDATE"
_REGISTER = """
    UPDATE customer_facts f SET registered_at = told.at
    FROM unnest($1::uuid[], $2::timestamptz[]) AS told (customer_id, at)
    WHERE f.customer_id = told.customer_id AND f.registered_at IS DISTINCT FROM told.at
    RETURNING f.customer_id
"""
_DERIVE = """
    UPDATE customer_facts f SET
        purchases = d.purchases, refunds = d.refunds, days = d.days, first_on = d.first_on,
        last_on = d.last_on, currency = d.currency, spend = d.spend, currency_days = d.currency_days,
        repeat_days = d.repeat_days, repeat_spend = d.repeat_spend, other_spend = d.other_spend,
        later = d.later, next_on = d.next_on, tickets = d.tickets, open_tickets = d.open_tickets,
        complaints = d.complaints, mood = d.mood, nps = d.nps, csat = d.csat, ces = d.ces,
        repeat_gross = d.repeat_gross
    FROM derived_facts($1, $2) d
    WHERE f.customer_id = d.customer_id AND (
        f.purchases, f.refunds, f.days, f.first_on, f.last_on, f.currency, f.spend, f.currency_days,
        f.repeat_days, f.repeat_spend, f.other_spend, f.later, f.next_on, f.tickets, f.open_tickets,
        f.complaints, f.mood, f.nps, f.csat, f.ces, f.repeat_gross
    ) IS DISTINCT FROM (
        d.purchases, d.refunds, d.days, d.first_on, d.last_on, d.currency, d.spend, d.currency_days,
        d.repeat_days, d.repeat_spend, d.other_spend, d.later, d.next_on, d.tickets, d.open_tickets,
        d.complaints, d.mood, d.nps, d.csat, d.ces, d.repeat_gross
    )
    RETURNING f.customer_id
"""
# Customers whom only what happened names come too: a rebuild finds facts that were lost.
_NEXT_CUSTOMERS = """
    SELECT customer_id FROM (
        (SELECT customer_id FROM customer_facts WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM purchases WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM tickets WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM survey_answers WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
    ) known ORDER BY 1 LIMIT $2
"""
_HISTORIES = """
    SELECT (days - 1)::float8 AS frequency, (last_on - first_on)::float8 AS recency,
           ($1::date - first_on)::float8 AS age, count(*)::float8 AS customers
    FROM customer_facts WHERE days > 0 AND last_on <= $1 GROUP BY 1, 2, 3 LIMIT $2
"""
_SPENDING = """
    SELECT repeat_days::float8, coalesce(repeat_gross, repeat_spend)::float8 FROM customer_facts
    WHERE currency = $1 AND repeat_days > 0
    ORDER BY customer_id LIMIT $2
"""
_MAIN_CURRENCY = """
    SELECT currency FROM customer_facts WHERE days > 0 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1
"""
_WINDOW = "SELECT min(first_on), max(last_on) FROM customer_facts WHERE $1::text IS NULL OR currency = $1"


async def record_purchases(connection: asyncpg.Connection, purchases: Sequence[Purchase]) -> set[UUID]:
    """Write purchases that are new; returns whose they are."""
    rows = await connection.fetch(
        _RECORD_PURCHASES,
        [p.purchase_id for p in purchases],
        [p.customer_id for p in purchases],
        [p.amount for p in purchases],
        [p.currency for p in purchases],
        [p.occurred_at for p in purchases],
        [_cost(p) for p in purchases],
    )
    return {row["customer_id"] for row in rows}


async def record_refunds(connection: asyncpg.Connection, refunds: Sequence[Refund]) -> set[UUID]:
    """Write refunds that are new; returns whose they are, repeated ones too."""
    await connection.execute(
        _RECORD_REFUNDS,
        [r.refund_id for r in refunds],
        [r.purchase_id for r in refunds],
        [r.amount for r in refunds],
        [r.occurred_at for r in refunds],
    )
    return {r.customer_id for r in refunds}


async def record_tickets(connection: asyncpg.Connection, events: Iterable[Event[TicketEvent]]) -> set[UUID]:
    """Write how tickets stand; returns whose they are and whose they were."""
    newest: dict[UUID, Event[TicketEvent]] = {}
    named: dict[UUID, UUID] = {}
    for event in sorted(events, key=lambda e: (e.time, e.id)):
        newest[event.data.ticket_id] = event
        if event.data.customer_id is not None:
            named[event.data.ticket_id] = event.data.customer_id
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
        [e.time for e in told],
        [e.id for e in told],
    )
    await connection.execute(_NAME_TICKETS, ids, [named.get(i) for i in ids])
    return {row["customer_id"] for row in before if row["customer_id"]} | set(named.values())


async def record_answers(connection: asyncpg.Connection, answers: Sequence[SurveyAnswered]) -> set[UUID]:
    """Write answers to surveys that are new; returns whose they are."""
    await connection.execute(
        _RECORD_ANSWERS,
        [a.answer_id for a in answers],
        [a.customer_id for a in answers],
        [a.kind for a in answers],
        [a.score for a in answers],
        [a.occurred_at for a in answers],
    )
    return {a.customer_id for a in answers}


async def lock(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> set[UUID]:
    """Make sure these customers have facts and hold them until the transaction ends.

    `customer_ids` are sorted. Returns those who are met for the first time.
    """
    rows = await connection.fetch(_MEET, customer_ids)
    await connection.execute(_LOCK, customer_ids)
    return {row["customer_id"] for row in rows}


async def register(connection: asyncpg.Connection, registrations: Sequence[CustomerRegistered]) -> set[UUID]:
    """Note since when these customers are known; they are locked. Returns who is new."""
    rows = await connection.fetch(
        _REGISTER, [r.customer_id for r in registrations], [r.registered_at for r in registrations]
    )
    return {row["customer_id"] for row in rows}


async def derive(connection: asyncpg.Connection, customer_ids: Sequence[UUID], observed: date) -> set[UUID]:
    """Derive the facts of these locked customers from all that happened; returns whose facts changed."""
    rows = await connection.fetch(_DERIVE, customer_ids, observed)
    return {row["customer_id"] for row in rows}


async def note_change(connection: asyncpg.Connection, *, overdue: bool = False) -> None:
    """Say that facts changed, so that the cuts are computed again soon, or at once when `overdue`."""
    await connection.execute(
        "INSERT INTO fact_changes (at) SELECT CASE WHEN $1 THEN 'epoch' ELSE clock_timestamp() END", overdue
    )


async def next_customers(connection: asyncpg.Connection, after: UUID, limit: int) -> list[UUID]:
    """The next customers of a walk over all, in the order of their ids."""
    return [row["customer_id"] for row in await connection.fetch(_NEXT_CUSTOMERS, after, limit)]


async def due_customers(connection: asyncpg.Connection, observed: date, limit: int) -> list[UUID]:
    """Customers of whom something is known that no longer lies after the observation date."""
    rows = await connection.fetch(
        """SELECT customer_id FROM customer_facts WHERE next_on <= $1 ORDER BY customer_id LIMIT $2""",
        observed,
        limit,
    )
    return [row["customer_id"] for row in rows]


async def read_histories(connection: asyncpg.Connection, observed: date, unit: Unit, limit: int) -> Histories:
    """The histories of all buyers as of the observation date, identical ones folded by the database."""
    x, last, age, customers = await fetch_columns(connection, _HISTORIES, observed, limit, count=4)
    scale = DAYS_PER_UNIT[unit]
    return fold(x, last / scale, age / scale, customers)


async def read_spending(connection: asyncpg.Connection, currency: str, limit: int) -> Spending:
    """Repeat spending before refunds, in minor units, of customers who buy mainly in this currency."""
    days, spend = await fetch_columns(connection, _SPENDING, currency, limit, count=2)
    return Spending(days, spend / days)


async def main_currency(connection: asyncpg.Connection) -> str | None:
    """The currency that most customers buy in."""
    currency: str | None = await connection.fetchval(_MAIN_CURRENCY)
    return currency


async def data_window(
    connection: asyncpg.Connection, currency: str | None = None
) -> tuple[date, date] | None:
    """The first and last day with a purchase, of all customers or those of one currency."""
    first, last = await connection.fetchrow(_WINDOW, currency)
    return (first, last) if first else None


def _cost(purchase: Purchase) -> int | None:
    """What a purchase cost the shop; None unless all of its lines say so."""
    costs = [line.cost for line in purchase.lines if line.cost is not None]
    return sum(costs) if costs and len(costs) == len(purchase.lines) else None
