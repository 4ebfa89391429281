"""All SQL of trying and using coupons: single statements on the pool, as a crowd may come for one code."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import orjson

from services.loyalty.coupons.rules import Uses
from services.loyalty.coupons.schemas import CampaignOut, RedeemIn
from services.loyalty.coupons.store import UnknownCoupon
from services.loyalty.ledger.refusals import refusal
from services.loyalty.ledger.store import Key
from shared.ids import new_id

FUNCTION = Path(__file__).with_name("use.sql")

# What a coupon is judged by; $3: the basket, where it has an id; $4: other codes on it.
# Indexes: coupons_pkey, coupon_uses_of_customer.
_FACTS = """
    WITH customer AS (
        SELECT array(SELECT family(survivor)) AS everyone FROM survivors(ARRAY[$2::uuid])
    ), on_basket AS (
        SELECT u.code FROM coupon_uses AS u
         WHERE u.customer_id = ANY (array(SELECT unnest(everyone) FROM customer)) AND u.reference = $3
           AND u.released_at IS NULL
        UNION SELECT unnest($4::text[])
    )
    SELECT to_jsonb(k)::text AS campaign, c.used, c.cancelled_at IS NOT NULL AS cancelled,
           (SELECT count(*) FROM coupon_uses AS u
             WHERE u.customer_id = ANY (customer.everyone) AND u.campaign_id = k.id
               AND u.released_at IS NULL) AS by_customer,
           (SELECT jsonb_object_agg(o.code, ok.combinable)
              FROM on_basket JOIN coupons AS o USING (code)
              JOIN coupon_campaigns AS ok ON ok.id = o.campaign_id)::text AS others
      FROM customer, coupons AS c JOIN coupon_campaigns AS k ON k.id = c.campaign_id
     WHERE c.code = $1 AND (c.customer_id IS NULL OR c.customer_id = ANY (customer.everyone))
"""
_USE = "SELECT use_coupon($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_READ = "SELECT * FROM coupon_uses WHERE idempotency_key = $1"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a coupon is judged by; `others` are the codes that are on the basket already, sorted."""

    campaign: CampaignOut
    uses: Uses
    others: Sequence[str]


async def facts(
    pool: asyncpg.Pool,
    code: str,
    customer_id: UUID,
    *,
    reference: str | None = None,
    codes: Sequence[str] = (),
) -> Facts:
    """What a coupon is judged by for a customer's basket, in one look without locks.

    Raises:
        UnknownCoupon: there is none, it is somebody else's, or one of the other codes does not exist.
    """
    row = await pool.fetchrow(_FACTS, code, customer_id, reference, list(codes))
    if row is None:
        raise UnknownCoupon
    others: dict[str, bool] = orjson.loads(row["others"] or "{}")
    if not others.keys() >= set(codes):
        raise UnknownCoupon("One of the other codes on the basket does not exist.")
    uses = Uses(
        of_code=row["used"],
        by_customer=row["by_customer"],
        code_is_on_basket=code in others,
        others_combinable=[combinable for other, combinable in others.items() if other != code],
        cancelled=row["cancelled"],
    )
    return Facts(CampaignOut.model_validate_json(row["campaign"]), uses, sorted(others))


async def use(
    pool: asyncpg.Pool,
    code: str,
    wanted: RedeemIn,
    judged: Facts,
    discount: int,
    *,
    now: datetime,
    key: Key,
) -> bool:
    """Use a coupon as it was judged, in one statement; False when it is not so any more: look again."""
    outcome = await pool.fetchval(
        _USE,
        new_id(),
        code,
        judged.campaign.version,
        wanted.customer_id,
        wanted.reference,
        list(judged.others),
        wanted.basket.currency,
        wanted.basket.amount,
        discount,
        now,
        key.name,
        key.input_hash,
    )
    return bool(outcome == "used")


async def used_with(pool: asyncpg.Pool, key: Key) -> asyncpg.Record | None:
    """The use that was made with this key.

    Raises:
        IdempotencyKeyReused: it was made for something else.
    """
    row = await pool.fetchrow(_READ, key.name)
    if row is not None and row["input_hash"] != key.input_hash:
        raise refusal("key-reused", None)
    return row
