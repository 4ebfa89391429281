"""SQL of the value index: what is measured, the scales over all customers, and each one's index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import numpy as np
import orjson

from services.scoring.due import BEFORE_ALL
from services.scoring.value_index.ahp import Floats
from services.scoring.value_index.rules import CENTILES, MEASURES, CostToServe, Indexed

MONEY = frozenset({"clv", "depth", "profit_contribution"})
ANY = ""  # the scale of measures that are not money

# The measures of these customers; null where not known. Profit is spend less what the goods cost, by the
# margin where that is not known, over what serving them cost. Fewer complaints are better: they count down.
_MEASURES = """
    SELECT f.customer_id, f.currency, s.clv::float8 AS clv,
           CASE WHEN f.currency = $3 THEN (
               coalesce(p.profit, f.spend * $2::float8)
               / nullif(f.purchases * $4::float8 + f.tickets * $5::float8, 0)
           )::float8 END AS profit_contribution,
           f.csat::float8 AS csat,
           CASE WHEN f.days > 0 OR f.tickets > 0 THEN -f.complaints::float8 END AS complaints,
           CASE WHEN f.days > 0 THEN (f.days - 1)::float8 END AS repurchase,
           CASE WHEN f.days > 0 OR r.friends > 0 THEN r.friends::float8 END AS referral,
           CASE WHEN f.currency_days > 0 THEN f.spend::float8 / f.currency_days END AS depth,
           CASE WHEN f.days > 0 THEN (f.last_on - f.first_on)::float8 * coalesce(s.p_alive, 1)
           END AS stability,
           i.value, i.parts::text AS parts
    FROM customer_facts f
    LEFT JOIN customer_scores s USING (customer_id)
    LEFT JOIN value_indexes i USING (customer_id)
    LEFT JOIN LATERAL (SELECT count(*) AS friends FROM referrals WHERE customer_id = f.customer_id) r ON true
    LEFT JOIN LATERAL (
        SELECT CASE WHEN bool_and(cost IS NOT NULL) THEN f.spend - sum(cost) END AS profit
        FROM purchases WHERE $3::text IS NOT NULL AND customer_id = f.customer_id AND currency = f.currency
    ) p ON true
    WHERE f.customer_id = ANY ($1) ORDER BY f.customer_id
"""
# The next of a pass over all, and a sample for the scales: ids are random enough in their last bytes.
_SAMPLE = """
    SELECT customer_id FROM customer_facts
    WHERE days > 0 OR tickets > 0 ORDER BY md5(customer_id::text) LIMIT $1
"""
_WRITE = """
    WITH written AS (
        INSERT INTO value_indexes AS v (customer_id, value, grade, parts, moved, moved_by)
        SELECT t.customer_id, t.value, t.grade, t.parts::jsonb, t.moved, t.moved_by
        FROM unnest($1::uuid[], $2::float8[], $3::text[], $4::text[], $5::text[], $6::float8[])
            AS t (customer_id, value, grade, parts, moved, moved_by)
        WHERE EXISTS (SELECT FROM customer_facts f WHERE f.customer_id = t.customer_id)
        ORDER BY 1
        ON CONFLICT (customer_id) DO UPDATE SET
            value = EXCLUDED.value, grade = EXCLUDED.grade, parts = EXCLUDED.parts,
            moved = coalesce(EXCLUDED.moved, v.moved),
            moved_by = CASE WHEN EXCLUDED.moved IS NULL THEN v.moved_by ELSE EXCLUDED.moved_by END
        WHERE (v.value, v.grade, v.parts) IS DISTINCT FROM (EXCLUDED.value, EXCLUDED.grade, EXCLUDED.parts)
        RETURNING customer_id
    )
    INSERT INTO section_marks (customer_id) SELECT customer_id FROM written
"""
_STATE = """
    SELECT version, setup::text AS setup, scales::text AS scales, after,
           after IS NULL AND (
               pass_at = 'epoch' OR EXISTS (SELECT FROM walks WHERE finished_at > pass_at)) AS due
    FROM value_index_setup
