"""All SQL of effect: who had what when, and what they and others bought. Read only.

What members did is earning's (`deeds`), their tiers are the tiers' (`tier_changes`); nothing is kept here.
Large programmes are sampled, by a hash of the member's id: the same members at each look.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

import asyncpg

from services.loyalty.effect.rules import YEAR, History
from shared.problems import Invalid

Kind = Literal["reward", "rule", "tier"]

WITH_IT = 5_000  # members who had it, at most
WITHOUT = 10_000  # members of whom those without it are taken, at most
PURCHASES = 2_000_000  # of all of them, at most
READ_WITHIN_S = 10.0  # the gateway waits 15 s for the answer
DAY_S = 86_400.0

# The first time that members had it, and what it cost in the period ($2 to $3). $1: which.
_HAD: dict[Kind, str] = {
    # Index: reward_redemptions_of_reward.
    "reward": """
        SELECT r.customer_id, min(r.redeemed_at) AS at,
               sum(CASE WHEN w.cost > 0 THEN r.quantity * w.cost ELSE r.points * $4::numeric END)
                   FILTER (WHERE r.redeemed_at >= $2 AND r.redeemed_at < $3) AS cost
          FROM reward_redemptions AS r JOIN rewards AS w ON w.id = r.reward_id
         WHERE r.reward_id = $1::uuid AND r.cancelled_at IS NULL GROUP BY r.customer_id
    """,
    "rule": """
        SELECT d.customer_id, min(d.occurred_at) AS at,
               sum(a.points * $4::numeric) FILTER (WHERE d.occurred_at >= $2 AND d.occurred_at < $3) AS cost
          FROM deeds AS d CROSS JOIN LATERAL jsonb_to_recordset(d.awards) AS a (rule text, points bigint)
         WHERE a.rule = $1 AND a.points > 0 GROUP BY d.customer_id
    """,
    "tier": """
        SELECT customer_id, min(at) AS at, NULL::numeric AS cost
          FROM tier_changes
         WHERE to_tier = $1 AND $2::timestamptz < $3::timestamptz AND $4::numeric >= 0 GROUP BY customer_id
    """,
}
# Who is looked at: a sample of those who first had it in the period, and one of all who bought from $5 until
# before $3 and had not had it when the period began (`control`), who may get it later. At most $6 and $7. How
# many had it and what it cost is told of all.
_MEMBERS: dict[Kind, str] = {
    kind: f"""
        WITH had AS MATERIALIZED ({had}),
        inside AS MATERIALIZED (SELECT * FROM had WHERE at >= $2 AND at < $3),
        chosen AS (
            SELECT customer_id FROM inside
             ORDER BY hashtextextended(customer_id::text, 360), customer_id LIMIT $6
        ), buyers AS (
            SELECT customer_id FROM (SELECT DISTINCT customer_id FROM deeds WHERE kind = 'purchase'
                                        AND occurred_at >= $5 AND occurred_at < $3) AS buyer
             WHERE NOT EXISTS (SELECT FROM had WHERE had.customer_id = buyer.customer_id AND had.at < $2)
             ORDER BY hashtextextended(customer_id::text, 360), customer_id LIMIT $7
        ), members AS (
            SELECT customer_id, buyers.customer_id IS NOT NULL AS control
              FROM chosen FULL JOIN buyers USING (customer_id)
        )
        SELECT total.with_it, total.cost, member.customer_id, member.at, member.control
          FROM (SELECT count(*) AS with_it, sum(cost) AS cost FROM inside) AS total
          LEFT JOIN (SELECT customer_id, had.at, control
                       FROM members LEFT JOIN had USING (customer_id)) AS member ON true
         ORDER BY member.customer_id
    """  # noqa: S608 - our own statements
    for kind, had in _HAD.items()
}
# Index: deeds_of_member.
_PURCHASES = """
    SELECT customer_id, occurred_at, CASE WHEN currency = $4 THEN amount ELSE 0 END AS spent FROM deeds
     WHERE kind = 'purchase' AND customer_id = ANY ($1::uuid[]) AND occurred_at >= $2 AND occurred_at < $3
     ORDER BY customer_id, occurred_at LIMIT $5
