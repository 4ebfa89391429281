"""What customers did since they were exposed, as sufficient statistics per arm: the database adds it up.

A customer's outcome begins after their first exposure and ends with their `outcome_days` or the experiment,
whichever is first. Purchases that were refunded in full never happened; revenue is net of refunds. With
`outcome_days` only customers whose days are over are counted, so that each has had the same time. Customers
whom a merge put into two arms are left out.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np

from services.scoring.experiments.reading import Floats, Moments
from services.scoring.experiments.rules import ANSWERED, Metric
from services.scoring.facts.columns import fetch_columns

# A million customers are joined in memory, not by way of the disk; and that may take longer than other
# statements do.
_ROOM = """
    SELECT set_config('work_mem', '64MB', true), set_config('statement_timeout', '120s', true)
"""
# That a customer is in one arm is said by `<`: the planner takes an equality of aggregates for a rare thing.
# $1 the experiment, or null for the whole audience as if exposed $4 ago; $2 the end of reading; $3 how long
# an outcome takes, or null; $5 retention; $6 currency; $7 metrics; $8 how long before exposure counts;
# $9 segment; $10 refunds are known until then.
_MOMENTS = """
    WITH exposed AS (
        SELECT customer_id, min(arm) AS arm, min(exposed_at) AS at
        FROM exposures WHERE experiment_id = $1 AND exposed_at < $2
        GROUP BY customer_id HAVING max(arm) - min(arm) < 1
        UNION ALL
        SELECT f.customer_id, 0, $2 - $4::interval
        FROM customer_facts f LEFT JOIN customer_scores s USING (customer_id)
        WHERE $1::uuid IS NULL AND ($9::text IS NULL OR s.segment = $9)
    ), final AS (
        SELECT customer_id, arm, at, least($2, coalesce(at + $3::interval, $2)) AS until
        FROM exposed WHERE $3::interval IS NULL OR at + $3 <= $2
    ), given_back AS (
        SELECT purchase_id, sum(amount) AS amount FROM refunds WHERE occurred_at <= $10 GROUP BY 1
    ), bought AS (
        SELECT e.customer_id,
               count(*) FILTER (WHERE p.occurred_at > e.at AND kept) AS purchases,
               bool_or(p.occurred_at > e.at + $5::interval AND kept) AS again,
               sum(p.amount - coalesce(g.amount, 0))
                   FILTER (WHERE p.occurred_at > e.at AND kept AND p.currency = $6) AS revenue,
               sum(p.amount) FILTER (WHERE p.occurred_at <= e.at AND p.currency = $6) AS before
        FROM final e JOIN purchases p USING (customer_id) LEFT JOIN given_back g ON g.purchase_id = p.id
        CROSS JOIN LATERAL (SELECT g.amount IS NULL OR g.amount < p.amount AS kept) k
        WHERE p.occurred_at > e.at - $8::interval AND p.occurred_at <= e.until
        GROUP BY 1
    ), asked AS (
        SELECT e.customer_id, count(*) AS tickets
        FROM final e JOIN tickets t USING (customer_id)
        WHERE 'tickets' = ANY ($7::text[]) AND t.opened_at > e.at AND t.opened_at <= e.until
        GROUP BY 1
    ), answered AS (
        SELECT e.customer_id, avg(a.score) FILTER (WHERE a.kind = 'csat') AS csat,
               avg(CASE WHEN a.score >= 9 THEN 100 WHEN a.score <= 6 THEN -100 ELSE 0 END)
                   FILTER (WHERE a.kind = 'nps') AS nps
        FROM final e JOIN survey_answers a USING (customer_id)
        WHERE $7::text[] && '{nps,csat}' AND a.occurred_at > e.at AND a.occurred_at <= e.until
        GROUP BY 1
    ), outcomes AS (
        SELECT e.arm, m.metric, coalesce(b.before, 0)::float8 AS x, (CASE m.metric
                   WHEN 'conversion' THEN (coalesce(b.purchases, 0) > 0)::int
                   WHEN 'retention' THEN coalesce(b.again, false)::int
                   WHEN 'purchases' THEN coalesce(b.purchases, 0)
                   WHEN 'revenue' THEN coalesce(b.revenue, 0)
                   WHEN 'tickets' THEN coalesce(t.tickets, 0)
                   WHEN 'nps' THEN a.nps
                   WHEN 'csat' THEN a.csat END)::float8 AS y
        FROM final e LEFT JOIN bought b USING (customer_id)
        LEFT JOIN asked t USING (customer_id) LEFT JOIN answered a USING (customer_id)
        CROSS JOIN unnest($7) AS m (metric)
    )
    SELECT arm, metric, count(*)::float8 AS n, avg(y) AS mean, coalesce(var_samp(y), 0) AS variance,
           count(*) FILTER (WHERE y <> 0)::float8 AS active, avg(x) AS x_mean,
           coalesce(var_samp(x), 0) AS x_variance, coalesce(covar_samp(y, x), 0) AS covariance
    FROM outcomes WHERE y IS NOT NULL GROUP BY arm, metric