"""
_BEGIN = """
    UPDATE value_index_setup SET scales = $1::text::jsonb, after = $2, pass_at = clock_timestamp()
    WHERE version = $3
"""
_SET = """
    UPDATE value_index_setup
    SET version = version + 1, setup = $2::text::jsonb, after = NULL, pass_at = 'epoch'
    WHERE version = $1 RETURNING version
"""

Scales = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class State:
    """The setup as JSON text, the scales, how far a pass has come, and whether a new one is due."""

    version: int
    setup: str
    scales: Scales
    after: UUID | None
    due: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """n customers: their measures, shape (n,) each, nan where not known, and their index so far."""

    customer_ids: list[UUID]
    currencies: list[str | None]
    columns: Mapping[str, Floats]
    parts: list[Mapping[str, float] | None]


async def read_state(connection: asyncpg.Connection) -> State:
    """How the index is made now."""
    row = await connection.fetchrow(_STATE)
    return State(row["version"], row["setup"], orjson.loads(row["scales"]), row["after"], row["due"])


async def change_setup(connection: asyncpg.Connection, version: int, setup: str) -> int | None:
    """Set how the index is made and have all indexed anew; None when `version` is not the present one."""
    changed: int | None = await connection.fetchval(_SET, version, setup)
    return changed


async def sample(connection: asyncpg.Connection, limit: int) -> list[UUID]:
    """Customers that stand for all in the scales: the same ones each time."""
    return [row["customer_id"] for row in await connection.fetch(_SAMPLE, limit)]


async def measure(
    connection: asyncpg.Connection, customer_ids: Sequence[UUID], margin: float, costs: CostToServe | None
) -> Measured:
    """The measures of these customers."""
    rows = await connection.fetch(
        _MEASURES,
        customer_ids,
        margin,
        costs.currency if costs else None,
        costs.per_purchase if costs else 0,
        costs.per_ticket if costs else 0,
    )
    return Measured(
        [row["customer_id"] for row in rows],
        [row["currency"] for row in rows],
        {m: np.array([row[m] for row in rows], dtype=np.float64) for m in MEASURES},
        [orjson.loads(row["parts"]) if row["parts"] else None for row in rows],
    )


async def begin_pass(connection: asyncpg.Connection, scales: Scales, version: int) -> None:
    """A pass over all begins with these scales, unless the setup has changed meanwhile."""
    await connection.execute(_BEGIN, orjson.dumps(scales).decode(), BEFORE_ALL, version)


async def advance(connection: asyncpg.Connection, after: UUID | None, version: int) -> None:
    """The pass has come this far; None: it is done."""
    await connection.execute("UPDATE value_index_setup SET after = $1 WHERE version = $2", after, version)


async def write(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    indexed: Sequence[Indexed],
    moves: Sequence[tuple[str, float] | None],
) -> None:
    """Write the indexes that changed and mark those customers' section."""
    await connection.execute(
        _WRITE,
        customer_ids,
        [one.value for one in indexed],
        [one.grade for one in indexed],
        [orjson.dumps(one.parts).decode() for one in indexed],
        [move[0] if move else None for move in moves],
        [move[1] if move else None for move in moves],
    )


async def grades(connection: asyncpg.Connection) -> dict[str, int]:
    """Customers by grade."""
    rows = await connection.fetch("SELECT grade, count(*) AS customers FROM value_indexes GROUP BY grade")
    return {"high": 0, "middle": 0, "low": 0} | {row["grade"]: row["customers"] for row in rows}


def centiles(measured: Measured, least: int) -> dict[str, dict[str, list[float]]]:
    """The 99 centiles of each measure, money by currency; left out where fewer than `least` are known."""
    found: dict[str, dict[str, list[float]]] = {}
    currency = np.array([name or ANY for name in measured.currencies], dtype=object)
    for name, values in measured.columns.items():
        by_currency = name in MONEY
        for group in set(currency) if by_currency else {ANY}:
            known = values[~np.isnan(values) & ((currency == group) | (not by_currency))]
            if known.size >= least:
                cuts = np.quantile(known, CENTILES, method="inverted_cdf")
                found.setdefault(name, {})[group] = [float(cut) for cut in cuts]
    return found