"""
# Index: tier_changes_pkey.
_TIERS = """
    SELECT customer_id, at, to_tier FROM tier_changes WHERE customer_id = ANY ($1::uuid[])
     ORDER BY customer_id, at, place
"""
_KNOWN: dict[Kind, str] = {
    "reward": "SELECT EXISTS (SELECT FROM rewards WHERE id = $1::uuid)",
    "rule": "SELECT EXISTS (SELECT FROM earning_rules WHERE id = $1)",
    "tier": """SELECT EXISTS (SELECT FROM tier_tables CROSS JOIN LATERAL jsonb_array_elements(tiers) AS tier
                               WHERE tier ->> 'name' = $1)""",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked at, in which period, and for how many days after it."""

    kind: Kind
    id: str
    start: datetime
    end: datetime
    days: int


@dataclass(frozen=True, slots=True)
class Found:
    """Members' histories, and what the thing cost in the period, in exact minor units (None: not known)."""

    histories: list[History]
    with_it: int
    cost: int | None
    sampled: bool


class TooMuch(Invalid):
    slug, title = "period-too-large", "There are more purchases in this period than one look may read"


async def known(pool: asyncpg.Pool, kind: Kind, name: str) -> bool:
    """Whether there is such a reward, rule or tier."""
    return bool(await pool.fetchval(_KNOWN[kind], name))


async def read(pool: asyncpg.Pool, asked: Question, *, currency: str, cost_per_point: Decimal) -> Found:
    """Who had it, others to compare them with, and what all of them bought.

    Raises:
        TooMuch: look at a shorter period.
    """
    first, last = asked.start - timedelta(days=YEAR), asked.end + timedelta(days=asked.days + 7)
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                looked_at = (asked.id, asked.start, asked.end, cost_per_point, first, WITH_IT, WITHOUT)
                found = await connection.fetch(_MEMBERS[asked.kind], *looked_at)
                members = [row for row in found if row["customer_id"] is not None]
                ids = [row["customer_id"] for row in members]
                bought = await connection.fetch(_PURCHASES, ids, first, last, currency, PURCHASES + 1)
                tiers = await connection.fetch(_TIERS, ids)
        except (TimeoutError, asyncpg.QueryCanceledError) as too_slow:
            raise TooMuch("It took too long; look at a shorter period.") from too_slow
    if len(bought) > PURCHASES:
        raise TooMuch("Look at a shorter period.")
    with_it, cost = found[0]["with_it"], found[0]["cost"]
    return Found(
        histories=_histories(members, bought, tiers),
        with_it=with_it,
        cost=None if cost is None else round(cost),
        sampled=with_it > WITH_IT or sum(row["control"] for row in members) == WITHOUT,
    )


def day(moment: datetime) -> float:
    """Days since 1970, as the rules count them."""
    return moment.astimezone(UTC).timestamp() / DAY_S


def _histories(
    members: list[asyncpg.Record], bought: list[asyncpg.Record], changes: list[asyncpg.Record]
) -> list[History]:
    days: dict[UUID, list[float]] = defaultdict(list)
    spent: dict[UUID, list[int]] = defaultdict(list)
    tiers: dict[UUID, list[tuple[float, str]]] = defaultdict(list)
    for row in bought:
        days[row["customer_id"]].append(day(row["occurred_at"]))
        spent[row["customer_id"]].append(row["spent"])
    for row in changes:
        tiers[row["customer_id"]].append((day(row["at"]), row["to_tier"]))
    return [
        History(
            days[member],
            spent[member],
            tiers[member],
            None if row["at"] is None else day(row["at"]),
            row["control"],
        )
        for row in members
        if (member := row["customer_id"]) in days
    ]
