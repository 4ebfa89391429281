"""All SQL of campaigns, codes and their issues. Trying and using them is in uses.py."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from sqlalchemy import Text, cast, text, update
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.ledger.family import Family
from services.loyalty.tables import Coupon, CouponCampaign, CouponIssue, CouponUse
from shared.problems import NotFound

# One batch of an issue: codes and progress in one statement, so that a crash loses neither. A code that
# exists already (1 in 10^18) is passed over and made up by the next batch.
_BATCH = """
    WITH made AS (
        INSERT INTO coupons (code, campaign_id, issue_id)
        SELECT unnest($2::text[]), campaign_id, id FROM coupon_issues WHERE id = $1
        ON CONFLICT DO NOTHING RETURNING 1
    ), counted AS (SELECT count(*) AS codes FROM made)
    UPDATE coupon_issues
       SET issued = issued + counted.codes,
           finished_at = CASE WHEN issued + counted.codes = wanted THEN clock_timestamp() END
      FROM counted WHERE id = $1
"""
# Index: coupon_issues_open.
_OPEN = (
    "SELECT id, wanted - issued AS missing FROM coupon_issues WHERE finished_at IS NULL ORDER BY id LIMIT 1"
)
# Index: coupons_of_issue.
_CODES = "SELECT code FROM coupons WHERE issue_id = $1 AND code > $2 ORDER BY code LIMIT $3"

_COUNT_REFUSAL = """
    INSERT INTO coupon_refusals AS r (subject, hour, refused)
    SELECT subject, $2, 1 FROM unnest($1::text[]) AS subject ORDER BY subject
    ON CONFLICT (subject, hour) DO UPDATE SET refused = r.refused + 1
"""
_REFUSALS = "SELECT subject, refused FROM coupon_refusals WHERE subject = ANY ($1::text[]) AND hour = $2"
_FORGET = "DELETE FROM coupon_refusals WHERE hour < $1"
# As far as a day goes back; the customer is the subject's second word.
_FORGET_SUBJECTS = text(
    "DELETE FROM coupon_refusals WHERE split_part(subject, ' ', 2) = ANY (CAST(:customers AS text[]))"
)
# Index: accounts_kind_owner_key.
_IS_MEMBER = "SELECT EXISTS (SELECT FROM accounts WHERE kind = 'member' AND owner = $1)"


class UnknownCampaign(NotFound):
    slug, title = "unknown-campaign", "There is no such campaign"


class UnknownCoupon(NotFound):
    slug, title = "unknown-coupon", "There is no such coupon"


class UnknownUse(NotFound):
    slug, title = "unknown-coupon-use", "There is no such use of a coupon"


class UnknownIssue(NotFound):
    slug, title = "unknown-issue", "There is no such issue of codes"


async def campaign(session: AsyncSession, campaign_id: UUID, *, lock: bool = False) -> CouponCampaign:
    """A campaign; with `lock` nobody else changes it until the transaction ends.

    Raises:
        UnknownCampaign: there is none.
    """
    query = select(CouponCampaign).where(CouponCampaign.id == campaign_id)
    if lock:
        query = query.with_for_update(key_share=True)
    found = (await session.exec(query)).one_or_none()
    if found is None:
        raise UnknownCampaign
    return found


async def campaigns(session: AsyncSession, *, after: UUID | None, limit: int) -> list[CouponCampaign]:
    """Campaigns in the order in which they were made."""
    query = select(CouponCampaign).order_by(col(CouponCampaign.id)).limit(limit)
    if after is not None:
        query = query.where(col(CouponCampaign.id) > after)
    return list(await session.exec(query))


async def coupon(session: AsyncSession, code: str, *, lock: bool = False) -> Coupon:
    """A coupon; with `lock` nobody else uses it until the transaction ends.

    Raises:
        UnknownCoupon: there is none.
    """
    query = select(Coupon).where(Coupon.code == code)
    if lock:
        query = query.with_for_update(key_share=True)
    found = (await session.exec(query)).one_or_none()
    if found is None:
        raise UnknownCoupon
    return found


async def locked_use(session: AsyncSession, use_id: UUID) -> CouponUse:
    """A use that nobody else releases until the transaction ends.

    Raises:
        UnknownUse: there is none.
    """
    query = select(CouponUse).where(CouponUse.id == use_id).with_for_update()
    use = (await session.exec(query)).one_or_none()
    if use is None:
        raise UnknownUse
    return use


async def coupons_of(
    session: AsyncSession, customer: Family, *, after: str, limit: int
) -> list[tuple[Coupon, CouponCampaign]]:
    """The coupons that are a customer's alone, by code. Index: coupons_of_customer."""
    query = (
        select(Coupon, CouponCampaign)
        .join(CouponCampaign, col(Coupon.campaign_id) == col(CouponCampaign.id))
        .where(col(Coupon.customer_id).in_(customer.members), col(Coupon.code) > after)
        .order_by(col(Coupon.code))
        .limit(limit)
    )
    return list((await session.exec(query)).all())


