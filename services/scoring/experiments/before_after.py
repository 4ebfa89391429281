"""Before and after an event: what a measure was in a window on either side, and how sure the difference is.

Every measure is a ratio of two sums over customers, R = sum(a) / sum(b): the mean score is scores over
answers, retention is who bought again over who had bought. A customer may be in both windows, so the variance
of the difference is that of sum((a2 - R2 b2) / B2 - (a1 - R1 b1) / B1) over customers, both ratios linearised
(the delta method), which takes care of that. A comparison group takes away what changed for everybody: the
difference in differences.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from uuid import UUID

import asyncpg
from pydantic import BaseModel, Field

from services.scoring.experiments.reading import fixed_spread

EffectMetric = Literal["csat", "nps", "retention", "spend", "clv", "referral_rate"]
MEANINGS: dict[EffectMetric, str] = {
    "csat": "mean satisfaction of the answers in the window",
    "nps": "net promoter score of the answers in the window, from -100 to 100",
    "retention": "share of those who bought in the window before who bought in this one",
    "spend": "net spend in the window per customer known before both, in minor units",
    "clv": "gain in the window per customer known before both, in minor units: spend times margin, the part "
    "of the lifetime value that has come true; what was expected at the time is not kept",
    "referral_rate": "friends brought in the window per customer known before both",
}
LEAST = 30  # customers in a window below which no interval is given
NO_CONTROL = (
    "There is no comparison group: the difference may come from anything that changed between the windows, "
    "such as the season, prices or other campaigns."
)
BY_CHANCE = "The groups were divided by chance, so what is left of the difference is the treatment's."
BY_SEGMENT = (
    "The difference in differences holds if both groups would have moved alike without the event. Segments "
    "are as they are now: what followed the event may have moved customers between them."
)

# $1 the event, $2 the window, $3 the metric, $4 currency, $5 segment, $6 segment to compare with,
# $7 experiment, $8 its control arm, $9 margin. One row for each group; the comparison has `compared`.
_READ = """
    WITH chosen AS (
        SELECT customer_id, min(arm) = $8::int AS compared
        FROM exposures WHERE experiment_id = $7 GROUP BY customer_id HAVING max(arm) - min(arm) < 1
        UNION ALL
        SELECT f.customer_id, s.segment IS NOT NULL AND s.segment IS NOT DISTINCT FROM $6::text
        FROM customer_facts f LEFT JOIN customer_scores s USING (customer_id)
        WHERE $7::uuid IS NULL AND ($5::text IS NULL OR s.segment IN ($5, $6))
    ), known AS (
        SELECT f.customer_id FROM customer_facts f
        WHERE $3 IN ('spend', 'clv', 'referral_rate')
          AND (f.registered_at < $1::timestamptz - $2::interval OR f.first_on < ($1 - $2)::date)
    ), given_back AS (
        SELECT purchase_id, sum(amount) AS amount FROM refunds
        WHERE $3 IN ('spend', 'clv', 'retention') GROUP BY 1
    ), bought AS (
        SELECT p.customer_id, p.currency, p.amount - coalesce(g.amount, 0) AS net,
               floor(extract(epoch FROM p.occurred_at - $1) / extract(epoch FROM $2))::int AS at
        FROM purchases p LEFT JOIN given_back g ON g.purchase_id = p.id
        WHERE $3 IN ('spend', 'clv', 'retention') AND (g.amount IS NULL OR g.amount < p.amount)
          AND p.occurred_at >= $1 - 2 * $2 AND p.occurred_at < $1 + $2
    ), parts AS (
        SELECT customer_id,
               count(*) FILTER (WHERE NOT later) AS b1, sum(score) FILTER (WHERE NOT later) AS a1,
               count(*) FILTER (WHERE later) AS b2, sum(score) FILTER (WHERE later) AS a2
        FROM (
            SELECT customer_id, occurred_at >= $1 AS later,
                   CASE WHEN kind = 'csat' THEN score WHEN score >= 9 THEN 100 WHEN score <= 6 THEN -100
                   ELSE 0 END AS score
            FROM survey_answers
            WHERE kind = $3 AND occurred_at >= $1 - $2 AND occurred_at < $1 + $2
        ) answers GROUP BY customer_id
        UNION ALL
        SELECT k.customer_id, 1, sum(b.net) FILTER (WHERE at = -1), 1, sum(b.net) FILTER (WHERE at = 0)
        FROM known k LEFT JOIN bought b ON b.customer_id = k.customer_id AND b.currency = $4
        WHERE $3 IN ('spend', 'clv') GROUP BY k.customer_id
        UNION ALL
        SELECT customer_id, old::int, (old AND mid)::int, mid::int, (mid AND new)::int
        FROM (SELECT customer_id, bool_or(at = -2) AS old, bool_or(at = -1) AS mid, bool_or(at = 0) AS new
              FROM bought WHERE $3 = 'retention' GROUP BY customer_id) windows
        WHERE old OR mid
        UNION ALL
        SELECT k.customer_id, 1, count(r.id) FILTER (WHERE r.occurred_at < $1),
               1, count(r.id) FILTER (WHERE r.occurred_at >= $1)
        FROM known k LEFT JOIN referrals r ON r.customer_id = k.customer_id
            AND r.occurred_at >= $1 - $2 AND r.occurred_at < $1 + $2
        WHERE $3 = 'referral_rate' GROUP BY k.customer_id
    ), scaled AS (
        SELECT c.compared, b1::float8, b2::float8, coalesce(a1, 0)::float8 * m.scale AS a1,
               coalesce(a2, 0)::float8 * m.scale AS a2
        FROM chosen c JOIN parts USING (customer_id),
             (SELECT CASE WHEN $3 = 'clv' THEN $9::float8 ELSE 1 END AS scale) m
    ), totals AS (
        SELECT compared, sum(b1) AS b1, sum(a1) AS a1, sum(b2) AS b2, sum(a2) AS a2,
               count(*) FILTER (WHERE b1 > 0) AS n1, count(*) FILTER (WHERE b2 > 0) AS n2, count(*) AS n
        FROM scaled GROUP BY compared
    )
    SELECT t.compared, t.n1, t.n2, t.a1 / nullif(t.b1, 0) AS before, t.a2 / nullif(t.b2, 0) AS after,
           (SELECT sum(power((s.a2 - t.a2 / t.b2 * s.b2) / t.b2 - (s.a1 - t.a1 / t.b1 * s.b1) / t.b1, 2))
            FROM scaled s WHERE s.compared = t.compared AND t.b1 > 0 AND t.b2 > 0)
           * t.n / greatest(t.n - 1, 1) AS variance
    FROM totals t
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is compared: windows of `window_days` on either side of the beginning of `event_on`, in UTC."""

    event_on: date
    window_days: int
    metric: EffectMetric
    currency: str | None
    segment: str | None
    control_segment: str | None
    experiment_id: UUID | None
    control_arm: int
    margin: float


class ChangeOut(BaseModel):
    """A measure before and after in one group; null where nothing is known."""

    customers_before: int
    customers_after: int
    before: float | None
    after: float | None
    difference: float | None
    low: float | None = Field(description="Of the 95 % interval of the difference.")
    high: float | None


class BeforeAfterOut(BaseModel):
    """A measure before and after an event, with a comparison group where one was named."""

    metric: EffectMetric
    meaning: str
    before_from: date
    event_on: date
    after_until: date = Field(description="The first day that no longer counts.")
    change: ChangeOut
    comparison: ChangeOut | None = Field(description="Null without a comparison group.")
    difference_in_differences: float | None
    low: float | None = Field(description="Of its 95 % interval.")
    high: float | None
    controlled: bool
    words: list[str]


@dataclass(frozen=True, slots=True)
class _Group:
    change: ChangeOut
    variance: float | None


async def before_after(connection: asyncpg.Connection, asked: Asked) -> BeforeAfterOut:
    """The measure on either side of the event."""
    window = timedelta(days=asked.window_days)
    rows = await connection.fetch(
        _READ,
        datetime.combine(asked.event_on, time(), UTC),
        window,
        asked.metric,
        asked.currency,
        asked.segment,
        asked.control_segment,
        asked.experiment_id,
        asked.control_arm,
        asked.margin,
    )
    groups = {row["compared"]: _group(row) for row in rows}
    nothing = _Group(_change(0, 0, None, None, None), None)
    controlled = asked.experiment_id is not None or asked.control_segment is not None
    change, comparison = groups.get(False, nothing), groups.get(True, nothing)
    double, low, high = _double(change, comparison) if controlled else (None, None, None)
    return BeforeAfterOut(
        metric=asked.metric,
        meaning=MEANINGS[asked.metric],
        before_from=asked.event_on - window,
        event_on=asked.event_on,
        after_until=asked.event_on + window,
        change=change.change,
        comparison=comparison.change if controlled else None,
        difference_in_differences=double,
        low=low,
        high=high,
        controlled=controlled,
        words=_words(asked, change, comparison, low, high),
    )


def _words(
    asked: Asked, change: _Group, comparison: _Group, low: float | None, high: float | None
) -> list[str]:
    if asked.experiment_id is None and asked.control_segment is None:
        words = [NO_CONTROL]
        low, high = change.change.low, change.change.high
    else:
        words = [BY_CHANCE if asked.experiment_id else BY_SEGMENT]
        if comparison.change.difference is None:
            words.append("Too little is known of the comparison group.")
    if low is None or high is None:
        words.append("There is no interval: too few customers, or all alike.")
    elif low <= 0 <= high:
        words.append("The interval holds zero: no change is shown.")
    return words


def _group(row: asyncpg.Record) -> _Group:
    enough = min(row["n1"], row["n2"]) >= LEAST and row["variance"]
    variance = float(row["variance"]) if enough else None
    return _Group(_change(row["n1"], row["n2"], row["before"], row["after"], variance), variance)


def _change(n1: int, n2: int, before: float | None, after: float | None, variance: float | None) -> ChangeOut:
    difference = None if before is None or after is None else after - before
    low, high = _interval(difference, variance)
    return ChangeOut(
        customers_before=n1,
        customers_after=n2,
        before=before,
        after=after,
        difference=difference,
        low=low,
        high=high,
    )


def _double(change: _Group, comparison: _Group) -> tuple[float | None, float | None, float | None]:
    one, other = change.change.difference, comparison.change.difference
    if one is None or other is None:
        return None, None, None
    known = change.variance is not None and comparison.variance is not None
    variance = (change.variance or 0) + (comparison.variance or 0) if known else None
    return one - other, *_interval(one - other, variance)


def _interval(middle: float | None, variance: float | None) -> tuple[float | None, float | None]:
    if middle is None or variance is None:
        return None, None
    reach = fixed_spread(0.05) * variance**0.5
    return middle - reach, middle + reach
