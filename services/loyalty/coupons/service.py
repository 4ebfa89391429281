"""Trying, using and giving back coupons, and issuing them."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.coupons import codes, rules, store
from services.loyalty.coupons.rules import (
    BasketUnfit,
    CouponExpired,
    CouponRefused,
    CouponUsed,
    Terms,
    Uses,
)
from services.loyalty.coupons.schemas import BasketIn, RedeemIn, ValidateIn
from services.loyalty.coupons.store import UnknownCoupon
from services.loyalty.ledger.family import Family, family_of
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tables import Coupon, CouponCampaign, CouponUse
from shared.clock import utc_now
from shared.contracts.loyalty import CouponIssued
from shared.database import Database
from shared.ids import new_id
from shared.jobs import Job
from shared.messaging.outbox import emit
from shared.problems import Conflict, TooManyRequests
from shared.web.security import Caller

BATCH = 5_000  # codes in one statement
BATCHES = 20  # in one run of the job
EVERY_S = 1.0


class AlreadyReleased(Conflict):
    slug, title = "already-released", "This use was given back before"


class TooManyAttempts(TooManyRequests):
    slug, title = "too-many-coupon-attempts", "Too many coupons were tried that do not hold"


@asynccontextmanager
async def guarded(
    pool: asyncpg.Pool, settings: LoyaltySettings, caller: Caller, customer_id: UUID
) -> AsyncIterator[None]:
    """Around a try: counts it when it is refused, for the customer and the caller, and bounds both by hour.

    A basket that does not fit is not counted: who fills one tries the same coupon again and again.

    Raises:
        TooManyAttempts: one of them was refused too often; the coupon is not looked at.
    """
    now = utc_now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    limits = {
        store.customer_subject(customer_id): settings.coupon_refusals_per_customer,
        f"caller {caller.id}": settings.coupon_refusals_per_caller,
    }
    counted = await store.refusals(pool, list(limits), hour)
    if any(counted.get(subject, 0) >= limit for subject, limit in limits.items()):
        wait_s = int((hour + timedelta(hours=1) - now).total_seconds()) + 1
        raise TooManyAttempts("Try again in the next hour.", retry_after_s=wait_s)
    try:
        yield
    except BasketUnfit:
        raise
    except (CouponRefused, UnknownCoupon):
        await store.count_refusal(pool, list(limits), hour)
        raise


def read_code(text: str) -> str:
    """A code as it was typed.

    Raises:
        UnknownCoupon: no such code can exist.
    """
    try:
        return codes.read(text)
    except codes.UnfitCode as unfit:
        raise UnknownCoupon("Look at the code again.") from unfit


async def validate(
    session: AsyncSession, code: str, wanted: ValidateIn, *, now: datetime
) -> tuple[int, CouponCampaign]:
    """What the coupon would take off the basket; nothing is changed.

    Raises:
        UnknownCoupon, CouponRefused: it does not hold.
    """
    customer = await family_of(session, wanted.customer_id)
    coupon = await store.coupon(session, code)
    others = [read_code(other) for other in wanted.codes]
    return await _check(session, coupon, customer, others, basket=wanted.basket, now=now)


async def redeem(session: AsyncSession, code: str, wanted: RedeemIn, *, now: datetime) -> CouponUse:
    """Use a coupon on a basket, in the session's transaction.

    Raises:
        UnknownCoupon, CouponRefused: nothing was changed.
    """
    customer = await family_of(session, wanted.customer_id)
    await store.lock_customer(session, customer)
    coupon = await store.coupon(session, code, lock=True)
    others = await store.codes_on(session, customer, wanted.reference)
    discount, campaign = await _check(session, coupon, customer, others, basket=wanted.basket, now=now)
    coupon.used += 1
    use = CouponUse(
        id=new_id(),
        code=code,
        campaign_id=campaign.id,
        customer_id=wanted.customer_id,
        reference=wanted.reference,
        currency=wanted.basket.currency,
        basket=wanted.basket.amount,
        discount=discount,
        redeemed_at=now,
    )
    session.add(use)
    await session.flush()
    return use


async def release(session: AsyncSession, use_id: UUID, *, now: datetime) -> CouponUse:
    """Give a use back: the basket came to nothing, and the code may be used again.

    Raises:
        UnknownUse, AlreadyReleased: nothing was changed.
    """
    use = await store.locked_use(session, use_id)
    if use.released_at is not None:
        raise AlreadyReleased("Nothing was changed.")
    coupon = await store.coupon(session, use.code, lock=True)
    coupon.used -= 1
    use.released_at = now
    return use


async def issue_one(
    session: AsyncSession, campaign: CouponCampaign, customer_id: UUID | None, *, now: datetime
) -> Coupon:
    """A new coupon; one that is a customer's alone is told to the others.

    Raises:
        CouponExpired: the campaign is over.
    """
    require_open(campaign, now)
    coupon = Coupon(
        code=codes.make(secrets.randbits), campaign_id=campaign.id, customer_id=customer_id, issued_at=now
    )
    session.add(coupon)
    await session.flush()
    if customer_id is not None:
        told = CouponIssued(
            customer_id=customer_id,
            campaign_id=campaign.id,
            campaign=campaign.name,
            code=codes.shown(coupon.code),
            ends_at=campaign.ends_at,
            occurred_at=now,
        )
        await emit(session, told)
    return coupon


async def withdraw(session: AsyncSession, issue_id: UUID, *, now: datetime) -> None:
    """Take the coupons out of use that were issued together.

    Raises:
        CouponUsed: one of them was used; nothing was changed.
    """
    coupons = await store.issued_with(session, [issue_id], lock=True)
    if any(coupon.used for coupon in coupons):
        raise CouponUsed("Release its use first.")
    for coupon in coupons:
        coupon.cancelled_at = coupon.cancelled_at or now


def require_open(campaign: CouponCampaign, now: datetime) -> None:
    """Refuse codes that could never be used.

    Raises:
        CouponExpired: the campaign is over.
    """
    if campaign.ends_at is not None and now >= campaign.ends_at:
        raise CouponExpired("The campaign is over.")


async def work_on_issues(database: Database) -> None:
    """Make codes of issues that are not done, a bounded number in one run."""
    for _ in range(BATCHES):
        found = await store.open_issue(database.pool)
        if found is None:
            break
        issue_id, missing = found
        made = [codes.make(secrets.randbits) for _ in range(min(missing, BATCH))]
        await store.write_batch(database.pool, issue_id, made)


async def forget_refusals(database: Database) -> None:
    """Forget the refusals of hours that no limit looks at any more."""
    await store.forget_refusals(database.pool, utc_now())


JOBS = (Job("coupon-issues", EVERY_S, work_on_issues), Job("coupon-refusals", 3600, forget_refusals))


async def _check(
    session: AsyncSession,
    coupon: Coupon,
    customer: Family,
    others: Sequence[str],
    *,
    basket: BasketIn,
    now: datetime,
) -> tuple[int, CouponCampaign]:
    if coupon.customer_id not in (None, *customer.members):
        raise UnknownCoupon  # that it is somebody else's is nobody's business
    campaign = await store.campaign(session, coupon.campaign_id)
    known = await store.combinable(session, others)
    if len(known) < len(set(others)):
        raise UnknownCoupon("One of the other codes on the basket does not exist.")
    uses = Uses(
        of_code=coupon.used,
        by_customer=await store.uses_by(session, customer, campaign.id),
        code_is_on_basket=coupon.code in known,
        others_combinable=[known[other] for other in known if other != coupon.code],
        cancelled=coupon.cancelled_at is not None,
    )
    terms = terms_of(campaign)
    rules.check(terms, uses, currency=basket.currency, basket=basket.amount, now=now)
    return rules.discount(terms, basket.amount), campaign


def terms_of(campaign: CouponCampaign) -> Terms:
    """The terms of a campaign's coupons."""
    return Terms(
        percent=campaign.percent,
        amount=campaign.amount,
        currency=campaign.currency,
        minimum_spend=campaign.minimum_spend,
        most_off=campaign.most_off,
        combinable=campaign.combinable,
        uses_per_code=campaign.uses_per_code,
        uses_per_customer=campaign.uses_per_customer,
        starts_at=campaign.starts_at,
        ends_at=campaign.ends_at,
    )
