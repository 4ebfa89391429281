"""Taking a reward and giving it back: stock and points move together or not at all."""

from datetime import datetime
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.coupons import service as coupons
from services.loyalty.coupons import store as coupon_store
from services.loyalty.earning.service import settle
from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.family import family_of
from services.loyalty.ledger.refusals import AlreadyReversed, TooManyPoints
from services.loyalty.ledger.store import MAX_POINTS, Cause, Key
from services.loyalty.partners import service as partners
from services.loyalty.rewards import rules, store
from services.loyalty.rewards.rules import Terms
from services.loyalty.rewards.schemas import CancelIn, RewardRedemptionIn
from services.loyalty.tables import LoyaltyPartner, Reward, RewardRedemption
from shared.contracts.loyalty import RewardRedeemed
from shared.database import raw
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.problems import Conflict


class AlreadyCancelled(Conflict):
    slug, title = "already-cancelled", "This was cancelled before"


async def redeem(
    session: AsyncSession, reward_id: UUID, wanted: RewardRedemptionIn, *, actor: str, now: datetime
) -> RewardRedemption:
    """Give a customer a reward for points, in the session's transaction.

    Raises:
        UnknownReward, WindowClosed, OutOfStock, LimitReached, TooManyPoints, UnknownMember,
        InsufficientPoints, PartnerInactive, CouponExpired (of a voucher): nothing was changed.
    """
    reward = await store.locked(session, reward_id)
    customer = await family_of(session, wanted.customer_id)
    taken = await store.taken_by(session, reward_id, customer)
    terms = terms_of(reward)
    rules.check(terms, quantity=wanted.quantity, taken_before=taken, now=now)
    price = rules.price(terms, await store.tier_of(session, customer))
    points = price * wanted.quantity
    if points > MAX_POINTS:
        raise TooManyPoints("Take fewer pieces.")
    redemption_id = new_id()
    reward.taken += wanted.quantity
    partner = None if reward.partner_id is None else await session.get(LoyaltyPartner, reward.partner_id)
    if partner is not None:
        partners.require_active(partner)
    connection = await raw(session)
    posted = await ledger.spend(
        connection,
        wanted.customer_id,
        points,
        Cause(reward.name, actor, now, f"reward {reward.id}", f"{wanted.quantity} × {price} = {points}"),
        Key(f"reward/{redemption_id}", redemption_id.bytes),
        partner=reward.partner_id,
    )
    if partner is not None:
        session.add(partners.accepted(partner, posted))
    redemption = RewardRedemption(
        id=redemption_id,
        reward_id=reward.id,
        customer_id=wanted.customer_id,
        quantity=wanted.quantity,
        points=points,
        transfer_id=posted.transfer_id,
        redeemed_at=now,
    )
    session.add(redemption)
    await emit(session, _told(reward, redemption))
    if reward.campaign_id is not None:
        campaign = await coupon_store.campaign(session, reward.campaign_id)
        await coupons.issue(
            session,
            campaign,
            wanted.customer_id,
            now=now,
            count=wanted.quantity,
            issue_id=redemption_id,
        )
    return redemption


async def cancel(
    session: AsyncSession, redemption_id: UUID, wanted: CancelIn, *, actor: str, now: datetime
) -> RewardRedemption:
    """Take a reward back: points return to the lots they came from, and its pieces to the stock.

    Points that an operator has given back already, by a reversal, are not given twice.

    Raises:
        UnknownRedemption, AlreadyCancelled, CouponUsed (of a voucher): nothing was changed.
    """
    redemption = await store.locked_redemption(session, redemption_id)
    if redemption.cancelled_at is not None:
        raise AlreadyCancelled("Nothing was changed.")
    reward = await store.locked(session, redemption.reward_id)
    if wanted.restock:
        reward.taken -= redemption.quantity
    await coupons.withdraw(session, redemption_id, now=now)
    redemption.cancelled_at = now
    redemption.cancel_reason = wanted.reason
    connection = await raw(session)
    cause = Cause(wanted.reason, actor, now, f"reward {reward.id}", f"{reward.name} taken back")
    try:
        posted = await ledger.reverse(
            connection,
            redemption.transfer_id,
            cause,
            Key(f"reward/{redemption_id}/cancel", redemption_id.bytes),
        )
    except AlreadyReversed:
        return redemption
    redemption.cancel_transfer_id = posted.transfer_id
    await settle(connection, [redemption.customer_id])
    session.info["emitted"] = True
    return redemption


def terms_of(reward: Reward) -> Terms:
    """Under which terms a reward is given."""
    return Terms(
        points=reward.points,
        tier_points=reward.tier_points,
        left=None if reward.stock is None else reward.stock - reward.taken,
        limit_per_customer=reward.limit_per_customer,
        starts_at=reward.starts_at,
        ends_at=reward.ends_at,
        retired=reward.retired_at is not None,
    )


def _told(reward: Reward, redemption: RewardRedemption) -> RewardRedeemed:
    return RewardRedeemed(
        customer_id=redemption.customer_id,
        redemption_id=redemption.id,
        reward_id=reward.id,
        reward=reward.name,
        kind=reward.kind,
        quantity=redemption.quantity,
        points=redemption.points,
        transfer_id=redemption.transfer_id,
        occurred_at=redemption.redeemed_at,
    )
