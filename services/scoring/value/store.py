"""SQL of the scores: read facts as columns, write what changed, cut recency, frequency and money."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import orjson
from numpy.typing import NDArray

from services.scoring.value.lifetime import FactColumns, Scores
from services.scoring.value.rules import FIFTHS, Cuts

HISTORY_DAYS = 3 * 366  # how far back changes of recency, frequency and money are kept

_READ = """
    SELECT customer_id, days, greatest($2::date - last_on, 0) AS since_last,
           coalesce(last_on - first_on, 0) AS span, greatest($2::date - first_on, 0) AS age, currency,
           coalesce(spend, 0) AS spend, coalesce(currency_days, 0) AS currency_days,
           coalesce(repeat_days, 0) AS repeat_days,
           coalesce(repeat_gross, repeat_spend, 0) AS repeat_spend, other_spend IS NOT NULL AS mixed,
           later > 0 AS later
    FROM customer_facts WHERE customer_id = ANY ($1) ORDER BY customer_id
"""
# Scores that differ are written; who shows anything new is marked for the view; who has a new score is told
# about. One statement, so that a batch of hundreds of customers costs one round trip.
_WRITE = """
    WITH told AS (
        SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::smallint[], $4::smallint[], $5::text[],
                             $6::float8[], $7::float8[], $8::bigint[], $9::int[], $10::int[], $11::text[],
                             $17::float8[])
            AS t (customer_id, recency_score, frequency_score, monetary_score, segment, p_alive,
                  expected_purchases, clv, purchase_model, spend_model, unknown, weighted_score)
    ), before AS (
        SELECT s.* FROM customer_scores s WHERE s.customer_id = ANY ($1)
    ), written AS (
        INSERT INTO customer_scores AS s (
            customer_id, as_of, horizon_days, recency_score, frequency_score, monetary_score, segment,
            p_alive, expected_purchases, clv, purchase_kind, purchase_model, spend_model, unknown,
            weighted_score)
        SELECT customer_id, $12::date, $13::int, recency_score, frequency_score, monetary_score, segment,
               p_alive, expected_purchases, clv, $16::text, purchase_model, spend_model,
               string_to_array(unknown, ','), weighted_score
        FROM told
        ON CONFLICT (customer_id) DO UPDATE SET
            as_of = EXCLUDED.as_of, horizon_days = EXCLUDED.horizon_days,
            recency_score = EXCLUDED.recency_score, frequency_score = EXCLUDED.frequency_score,
            monetary_score = EXCLUDED.monetary_score, segment = EXCLUDED.segment,
            p_alive = EXCLUDED.p_alive, expected_purchases = EXCLUDED.expected_purchases,
            clv = EXCLUDED.clv, purchase_kind = EXCLUDED.purchase_kind,
            purchase_model = EXCLUDED.purchase_model, spend_model = EXCLUDED.spend_model,
            unknown = EXCLUDED.unknown, weighted_score = EXCLUDED.weighted_score
        WHERE (s.*) IS DISTINCT FROM (EXCLUDED.*)
        RETURNING s.*
    ), news AS (
        SELECT w.* FROM written w LEFT JOIN before b USING (customer_id)
        WHERE (w.recency_score, w.frequency_score, w.monetary_score, w.segment, w.p_alive,
               w.expected_purchases, w.clv)
              IS DISTINCT FROM
              (b.recency_score, b.frequency_score, b.monetary_score, b.segment, b.p_alive,
               b.expected_purchases, b.clv)
    ), moved AS (
        INSERT INTO rfm_history AS h (
            customer_id, as_of, recency_score, frequency_score, monetary_score, segment)
        SELECT n.customer_id, n.as_of, n.recency_score, n.frequency_score, n.monetary_score, n.segment
        FROM news n LEFT JOIN before b USING (customer_id)
        WHERE (n.recency_score, n.frequency_score, n.monetary_score)
              IS DISTINCT FROM (b.recency_score, b.frequency_score, b.monetary_score)
        ON CONFLICT (customer_id, as_of) DO UPDATE SET
            recency_score = EXCLUDED.recency_score, frequency_score = EXCLUDED.frequency_score,
            monetary_score = EXCLUDED.monetary_score, segment = EXCLUDED.segment
        RETURNING h.customer_id
    ), bounded AS (
        DELETE FROM rfm_history h USING moved m
        WHERE h.customer_id = m.customer_id AND h.as_of < $12::date - $18::int
    ), emitted AS (
        SELECT outbox_emit('score.updated', n.customer_id, jsonb_build_object(
            'customer_id', n.customer_id,
            'model_version', nullif(concat_ws('+', n.purchase_kind || '/' || n.purchase_model,
                                              'gamma_gamma/' || n.spend_model), ''),
            'values', jsonb_build_object(
                'recency_score', n.recency_score, 'frequency_score', n.frequency_score,
                'monetary_score', n.monetary_score, 'segment', n.segment, 'p_alive', n.p_alive,
                'expected_purchases', n.expected_purchases, 'clv', n.clv,
                'currency', CASE WHEN n.clv IS NOT NULL THEN f.currency END),
            'reasons', to_jsonb($14::text[]),
            'as_of', to_char(n.as_of, 'YYYY-MM-DD"T00:00:00Z"'))) AS id
        FROM news n JOIN customer_facts f USING (customer_id)
    ), marked AS (
        INSERT INTO section_marks (customer_id)
        SELECT customer_id FROM written UNION SELECT unnest($15::uuid[])
    )
    SELECT (SELECT count(*) FROM written) AS written, (SELECT count(emitted.id) FROM emitted) AS emitted