"""
_COUNTS = """
    WITH told AS (
        SELECT customer_id, arm, exposed_at FROM exposures WHERE experiment_id = $1 AND exposed_at < $2
    ), assigned AS (
        SELECT arm, count(*) AS assigned FROM told GROUP BY arm
    ), now AS (
        SELECT arm, count(*) FILTER (WHERE NOT torn AND at + $3::interval > $2) AS waiting,
               count(*) FILTER (WHERE torn) AS torn
        FROM (SELECT customer_id, min(arm) AS arm, min(exposed_at) AS at, min(arm) <> max(arm) AS torn
              FROM told GROUP BY customer_id) e GROUP BY arm
    )
    SELECT arm, assigned, coalesce(waiting, 0) AS waiting, coalesce(torn, 0) AS torn
    FROM assigned LEFT JOIN now USING (arm)
"""
# How many customers of the audience come by in a day: those with a purchase in the last four weeks.
_PER_DAY = """
    SELECT count(*) / 28.0::float8 FROM customer_facts f LEFT JOIN customer_scores s USING (customer_id)
    WHERE ($2::text IS NULL OR s.segment = $2) AND EXISTS (
        SELECT FROM purchases p WHERE p.customer_id = f.customer_id
        AND p.occurred_at > $1::timestamptz - interval '28 days' AND p.occurred_at <= $1)
"""
# Of customers in the two arms $2: arm, whether they converted, and what was known before they were exposed,
# in the order of FEATURES; nan where there is nothing to know. The same customers each time.
_HISTORIES = """
    WITH exposed AS (
        SELECT customer_id, min(arm) AS arm, min(exposed_at) AS at
        FROM exposures WHERE experiment_id = $1 AND exposed_at < $3
        GROUP BY customer_id HAVING max(arm) - min(arm) < 1
    ), final AS (
        SELECT customer_id, arm, at, least($3, coalesce(at + $4::interval, $3)) AS until
        FROM exposed WHERE arm = ANY ($2) AND ($4::interval IS NULL OR at + $4 <= $3)
        ORDER BY md5(customer_id::text) LIMIT $7
    ), given_back AS (
        SELECT purchase_id, sum(amount) AS amount FROM refunds WHERE occurred_at <= $5 GROUP BY 1
    )
    SELECT e.arm::float8, coalesce(b.later, 0)::float8, coalesce(b.purchases, 0)::float8,
           ln(1 + coalesce(b.spend, 0))::float8, coalesce(b.since_last, 'NaN')::float8,
           coalesce(b.since_first, 'NaN')::float8, coalesce(b.mean, 'NaN')::float8,
           coalesce(extract(epoch FROM e.at - f.registered_at) / 86400, 'NaN')::float8,
           coalesce(t.tickets, 0)::float8, coalesce(a.score::float8, 'NaN')
    FROM final e JOIN customer_facts f USING (customer_id)
    LEFT JOIN LATERAL (
        SELECT max((p.occurred_at > e.at AND p.occurred_at <= e.until
                    AND (g.amount IS NULL OR g.amount < p.amount))::int) AS later,
               count(*) FILTER (WHERE p.occurred_at <= e.at) AS purchases,
               sum(p.amount) FILTER (WHERE p.occurred_at <= e.at AND p.currency = $6) AS spend,
               avg(p.amount) FILTER (WHERE p.occurred_at <= e.at AND p.currency = $6) AS mean,
               extract(epoch FROM e.at - max(p.occurred_at) FILTER (WHERE p.occurred_at <= e.at)) / 86400
                   AS since_last,
               extract(epoch FROM e.at - min(p.occurred_at) FILTER (WHERE p.occurred_at <= e.at)) / 86400
                   AS since_first
        FROM purchases p LEFT JOIN given_back g ON g.purchase_id = p.id WHERE p.customer_id = e.customer_id
    ) b ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS tickets FROM tickets WHERE customer_id = e.customer_id AND opened_at <= e.at
    ) t ON true
    LEFT JOIN LATERAL (
        SELECT score FROM survey_answers
        WHERE customer_id = e.customer_id AND kind = 'csat' AND occurred_at <= e.at
        ORDER BY occurred_at DESC, id DESC LIMIT 1
    ) a ON true
    ORDER BY md5(e.customer_id::text)
