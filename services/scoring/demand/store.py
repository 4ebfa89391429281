"""SQL of demand: whom forecasts are about, what they say, and what came."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import numpy as np
import orjson

from services.scoring.demand.rules import Buyers
from services.scoring.demand.worker import Foretold, Parameters, SpendParameters
from services.scoring.due import BEFORE_ALL
from services.scoring.facts.columns import fetch_columns
from services.scoring.facts.histories import DAYS_PER_UNIT
from services.scoring.models.catalogue import PurchaseKind, purchases_by
from services.scoring.models.gamma_gamma import GammaGamma

CHUNK = 20_000  # customers per statement
PIECES = 20  # weeks of forecasts that one turn tracks
KEPT_DAYS = 400  # members of forecasts that are over

_MODELS = """
    SELECT kind, version, unit, currency, params::text AS params, covariance::text AS covariance, refund_rate
    FROM models WHERE serving ORDER BY kind, currency
"""
# Who has bought, in which segment and currency they are, written where that changed.
_ENROL = """
    WITH present AS (
        SELECT f.customer_id, coalesce(s.segment, 'none') AS segment, f.currency
        FROM customer_facts f LEFT JOIN customer_scores s USING (customer_id)
        WHERE f.customer_id > $2 AND f.days > 0 AND f.last_on <= $1
        ORDER BY f.customer_id LIMIT $3
    ), moved AS (
        SELECT p.* FROM present p
        LEFT JOIN forecast_members m ON m.customer_id = p.customer_id AND m.until IS NULL
        WHERE (m.segment, m.currency) IS DISTINCT FROM (p.segment, p.currency)
    ), closed AS (
        UPDATE forecast_members m SET until = $1 FROM moved
        WHERE m.customer_id = moved.customer_id AND m.until IS NULL AND m.since < $1
    ), opened AS (
        INSERT INTO forecast_members (customer_id, since, segment, currency)
        SELECT customer_id, $1, segment, currency FROM moved ORDER BY customer_id
        ON CONFLICT (customer_id, since) DO UPDATE
        SET segment = EXCLUDED.segment, currency = EXCLUDED.currency, until = NULL
    )
    SELECT count(*)::int AS customers, (array_agg(customer_id ORDER BY customer_id DESC))[1] AS last
    FROM present
"""
_PLACES = """
    SELECT array_agg(DISTINCT segment ORDER BY segment) AS segments,
           array_agg(DISTINCT currency ORDER BY currency) AS currencies
    FROM forecast_members WHERE until IS NULL
"""
_BUYERS = """
    SELECT ((array_position($2::text[], m.segment) - 1) * cardinality($3::text[])
            + array_position($3::text[], m.currency) - 1)::float8 AS cell,
           (f.days - 1)::float8, (f.last_on - f.first_on)::float8, ($1::date - f.first_on)::float8,
           coalesce(f.repeat_days, 0)::float8, count(*)::float8,
           sum(coalesce(f.repeat_gross, f.repeat_spend, 0))::float8,
           sum(coalesce(f.repeat_gross, f.repeat_spend, 0)::float8 ^ 2)::float8
    FROM forecast_members m JOIN customer_facts f USING (customer_id)
    WHERE m.until IS NULL AND f.days > 0 AND f.last_on <= $1::date
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT $4
"""
_KEEP = """
    INSERT INTO forecasts (made_on, weeks, purchase_model, spend_models, customers, unknown, created_at)
    VALUES ($1, $2, $3, $4::text::jsonb, $5, $6::text::jsonb, $7)
"""
_KEEP_WEEKS = """
    INSERT INTO forecast_weeks (made_on, segment, currency, measure, week_from, expected, low, high)
    SELECT $1, t.segment, t.currency, t.measure, $1::date + 1 + 7 * t.week, t.expected, t.low, t.high
    FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::float8[], $7::float8[], $8::float8[])
        AS t (segment, currency, measure, week, expected, low, high)
"""
_FORGET = """
    DELETE FROM forecast_members WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM forecast_members WHERE until < $1::date LIMIT $2))
"""
# After two weeks hardly anything comes late; then a week is told a second and last time. By
# forecast_weeks_open.
_OVER = """
    SELECT made_on, week_from FROM forecast_weeks
    WHERE (tracked_on IS NULL OR tracked_on < week_from + 21)
      AND week_from + CASE WHEN tracked_on IS NULL THEN 7 ELSE 21 END <= $1::date
    GROUP BY made_on, week_from ORDER BY week_from, made_on LIMIT $2