"""
_CUT_DAYS = """
    SELECT count(*)::int AS customers,
           percentile_disc($2::float8[]) WITHIN GROUP (ORDER BY $1::date - last_on) AS recency,
           percentile_disc($2::float8[]) WITHIN GROUP (ORDER BY days) AS frequency
    FROM customer_facts WHERE days > 0
"""
_CUT_MONEY = """
    SELECT currency, percentile_disc($1::float8[]) WITHIN GROUP (ORDER BY spend) AS spend
    FROM customer_facts WHERE days > 0 GROUP BY currency ORDER BY currency
"""
_KEEP_CUTS = """
    INSERT INTO rfm_cuts AS c (as_of, recency, frequency, monetary)
    VALUES ($1, $2, $3, $4::text::jsonb)
    ON CONFLICT (as_of) DO UPDATE SET
        recency = EXCLUDED.recency, frequency = EXCLUDED.frequency, monetary = EXCLUDED.monetary
    WHERE (c.recency, c.frequency, c.monetary)
          IS DISTINCT FROM (EXCLUDED.recency, EXCLUDED.frequency, EXCLUDED.monetary)
    RETURNING as_of
"""
_READ_CUTS = """
    SELECT s.setup::text AS setup, c.recency, c.frequency, c.monetary::text AS monetary
    FROM rfm_setup s LEFT JOIN LATERAL (
        SELECT * FROM rfm_cuts ORDER BY as_of = $1 DESC, as_of DESC LIMIT 1
    ) c ON true
"""
_READ_TYPICAL = """
    SELECT jsonb_build_object(
        'of', CASE t.segment WHEN '' THEN 'all buyers' ELSE t.segment END, 'customers', t.customers,
        'p_alive', t.p_alive, 'expected_purchases', t.expected_purchases, 'clv', t.clv,
        'currency', t.currency, 'horizon_days', t.horizon_days, 'modelled', t.modelled,
        'as_of', t.as_of)::text
    FROM customer_scores s JOIN typical t ON t.segment IN ('', s.segment)
    WHERE s.customer_id = $1 AND (s.p_alive IS NULL OR s.clv IS NULL)
    ORDER BY t.segment DESC LIMIT 1
"""
# Means over the buyers of each segment, and over all. Where no model serves, what was bought after the first
# day, over the days since, stands for it.
_TYPIFY = """
    INSERT INTO typical (segment, customers, p_alive, expected_purchases, clv, currency, horizon_days,
                         modelled, as_of)
    SELECT coalesce(segment, ''), count(*), round(avg(p_alive)::numeric, 4),
           round(coalesce(avg(expected_purchases), avg(rate * $2))::numeric, 4),
           round(coalesce(avg(clv), avg(spend_rate * $2 * $3)))::bigint, min(main), $2,
           count(expected_purchases) > 0, $1
    FROM (
        SELECT s.segment, s.p_alive, s.expected_purchases, m.currency AS main,
               (f.days - 1)::float8 / greatest($1::date - f.first_on, 1) AS rate,
               CASE WHEN f.currency = m.currency THEN s.clv END AS clv,
               CASE WHEN f.currency = m.currency
                    THEN f.repeat_spend::float8 / greatest($1::date - f.first_on, 1) END AS spend_rate
        FROM customer_facts f JOIN customer_scores s USING (customer_id)
        CROSS JOIN (SELECT currency FROM customer_facts WHERE days > 0
                    GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1) m
        WHERE f.days > 0
    ) buyers
    GROUP BY GROUPING SETS ((segment), ())
    HAVING grouping(segment) = 1 OR segment IS NOT NULL
