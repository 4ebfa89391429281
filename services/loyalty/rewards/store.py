"""All SQL of rewards.

Locks are taken in one order: redemption, reward, member's account. Two who want the last piece go one after
the other (take.sql).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import text, update
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.coupons.codes import shown
from services.loyalty.ledger.family import Family
from services.loyalty.ledger.refusals import refusal
from services.loyalty.ledger.store import Key
from services.loyalty.rewards.rules import Terms
from services.loyalty.tables import Reward, RewardRedemption
from shared.ids import new_id
from shared.problems import NotFound
from shared.telemetry import current_traceparent

FUNCTION = Path(__file__).with_name("take.sql")

# What a redemption is judged by. Who has bought nothing yet is in the lowest tier.
# Indexes: reward_redemptions_of_reward, standings_pkey, tier_tables_pkey.
_OFFER = """
    SELECT r.version, r.points, r.tier_points::text AS tier_points, r.stock - r.taken AS left,
           r.limit_per_customer, r.starts_at, r.ends_at, r.retired_at IS NOT NULL AS retired,
           least(r.ends_at, k.ends_at) AS over_at, r.campaign_id IS NOT NULL AS in_coupons,
           coalesce(p.active, true) AS active,
           coalesce((SELECT tier_now FROM standings WHERE customer_id = one.survivor),
                    (SELECT newcomer ->> 'name' FROM tier_tables ORDER BY version DESC LIMIT 1)) AS tier,
           (SELECT coalesce(sum(quantity), 0)::bigint FROM reward_redemptions
             WHERE reward_id = r.id AND cancelled_at IS NULL
               AND customer_id = ANY (array(SELECT family(one.survivor)))) AS taken_before
      FROM survivors(ARRAY[$2::uuid]) AS one, rewards AS r
      LEFT JOIN coupon_campaigns AS k ON k.id = r.campaign_id
      LEFT JOIN loyalty_partners AS p ON p.id = r.partner_id
     WHERE r.id = $1