"""
# What the customers of a forecast bought in one of its weeks, by the segment and currency they were in when
# it was made: days with a purchase, as the models count, and money less what was given back.
# By purchases_when.
_TRACK = """
    WITH bought AS (
        SELECT m.segment, m.currency, m.customer_id, p.currency AS paid_in,
               (p.occurred_at AT TIME ZONE 'UTC')::date AS day, p.amount - coalesce(g.amount, 0) AS net
        FROM purchases p
        JOIN forecast_members m ON m.customer_id = p.customer_id
         AND m.since <= $1::date AND (m.until IS NULL OR m.until > $1::date)
        LEFT JOIN LATERAL (
            SELECT sum(amount) AS amount FROM refunds r
            WHERE r.purchase_id = p.id AND (r.occurred_at AT TIME ZONE 'UTC')::date <= $3::date
        ) g ON true
        WHERE p.occurred_at >= $2::date::timestamp AT TIME ZONE 'UTC'
          AND p.occurred_at < ($2::date + 7)::timestamp AT TIME ZONE 'UTC'
          AND (g.amount IS NULL OR g.amount < p.amount)
    ), came AS (
        SELECT coalesce(segment, 'all') AS segment, currency,
               count(DISTINCT (customer_id, day))::float8 AS purchases,
               coalesce(sum(net) FILTER (WHERE paid_in = currency), 0)::float8 AS revenue
        FROM bought GROUP BY GROUPING SETS ((segment, currency), (currency))
    )
    UPDATE forecast_weeks w
    SET tracked_on = $3, actual = coalesce((
        SELECT CASE w.measure WHEN 'purchases' THEN c.purchases ELSE c.revenue END
        FROM came c WHERE c.segment = w.segment AND c.currency = w.currency), 0)
    WHERE w.made_on = $1 AND w.week_from = $2
"""
_NEWEST = """
    SELECT made_on, weeks, purchase_model, spend_models::text AS spend_models, customers,
           unknown::text AS unknown, created_at
    FROM forecasts ORDER BY made_on DESC LIMIT 1
"""
_WEEKS = """
    SELECT made_on, week_from, measure, expected, low, high, actual FROM forecast_weeks
    WHERE made_on = $1 AND segment = $2 AND currency = $3 ORDER BY week_from, measure
"""
# Of each week that is over the last forecast that was made before it.
_PAST = """
    SELECT DISTINCT ON (week_from, measure) made_on, week_from, measure, expected, low, high, actual
    FROM forecast_weeks WHERE segment = $1 AND currency = $2 AND actual IS NOT NULL
    ORDER BY week_from DESC, measure, made_on DESC LIMIT $3
"""
_JUDGED = """
    SELECT measure, count(*)::int AS weeks,
           avg((actual BETWEEN low AND high)::int)::float8 AS coverage,
           (sum(actual) / nullif(sum(expected), 0) - 1)::float8 AS bias
    FROM forecast_weeks WHERE segment = $1 AND currency = $2 AND actual IS NOT NULL GROUP BY measure
"""
_CHOICES = """
    SELECT array_agg(DISTINCT segment ORDER BY segment) AS segments,
           array_agg(currency ORDER BY expected DESC, currency) FILTER (WHERE segment = 'all') AS currencies
    FROM forecast_weeks WHERE made_on = $1 AND measure = 'purchases' AND week_from = $1::date + 1
