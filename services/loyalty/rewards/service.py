"""Taking a reward and giving it back: stock and points move together or not at all."""

import secrets
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.coupons import codes
from services.loyalty.coupons import service as coupons
from services.loyalty.earning.service import settle
from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.refusals import AlreadyReversed, TooManyPoints
from services.loyalty.ledger.store import MAX_POINTS, Cause, Key
from services.loyalty.partners.service import PartnerInactive
from services.loyalty.rewards import rules, store
from services.loyalty.rewards.schemas import CancelIn, RewardRedemptionIn
from services.loyalty.rewards.store import Offer, Wanted
from services.loyalty.tables import RewardRedemption
from shared.database import raw
from shared.problems import Conflict, Problem, Unavailable

LOOKS = 5  # at a reward whose terms or stock change while it is judged


class AlreadyCancelled(Conflict):
    slug, title = "already-cancelled", "This was cancelled before"


async def redeem(
    pool: asyncpg.Pool,
    reward_id: UUID,
    wanted: RewardRedemptionIn,
    *,
    actor: str,
    now: datetime,
    key: Key,
) -> tuple[UUID, bool]:
    """Give a customer a reward for points; returns the redemption, and whether it is a replay.

    Judged by the rules without a lock, so that refusals wait for nobody, and then taken by one statement,
    which makes sure that it still is as it was judged.

    Raises:
        UnknownReward, WindowClosed, OutOfStock, LimitReached, TooManyPoints, PartnerInactive, UnknownMember,
        InsufficientPoints, IdempotencyKeyReused: nothing was changed.
    """
    for _ in range(LOOKS):
        offer = await store.offer(pool, reward_id, wanted.customer_id)
        try:
            judged = _judge(offer, wanted, now)
        except Problem:
            if (before := await store.taken_before(pool, key)) is not None:
                return before, True
            raise
        taken = await store.take(pool, reward_id, offer, judged, actor=actor, now=now, key=key)
        if taken is not None:
            return taken
    raise Unavailable("The reward is being changed; try again.")


def _judge(offer: Offer, wanted: RewardRedemptionIn, now: datetime) -> Wanted:
    rules.check(offer.terms, quantity=wanted.quantity, taken_before=offer.taken_before, now=now)
    if not offer.active:
        raise PartnerInactive("Nothing was changed.")
    price = rules.price(offer.terms.points, offer.terms.tier_points, offer.tier)
    points = price * wanted.quantity
    if points > MAX_POINTS:
        raise TooManyPoints("Take fewer pieces.")
    return Wanted(
        wanted.customer_id,
        wanted.quantity,
        points,
        f"{wanted.quantity} × {price} = {points}",
        [codes.make(secrets.randbits) for _ in range(wanted.quantity)] if offer.in_coupons else (),
    )


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