"""
FEATURES = (
    "purchases", "log_spend", "days_since_last", "days_since_first", "mean_amount", "days_known",
    "tickets", "csat",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """Which outcomes count: until when, for how long after exposure, and how long before it spend counts."""

    until: datetime
    outcome_days: int | None
    retention_days: int
    before_days: int
    currency: str | None
    refunds_until: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one arm: customers assigned to it, those whose outcome takes longer yet, and those in two arms.

    Merges do not change the first number, which is what the shares speak of.
    """

    assigned: int
    waiting: int
    torn: int


async def moments(
    connection: asyncpg.Connection,
    experiment_id: UUID | None,
    metrics: list[Metric],
    window: Window,
    *,
    segment: str | None = None,
    history_days: int = 28,
) -> dict[tuple[int, Metric], Moments]:
    """The statistics by arm and metric, in a transaction; an arm in which nobody counts is left out.

    Without an experiment: of all customers (of a segment) over the last `history_days`, as arm 0.
    """
    await connection.execute(_ROOM)
    rows = await connection.fetch(
        _MOMENTS,
        experiment_id,
        window.until,
        _days(window.outcome_days),
        _days(history_days),
        _days(window.retention_days),
        window.currency,
        metrics,
        _days(window.before_days),
        segment,
        window.refunds_until,
    )
    return {(row["arm"], row["metric"]): _moments(row, row["metric"]) for row in rows}


async def counts(connection: asyncpg.Connection, experiment_id: UUID, window: Window) -> dict[int, Counts]:
    """How many customers each arm has. Those in two arms are counted in the first of them."""
    rows = await connection.fetch(_COUNTS, experiment_id, window.until, _days(window.outcome_days))
    return {row["arm"]: Counts(row["assigned"], row["waiting"], row["torn"]) for row in rows}


async def histories(
    connection: asyncpg.Connection, experiment_id: UUID, arms: tuple[int, int], window: Window, limit: int
) -> list[Floats]:
    """Arm, conversion and the FEATURES before exposure of the customers of two arms, shape (n,) each.

    In a transaction.
    """
    await connection.execute(_ROOM)
    return await fetch_columns(
        connection,
        _HISTORIES,
        experiment_id,
        list(arms),
        window.until,
        _days(window.outcome_days),
        window.refunds_until,
        window.currency,
        limit,
        count=2 + len(FEATURES),
    )


async def per_day(connection: asyncpg.Connection, now: datetime, segment: str | None) -> float:
    """Customers of the audience who come by in a day, from the purchases of the last four weeks."""
    found: float = await connection.fetchval(_PER_DAY, now, segment)
    return found


def _moments(row: Any, metric: Metric) -> Moments:
    n, mean, variance, active, x_mean, x_variance, covariance = (
        np.array(row[name], dtype=np.float64)
        for name in ("n", "mean", "variance", "active", "x_mean", "x_variance", "covariance")
    )
    if metric in ANSWERED:  # a score of zero is an answer like the others
        active = n
    return Moments(n, mean, variance, active, x_mean, x_variance, covariance)


def _days(days: int | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)