"""


async def read_columns(
    connection: asyncpg.Connection, customer_ids: Sequence[UUID], observed: date
) -> FactColumns:
    """The facts of these customers as columns, in the order of their ids."""
    rows = await connection.fetch(_READ, customer_ids, observed)

    def column(name: str, kind: Any = np.float64) -> NDArray[Any]:
        return np.array([row[name] for row in rows], dtype=kind)

    return FactColumns(
        customer_ids=[row["customer_id"] for row in rows],
        days=column("days"),
        since_last=column("since_last"),
        span=column("span"),
        age=column("age"),
        currency=column("currency", object),
        spend=column("spend"),
        currency_days=column("currency_days"),
        repeat_days=column("repeat_days"),
        repeat_spend=column("repeat_spend"),
        mixed=column("mixed", bool),
        later=column("later", bool),
    )


async def write(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    scores: Scores,
    *,
    observed: date,
    horizon_days: int,
    reasons: Sequence[str],
    also_mark: Iterable[UUID] = (),
) -> int:
    """Write the scores that changed, mark those customers' section and tell about new scores.

    `also_mark` are customers whose facts changed. Returns how many customers' scores were written.
    """
    row = await connection.fetchrow(
        _WRITE,
        customer_ids,
        scores.recency,
        scores.frequency,
        scores.monetary,
        scores.segment,
        scores.p_alive,
        scores.expected_purchases,
        scores.clv,
        scores.purchase_model,
        scores.spend_model,
        scores.unknown,
        observed,
        horizon_days,
        list(reasons),
        list(also_mark),
        scores.purchase_kind,
        scores.weighted,
        HISTORY_DAYS,
    )
    return int(row["written"])


async def read_cuts(connection: asyncpg.Connection, observed: date) -> Cuts:
    """The cuts that were set, and for the rest those of the observation date, or the latest there are."""
    row = await connection.fetchrow(_READ_CUTS, observed)
    chosen = orjson.loads(row["setup"])
    money = orjson.loads(row["monetary"] or "{}") | chosen.get("monetary", {})
    recency = chosen.get("recency") or row["recency"]
    frequency = chosen.get("frequency") or row["frequency"]
    weights = chosen.get("weights", {})
    return Cuts(
        tuple(recency) if recency else None,
        tuple(frequency) if frequency else None,
        {currency: tuple(points) for currency, points in money.items()},
        (weights.get("recency", 1.0), weights.get("frequency", 1.0), weights.get("monetary", 1.0)),
    )


async def cut(connection: asyncpg.Connection, observed: date, minimum_customers: int) -> bool:
    """Compute the cuts anew over all buyers; returns whether they changed."""
    days = await connection.fetchrow(_CUT_DAYS, observed, list(FIFTHS))
    if days["customers"] < minimum_customers:
        return False
    money = {row["currency"]: row["spend"] for row in await connection.fetch(_CUT_MONEY, list(FIFTHS))}
    kept = await connection.fetchval(
        _KEEP_CUTS,
        observed,
        days["recency"],
        days["frequency"],
        orjson.dumps(money).decode(),
    )
    return kept is not None


async def typify(connection: asyncpg.Connection, observed: date, horizon_days: int, margin: float) -> None:
    """Compute anew what customers of each segment come to, for those of whom no model says anything."""
    await connection.execute("DELETE FROM typical")
    await connection.execute(_TYPIFY, observed, horizon_days, margin)


async def read_typical(connection: asyncpg.Connection, customer_id: UUID) -> str | None:
    """What customers like this one come to, as JSON text, where no model says all of them; else None.

    It is no part of the view: each walk changes it, for everybody at once.
    """
    typical: str | None = await connection.fetchval(_READ_TYPICAL, customer_id)
    return typical


async def changes_waiting(connection: asyncpg.Connection) -> tuple[int, float, float] | None:
    """The last batch of changed facts, and the seconds since it and since the first; None without one."""
    row = await connection.fetchrow(
        """SELECT max(id) AS last, extract(epoch FROM clock_timestamp() - max(at))::float8 AS quiet_s,
                  extract(epoch FROM clock_timestamp() - min(at))::float8 AS waited_s FROM fact_changes"""
    )
    return None if row["last"] is None else (row["last"], row["quiet_s"], row["waited_s"])


async def forget_changes(connection: asyncpg.Connection, up_to: int) -> None:
    """The cuts now reflect these changes."""
    await connection.execute("DELETE FROM fact_changes WHERE id <= $1", up_to)


async def read_basis(connection: asyncpg.Connection) -> tuple[date, str] | None:
    """The observation date and settings that scores stand on."""
    row = await connection.fetchrow("SELECT as_of, words FROM basis")
    return (row["as_of"], row["words"]) if row else None


async def write_basis(connection: asyncpg.Connection, observed: date, words: str) -> None:
    """From now on scores stand on these."""
    await connection.execute(
        """INSERT INTO basis (as_of, words) VALUES ($1, $2)
           ON CONFLICT (only_one) DO UPDATE SET as_of = EXCLUDED.as_of, words = EXCLUDED.words""",
        observed,
        words,
    )
