"""Trying, using and giving back coupons, and issuing them."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.coupons import codes, rules, store, uses
from services.loyalty.coupons.rules import (
    BasketUnfit,
    CouponExpired,
    CouponRefused,
    CouponUsed,
    Terms,
)
from services.loyalty.coupons.schemas import BasketIn, CampaignOut, RedeemIn, ValidateIn
from services.loyalty.coupons.store import UnknownCoupon
from services.loyalty.coupons.uses import Facts
from services.loyalty.ledger.store import Key
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tables import Coupon, CouponCampaign, CouponUse
from shared.clock import utc_now
from shared.contracts.loyalty import CouponIssued
from shared.database import Database
from shared.jobs import Job
from shared.messaging.outbox import emit
from shared.problems import Conflict, TooManyRequests, Unavailable
from shared.web.security import Caller

BATCH = 5_000  # codes in one statement
BATCHES = 20  # in one run of the job
EVERY_S = 1.0  # how soon a bulk issue begins
LOOKS = 5  # at a coupon whose terms or uses change while it is judged
_TERMS = {field.name for field in fields(Terms)}


class AlreadyReleased(Conflict):
    slug, title = "already-released", "This use was given back before"


class Slip(UnknownCoupon):
    """No such code can exist: it was mistyped, and tells whoever guesses nothing."""


class TooManyAttempts(TooManyRequests):
    slug, title = "too-many-coupon-attempts", "Too many coupons were tried that do not hold"


@asynccontextmanager
async def guarded(
    pool: asyncpg.Pool, settings: LoyaltySettings, caller: Caller, customer_id: UUID
) -> AsyncIterator[None]:
    """Around a try: counts it when it is refused, for the customer and the caller, and bounds both by hour.

    A customer is counted at each caller alone: who tries codes in another's name shuts them out nowhere else.
    Only codes that might exist and do not count against the caller: when many customers of a shop come too
    late for one code, or mistype it, nobody has guessed. At a caller over its limit, members who were not
    refused in this hour are still listened to: whoever guesses there does not close the shop for all. A
    basket that does not fit is not counted at all: who fills one tries the same coupon again and again.

    Raises:
        TooManyAttempts: one of them was refused too often; the coupon is not looked at.
    """
    now = utc_now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    own, shop = store.customer_subject(customer_id, caller.id), f"caller {caller.id}"
    counted = await store.refusals(pool, [own, shop], hour)
    refused, over = counted.get(own, 0), counted.get(shop, 0) >= settings.coupon_refusals_per_caller
    if refused >= settings.coupon_refusals_per_customer or (
        over and (refused or not await store.is_member(pool, customer_id))
    ):
        wait_s = int((hour + timedelta(hours=1) - now).total_seconds()) + 1
        raise TooManyAttempts("Try again in the next hour.", retry_after_s=wait_s)
    try:
        yield
    except BasketUnfit:
        raise
    except (CouponRefused, Slip):
        await store.count_refusal(pool, [own], hour)
        raise
    except UnknownCoupon:
        await store.count_refusal(pool, [own, shop], hour)
        raise


def read_code(text: str) -> str:
    """A code as it was typed.

    Raises:
        Slip: no such code can exist.
    """
    try:
        return codes.read(text)
    except codes.UnfitCode as unfit:
        raise Slip("Look at the code again.") from unfit


async def validate(
    pool: asyncpg.Pool, code: str, wanted: ValidateIn, *, now: datetime
) -> tuple[int, CampaignOut]:
    """What the coupon would take off the basket; nothing is changed.

    Raises:
        UnknownCoupon, CouponRefused: it does not hold.
    """
    others = [read_code(other) for other in wanted.codes]
    facts = await uses.facts(pool, code, wanted.customer_id, codes=others)
    return _judge(facts, wanted.basket, now), facts.campaign


async def redeem(
    pool: asyncpg.Pool, code: str, wanted: RedeemIn, *, now: datetime, key: Key
) -> tuple[asyncpg.Record, bool]:
    """Use a coupon on a basket; returns the use, and whether it is a replay.

    Judged by the rules without a lock, so that refusals wait for nobody, and then used by one statement,
    which makes sure that it still is as it was judged.

    Raises:
        UnknownCoupon, CouponRefused, IdempotencyKeyReused: nothing was changed.
    """
    for _ in range(LOOKS):
        try:
            facts = await uses.facts(pool, code, wanted.customer_id, reference=wanted.reference)
            discount = _judge(facts, wanted.basket, now)
        except (CouponRefused, UnknownCoupon):
            if (before := await uses.used_with(pool, key)) is not None:
                return before, True
            raise
        done = await uses.use(pool, code, wanted, facts, discount, now=now, key=key)
        if (use := await uses.used_with(pool, key)) is not None:
            return use, not done
    raise Unavailable("The coupon is being changed; try again.")


def _judge(facts: Facts, basket: BasketIn, now: datetime) -> int:
    terms = Terms(**{name: getattr(facts.campaign, name) for name in _TERMS})
    rules.check(terms, facts.uses, currency=basket.currency, basket=basket.amount, now=now)
    return rules.discount(terms, basket.amount)


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


JOBS = (Job("make coupon codes", EVERY_S, work_on_issues), Job("forget refusals", 3600, forget_refusals))