"""
_TAKE = """
    SELECT outcome, balance, redemption_id
      FROM take_reward($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""
_TAKEN = """
    SELECT r.*, array(SELECT code FROM coupons WHERE issue_id = r.id ORDER BY code) AS codes
      FROM reward_redemptions AS r WHERE r.id = $1
"""
# Index: transfers_idempotency_key_key.
_TAKEN_BEFORE = """
    SELECT t.input_hash, r.id FROM transfers AS t LEFT JOIN reward_redemptions AS r ON r.transfer_id = t.id
     WHERE t.idempotency_key = $1
"""
_TIER = text("""
    SELECT coalesce((SELECT tier_now FROM standings WHERE customer_id = :customer),
                    (SELECT newcomer ->> 'name' FROM tier_tables ORDER BY version DESC LIMIT 1))
""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Pieces for points; `codes` are the coupons of a voucher."""

    customer_id: UUID
    quantity: int
    points: int
    arithmetic: str
    codes: Sequence[str]


class UnknownReward(NotFound):
    slug, title = "unknown-reward", "There is no such reward"


class UnknownRedemption(NotFound):
    slug, title = "unknown-redemption", "There is no such redemption"


@dataclass(frozen=True, slots=True)
class Offer:
    """A reward as a customer finds it; `version` is that of the terms."""

    version: int
    terms: Terms
    tier: str
    taken_before: int
    in_coupons: bool
    active: bool  # the partner, of a partner offer


async def offer(pool: asyncpg.Pool, reward_id: UUID, customer_id: UUID) -> Offer:
    """What a redemption is judged by, in one look without locks.

    Raises:
        UnknownReward: there is none.
    """
    row = await pool.fetchrow(_OFFER, reward_id, customer_id)
    if row is None:
        raise UnknownReward("Nothing was changed.")
    terms = Terms(
        points=row["points"],
        tier_points=orjson.loads(row["tier_points"]),
        left=row["left"],
        limit_per_customer=row["limit_per_customer"],
        starts_at=row["starts_at"],
        ends_at=row["over_at"],
        retired=row["retired"],
    )
    return Offer(row["version"], terms, row["tier"], row["taken_before"], row["in_coupons"], row["active"])


async def take(
    pool: asyncpg.Pool,
    reward_id: UUID,
    judged: Offer,
    wanted: Wanted,
    *,
    actor: str,
    now: datetime,
    key: Key,
) -> tuple[UUID, bool] | None:
    """Take a reward as it was judged, in one statement.

    Returns:
        The redemption, and whether it is the one that this key made before; None when the reward is not as it
        was judged: look again.

    Raises:
        UnknownMember, InsufficientPoints, IdempotencyKeyReused: nothing was changed.
    """
    found = await pool.fetchrow(
        _TAKE,
        new_id(),
        reward_id,
        judged.version,
        wanted.customer_id,
        wanted.quantity,
        wanted.points,
        wanted.arithmetic,
        list(wanted.codes),
        [shown(code) for code in wanted.codes],
        actor,
        now,
        key.name,
        key.input_hash,
        current_traceparent(),
    )
    if found["outcome"] == "changed":
        return None
    if found["redemption_id"] is None:
        raise refusal(found["outcome"], found["balance"])
    return found["redemption_id"], found["outcome"] == "replayed"


async def taken(pool: asyncpg.Pool, redemption_id: UUID) -> asyncpg.Record:
    """A redemption with its coupon codes."""
    return await pool.fetchrow(_TAKEN, redemption_id)


async def taken_before(pool: asyncpg.Pool, key: Key) -> UUID | None:
    """The redemption that was made with this key; None when the key was not used.

    Raises:
        IdempotencyKeyReused: it was used for something else.
    """
    row = await pool.fetchrow(_TAKEN_BEFORE, key.name)
    if row is None:
        return None
    if row["input_hash"] != key.input_hash:
        raise refusal("key-reused", None)
    redemption_id: UUID = row["id"]
    return redemption_id


async def locked(session: AsyncSession, reward_id: UUID) -> Reward:
    """A reward that nobody else redeems or changes until the transaction ends.

    Raises:
        UnknownReward: there is none.
    """
    query = select(Reward).where(Reward.id == reward_id).with_for_update(key_share=True)
    reward = (await session.exec(query)).one_or_none()
    if reward is None:
        raise UnknownReward("Nothing was changed.")
    return reward


async def locked_redemption(session: AsyncSession, redemption_id: UUID) -> RewardRedemption:
    """A redemption that nobody else cancels until the transaction ends.

    Raises:
        UnknownRedemption: there is none.
    """
    query = select(RewardRedemption).where(RewardRedemption.id == redemption_id).with_for_update()
    redemption = (await session.exec(query)).one_or_none()
    if redemption is None:
        raise UnknownRedemption("Nothing was changed.")
    return redemption


async def tier_of(session: AsyncSession, customer: Family) -> str:
    """The tier in which a customer is now. Indexes: standings_pkey, tier_tables_pkey."""
    tier: str = (await session.execute(_TIER, {"customer": customer.survivor})).scalar_one()
    return tier


async def page(
    session: AsyncSession, *, on_at: datetime | None, after: UUID | None, limit: int
) -> list[Reward]:
    """Rewards in the order in which they were made; `on_at` leaves those that are on at that time."""
    query = select(Reward).order_by(col(Reward.id)).limit(limit)
    if after is not None:
        query = query.where(col(Reward.id) > after)
    if on_at is not None:
        query = query.where(
            col(Reward.retired_at).is_(None),
            col(Reward.starts_at) <= on_at,
            or_(col(Reward.ends_at).is_(None), col(Reward.ends_at) > on_at),
        )
    return list(await session.exec(query))


async def redemptions_of(
    session: AsyncSession, customer: Family, *, before: UUID | None, limit: int
) -> list[RewardRedemption]:
    """A customer's redemptions, newest first. Index: reward_redemptions_of_customer."""
    query = (
        select(RewardRedemption)
        .where(col(RewardRedemption.customer_id).in_(customer.members))
        .order_by(col(RewardRedemption.id).desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(col(RewardRedemption.id) < before)
    return list(await session.exec(query))


async def forget(session: AsyncSession, customer: Family, pseudonym: UUID) -> int:
    """Replace a customer's ids by one that means nothing; the figures stay. Returns how many rows."""
    query = (
        update(RewardRedemption)
        .where(col(RewardRedemption.customer_id).in_(customer.members))
        .values(customer_id=pseudonym, cancel_reason=None)
    )
    return (await session.exec(query)).rowcount
