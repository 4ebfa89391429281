"""All SQL of rewards.

Locks are taken in one order: redemption, reward, member's account. So stock, limits and points are decided
together, and two who want the last piece go one after the other.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text, update
from sqlmodel import col, func, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.ledger.family import Family
from services.loyalty.tables import Reward, RewardRedemption
from shared.problems import NotFound

_TIER = text("SELECT tier_now FROM standings WHERE customer_id = :customer")


class UnknownReward(NotFound):
    slug, title = "unknown-reward", "There is no such reward"


class UnknownRedemption(NotFound):
    slug, title = "unknown-redemption", "There is no such redemption"


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


async def taken_by(session: AsyncSession, reward_id: UUID, customer: Family) -> int:
    """How many pieces a customer has of a reward. Index: reward_redemptions_of_reward."""
    query = select(func.coalesce(func.sum(RewardRedemption.quantity), 0)).where(
        RewardRedemption.reward_id == reward_id,
        col(RewardRedemption.customer_id).in_(customer.members),
        col(RewardRedemption.cancelled_at).is_(None),
    )
    return int((await session.exec(query)).one())


async def tier_of(session: AsyncSession, customer: Family) -> str | None:
    """The tier in which a customer is now; None for who has bought nothing yet. Index: standings_pkey."""
    return (await session.execute(_TIER, {"customer": customer.survivor})).scalar_one_or_none()


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