"""


@dataclass(frozen=True, slots=True)
class Models:
    """The models that serve, with the covariance of their estimates."""

    kind: PurchaseKind
    name: str
    unit_days: int
    purchases: Parameters
    spends: dict[str, SpendParameters]
    spend_names: dict[str, str]


@dataclass(frozen=True, slots=True)
class Forecast:
    """How a forecast was made."""

    made_on: date
    weeks: int
    purchase_model: str
    spend_models: dict[str, str]
    customers: int
    unknown: list[dict[str, str]]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Week:
    """What a forecast says of a week in one measure, and what came."""

    made_on: date
    week_from: date
    measure: str
    expected: float
    low: float | None
    high: float | None
    actual: float | None


async def read_models(connection: asyncpg.Connection) -> Models | None:
    """The models that serve; None without one of purchases."""
    rows = await connection.fetch(_MODELS)
    spends, names, purchases = {}, {}, None
    for row in rows:
        params, covariance = orjson.loads(row["params"]), orjson.loads(row["covariance"])
        if row["kind"] == "gamma_gamma":
            given = Parameters([params[name] for name in GammaGamma.names], covariance)
            spends[row["currency"]] = SpendParameters(given, row["refund_rate"])
            names[row["currency"]] = f"gamma_gamma/{row['version']}"
        else:
            given = Parameters([params[name] for name in purchases_by(row["kind"]).names], covariance)
            purchases = row, given
    if purchases is None:
        return None
    row, given = purchases
    unit_days = DAYS_PER_UNIT[row["unit"]]
    return Models(row["kind"], f"{row['kind']}/{row['version']}", unit_days, given, spends, names)


async def newest_day(connection: asyncpg.Connection) -> date | None:
    """The day of the last forecast."""
    day: date | None = await connection.fetchval("SELECT max(made_on) FROM forecasts")
    return day


async def enrol(connection: asyncpg.Connection, made_on: date) -> int:
    """Write down who is in which segment and currency on that day; returns how many buyers there are."""
    customers: int = 0
    after = BEFORE_ALL
    while True:
        row = await connection.fetchrow(_ENROL, made_on, after, CHUNK)
        customers += row["customers"]
        if row["customers"] < CHUNK:
            return customers
        after = row["last"]


async def read_buyers(
    connection: asyncpg.Connection, made_on: date, unit_days: int, limit: int
) -> tuple[list[str], list[str], Buyers]:
    """Segments, currencies, and the enrolled customers' histories as of that day, identical ones folded."""
    row = await connection.fetchrow(_PLACES)
    segments, currencies = row["segments"], row["currencies"]
    cell, x, last, age, repeats, customers, spend, squared = await fetch_columns(
        connection, _BUYERS, made_on, segments, currencies, limit, count=8
    )
    buyers = Buyers(
        cell.astype(np.int64), x, last / unit_days, age / unit_days, repeats, customers, spend, squared
    )
    return segments, currencies, buyers


async def write(connection: asyncpg.Connection, made: Forecast, rows: Sequence[Foretold]) -> None:
    """Keep a forecast in the place of one of the same day."""
    await connection.execute("DELETE FROM forecasts WHERE made_on = $1", made.made_on)
    await connection.execute(
        _KEEP,
        made.made_on,
        made.weeks,
        made.purchase_model,
        orjson.dumps(made.spend_models).decode(),
        made.customers,
        orjson.dumps(made.unknown).decode(),
        made.created_at,
    )
    await connection.execute(
        _KEEP_WEEKS,
        made.made_on,
        [row.segment for row in rows],
        [row.currency for row in rows],
        [row.measure for row in rows],
        [row.week for row in rows],
        [row.expected for row in rows],
        [row.low for row in rows],
        [row.high for row in rows],
    )
    await connection.execute(_FORGET, made.made_on - timedelta(days=KEPT_DAYS), CHUNK)


async def track(connection: asyncpg.Connection, observed: date) -> int:
    """Compare weeks that are over with what came, some at a time; returns how many."""
    over = await connection.fetch(_OVER, observed, PIECES)
    for row in over:
        await connection.execute(_TRACK, row["made_on"], row["week_from"], observed)
    return len(over)


async def newest(connection: asyncpg.Connection) -> Forecast | None:
    """How the newest forecast was made."""
    row = await connection.fetchrow(_NEWEST)
    if row is None:
        return None
    said = {name: orjson.loads(row[name]) for name in ("spend_models", "unknown")}
    return Forecast(**dict(row) | said)


async def choices(connection: asyncpg.Connection, made_on: date) -> tuple[list[str], list[str]]:
    """The segments and currencies that a forecast knows, the currency of most purchases first."""
    row = await connection.fetchrow(_CHOICES, made_on)
    return row["segments"] or [], row["currencies"] or []


async def read_weeks(
    connection: asyncpg.Connection, made_on: date, segment: str, currency: str
) -> list[Week]:
    """What a forecast says of a segment, week by week."""
    return [Week(**dict(row)) for row in await connection.fetch(_WEEKS, made_on, segment, currency)]


async def read_past(connection: asyncpg.Connection, segment: str, currency: str, limit: int) -> list[Week]:
    """The weeks that are over, newest first."""
    return [Week(**dict(row)) for row in await connection.fetch(_PAST, segment, currency, limit)]


async def judge(connection: asyncpg.Connection, segment: str, currency: str) -> dict[str, dict[str, Any]]:
    """By measure: weeks that are over, the share within the bounds, and how far off the sum was."""
    rows = await connection.fetch(_JUDGED, segment, currency)
    return {row["measure"]: {name: row[name] for name in ("weeks", "coverage", "bias")} for row in rows}
