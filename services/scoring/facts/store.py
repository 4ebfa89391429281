"""SQL of the facts: the statistics of each customer, derived from all that happened.

A customer's facts are locked before they are derived, so that of two writers the second sees what the
first wrote. Everything that happened is written before the locks are taken, and both in the order of ids.
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg

from services.scoring.facts.columns import fetch_columns
from services.scoring.facts.histories import DAYS_PER_UNIT, Histories, Spending, Unit, fold

_MEET = """
    INSERT INTO customer_facts (customer_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING
    RETURNING customer_id
"""
_LOCK = "SELECT FROM customer_facts WHERE customer_id = ANY ($1) ORDER BY customer_id FOR UPDATE"
_DERIVE = """
    UPDATE customer_facts f SET
        purchases = d.purchases, refunds = d.refunds, days = d.days, first_on = d.first_on,
        last_on = d.last_on, currency = d.currency, spend = d.spend, currency_days = d.currency_days,
        repeat_days = d.repeat_days, repeat_spend = d.repeat_spend, other_spend = d.other_spend,
        later = d.later, next_on = d.next_on, tickets = d.tickets, open_tickets = d.open_tickets,
        complaints = d.complaints, mood = d.mood, nps = d.nps, csat = d.csat, ces = d.ces,
        repeat_gross = d.repeat_gross, registered_at = d.registered_at, gap_mean = d.gap_mean,
        gap_deviation = d.gap_deviation, channels = d.channels, hours = d.hours,
        complaint_categories = d.complaint_categories, severe_tickets = d.severe_tickets,
        breaches = d.breaches, tier = d.tier, points = d.points
    FROM derived_facts($1, $2) d
    WHERE f.customer_id = d.customer_id AND (
        f.purchases, f.refunds, f.days, f.first_on, f.last_on, f.currency, f.spend, f.currency_days,
        f.repeat_days, f.repeat_spend, f.other_spend, f.later, f.next_on, f.tickets, f.open_tickets,
        f.complaints, f.mood, f.nps, f.csat, f.ces, f.repeat_gross,
        f.registered_at, f.gap_mean, f.gap_deviation, f.channels, f.hours,
        f.complaint_categories, f.severe_tickets, f.breaches, f.tier, f.points
    ) IS DISTINCT FROM (
        d.purchases, d.refunds, d.days, d.first_on, d.last_on, d.currency, d.spend, d.currency_days,
        d.repeat_days, d.repeat_spend, d.other_spend, d.later, d.next_on, d.tickets, d.open_tickets,
        d.complaints, d.mood, d.nps, d.csat, d.ces, d.repeat_gross,
        d.registered_at, d.gap_mean, d.gap_deviation, d.channels, d.hours,
        d.complaint_categories, d.severe_tickets, d.breaches, d.tier, d.points
    )
    RETURNING f.customer_id
"""
# Customers whom only what happened names come too: a rebuild finds facts that were lost.
_NEXT_CUSTOMERS = """
    SELECT customer_id FROM (
        (SELECT customer_id FROM customer_facts WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM purchases WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM refunds WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM tickets WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM survey_answers WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM referrals WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM registrations WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM told_attributes WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM told_consents WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
        UNION (SELECT DISTINCT customer_id FROM told_standings WHERE customer_id > $1 ORDER BY 1 LIMIT $2)
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


async def lock(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> set[UUID]:
    """Make sure these customers have facts and hold them until the transaction ends.

    `customer_ids` are sorted. Returns those who are met for the first time.
    """
    rows = await connection.fetch(_MEET, customer_ids)
    await connection.execute(_LOCK, customer_ids)
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