async def issued_with(
    session: AsyncSession, issue_ids: Sequence[UUID], *, lock: bool = False
) -> list[Coupon]:
    """The coupons that were issued together, by code. Index: coupons_of_issue."""
    query = select(Coupon).where(col(Coupon.issue_id).in_(issue_ids)).order_by(col(Coupon.code))
    return list(await session.exec(query.with_for_update(key_share=True) if lock else query))


async def issue(session: AsyncSession, issue_id: UUID) -> CouponIssue:
    """Codes made in bulk.

    Raises:
        UnknownIssue: there is none.
    """
    found = await session.get(CouponIssue, issue_id)
    if found is None:
        raise UnknownIssue
    return found


async def open_issue(pool: asyncpg.Pool) -> tuple[UUID, int] | None:
    """The oldest issue that is not done, and how many codes it misses."""
    row = await pool.fetchrow(_OPEN)
    return (row["id"], row["missing"]) if row else None


async def write_batch(pool: asyncpg.Pool, issue_id: UUID, codes: Sequence[str]) -> None:
    """Write codes of an issue, and count them."""
    await pool.execute(_BATCH, issue_id, list(codes))


async def codes_of(pool: asyncpg.Pool, issue_id: UUID, after: str, limit: int) -> list[str]:
    """Codes of an issue above one of them, sorted."""
    return [row["code"] for row in await pool.fetch(_CODES, issue_id, after, limit)]


async def count_refusal(pool: asyncpg.Pool, subjects: Sequence[str], hour: datetime) -> None:
    """Remember that these were refused, whatever becomes of the request's own transaction."""
    await pool.execute(_COUNT_REFUSAL, list(subjects), hour)


async def refusals(pool: asyncpg.Pool, subjects: Sequence[str], hour: datetime) -> dict[str, int]:
    """How often these were refused in this hour."""
    rows = await pool.fetch(_REFUSALS, list(subjects), hour)
    return {row["subject"]: row["refused"] for row in rows}


async def is_member(pool: asyncpg.Pool, customer_id: UUID) -> bool:
    """Whether loyalty has heard of this customer."""
    known: bool = await pool.fetchval(_IS_MEMBER, customer_id)
    return known


async def forget_refusals(pool: asyncpg.Pool, hour: datetime) -> None:
    """Forget what was counted more than a day before."""
    await pool.execute(_FORGET, hour - timedelta(days=1))


async def forget(session: AsyncSession, customer: Family, pseudonym: UUID, now: datetime) -> int:
    """Replace a customer's ids by one that means nothing, and take their own coupons out of use.

    Returns how many rows.
    """
    await session.execute(_FORGET_SUBJECTS, {"customers": [str(member) for member in customer.members]})
    own = update(Coupon).where(col(Coupon.customer_id).in_(customer.members))
    cancelled = func.coalesce(Coupon.cancelled_at, now)
    coupons = await session.exec(own.values(customer_id=pseudonym, cancelled_at=cancelled))
    uses = update(CouponUse).where(col(CouponUse.customer_id).in_(customer.members))
    # Callers choose the key, which may name the customer; the use's own id keeps it unique.
    nameless = {"reference": "", "idempotency_key": cast(CouponUse.id, Text), "input_hash": b""}
    used = await session.exec(uses.values(customer_id=pseudonym, **nameless))
    return coupons.rowcount + used.rowcount


def customer_subject(customer_id: UUID, caller_id: str) -> str:
    """Under which name a customer's refusals at a caller are counted."""
    return f"customer {customer_id} at {caller_id}"
