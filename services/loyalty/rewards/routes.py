"""The catalogue of rewards over HTTP, and taking one. Spending points without a reward is in spending.py."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from services.loyalty.coupons import store as coupons
from services.loyalty.coupons.codes import shown
from services.loyalty.ledger.family import family_of
from services.loyalty.ledger.keys import posting_key
from services.loyalty.rewards import rules, service, store
from services.loyalty.rewards.schemas import (
    CancelIn,
    RewardIn,
    RewardOut,
    RewardRedemptionIn,
    RewardRedemptionOut,
)
from services.loyalty.tables import CouponCampaign, LoyaltyPartner, Reward, RewardRedemption
from shared.clock import utc_now
from shared.ids import new_id
from shared.problems import FieldError, Forbidden, Invalid
from shared.web.dependencies import Pool, Session, wake
from shared.web.etag import IfMatch, require_version, set_etag, tag
from shared.web.idempotency import IdempotencyKey, idempotent, replayed
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import Caller, scope

router = APIRouter(tags=["rewards"])

Reader = Annotated[Caller, scope("loyalty:read")]
Writer = Annotated[Caller, scope("loyalty:write")]
ADMIN = [scope("admin")]
REDEEMED: dict[str, Any] = {"status_code": 201, "response_model": RewardRedemptionOut}


@router.get("/v1/rewards")
async def list_rewards(
    *,
    session: Session,
    caller: Reader,
    every: Annotated[bool, Query(alias="all", description="For admins: those not on offer too.")] = False,
    customer_id: Annotated[UUID | None, Query(description="Whose `price` to show.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[RewardOut]:
    """What is on offer now, also what has run out: `left` says how many pieces there are."""
    if every and not caller.may("admin"):
        raise Forbidden("Rewards that are not on offer need the scope admin.")
    after = decode_cursor(cursor, UUID)[0] if cursor else None
    found = await store.page(session, on_at=None if every else utc_now(), after=after, limit=limit + 1)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    items = [_reward(reward, caller) for reward in found[:limit]]
    if customer_id is not None:
        tier = await store.tier_of(session, await family_of(session, customer_id))
        for item, reward in zip(items, found, strict=False):
            item.price = rules.price(reward.points, reward.tier_points, tier)
    return Page(items=items, next_cursor=more)


@router.post("/v1/rewards", status_code=201, response_model=RewardOut, dependencies=ADMIN)
async def make_reward(body: RewardIn, session: Session, request: Request, key: IdempotencyKey) -> Response:
    """Put a reward into the catalogue."""

    async def run() -> tuple[int, RewardOut, dict[str, str]]:
        reward = Reward(id=new_id(), **_columns(body, utc_now()))
        await _check(session, body, reward)
        session.add(reward)
        await session.flush()
        headers = {"Location": f"/v1/rewards/{reward.id}", "ETag": tag(reward.version)}
        return 201, RewardOut.model_validate(reward), headers

    return await idempotent(session, request, key, body, run)


@router.get("/v1/rewards/{reward_id}")
async def read_reward(reward_id: UUID, session: Session, response: Response, caller: Reader) -> RewardOut:
    """One reward, with the ETag that a change needs."""
    reward = await session.get(Reward, reward_id)
    if reward is None:
        raise store.UnknownReward
    set_etag(response, reward.version)
    return _reward(reward, caller)


@router.put("/v1/rewards/{reward_id}", dependencies=ADMIN)
async def change_reward(
    reward_id: UUID, body: RewardIn, session: Session, response: Response, if_match: IfMatch
) -> RewardOut:
    """Replace a reward's terms. What was redeemed stays as it was."""
    reward = await store.locked(session, reward_id)
    require_version(reward.version, if_match)
    await _check(session, body, reward)
    for name, value in _columns(body, reward.starts_at).items():
        setattr(reward, name, value)
    reward.version += 1
    set_etag(response, reward.version)
    return RewardOut.model_validate(reward)


@router.delete("/v1/rewards/{reward_id}", status_code=204, dependencies=ADMIN)
async def retire_reward(reward_id: UUID, session: Session, if_match: IfMatch) -> None:
    """Take a reward off the catalogue. Its redemptions stay, and can still be cancelled."""
    reward = await store.locked(session, reward_id)
    require_version(reward.version, if_match)
    if reward.retired_at is None:
        reward.retired_at = utc_now()
        reward.version += 1


@router.post("/v1/rewards/{reward_id}/redemptions", **REDEEMED)
async def redeem_reward(
    *,
    reward_id: UUID,
    body: RewardRedemptionIn,
    pool: Pool,
    request: Request,
    caller: Writer,
    key: IdempotencyKey,
) -> Response:
    """Take a reward: its pieces and the points go together. 409 says what is missing."""
    named = posting_key(caller.id, key, request.url.path, body)
    redemption_id, again = await service.redeem(
        pool, reward_id, body, actor=caller.id, now=utc_now(), key=named
    )
    if not again:
        wake(request)
    row = await store.taken(pool, redemption_id)
    # As it was when it was taken: a replay gives the first answer.
    first = dict.fromkeys(("cancelled_at", "cancel_reason", "cancel_transfer_id"))
    item = RewardRedemptionOut(**{**row, **first, "codes": [shown(code) for code in row["codes"]]})
    response = Response(item.model_dump_json(), 201, media_type="application/json")
    return replayed(response) if again else response


@router.post("/v1/redemptions/{redemption_id}/cancel", **REDEEMED | {"status_code": 200})
async def cancel_redemption(
    *,
    redemption_id: UUID,
    session: Session,
    request: Request,
    caller: Writer,
    key: IdempotencyKey,
    body: CancelIn | None = None,
) -> Response:
    """Give a reward back, once: points return to the lots they came from, pieces to the stock."""
    wanted = body or CancelIn()

    async def run() -> tuple[int, RewardRedemptionOut]:
        found = await service.cancel(session, redemption_id, wanted, actor=caller.id, now=utc_now())
        return 200, (await _redemptions(session, [found]))[0]

    return await idempotent(session, request, key, wanted, run)


@router.get("/v1/loyalty/{customer_id}/redemptions", dependencies=[scope("loyalty:read")])
async def list_redemptions(
    customer_id: UUID, session: Session, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[RewardRedemptionOut]:
    """The rewards that a customer took, newest first."""
    before = decode_cursor(cursor, UUID)[0] if cursor else None
    customer = await family_of(session, customer_id)
    found = await store.redemptions_of(session, customer, before=before, limit=limit + 1)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=await _redemptions(session, found[:limit]), next_cursor=more)


def _reward(reward: Reward, caller: Caller) -> RewardOut:
    item = RewardOut.model_validate(reward)
    if not caller.may("admin"):
        item.cost = None  # what it costs us is nobody else's business
    return item


async def _redemptions(session: AsyncSession, found: Sequence[RewardRedemption]) -> list[RewardRedemptionOut]:
    codes: dict[UUID | None, list[str]] = defaultdict(list)
    for coupon in await coupons.issued_with(session, [redemption.id for redemption in found]):
        codes[coupon.issue_id].append(shown(coupon.code))
    items = [RewardRedemptionOut.model_validate(redemption) for redemption in found]
    for item in items:
        item.codes = codes[item.id]
    return items


def _columns(body: RewardIn, starts_at: datetime) -> dict[str, Any]:
    return body.model_dump() | {"starts_at": body.starts_at or starts_at}


async def _check(session: AsyncSession, body: RewardIn, reward: Reward) -> None:
    """What the fields must be to one another, and to what was taken before."""
    errors = []
    if body.ends_at is not None and body.ends_at <= (body.starts_at or reward.starts_at):
        errors.append(FieldError("/ends_at", "must come after starts_at"))
    if body.stock is not None and body.stock < reward.taken:
        errors.append(FieldError("/stock", f"{reward.taken} pieces are taken already"))
    if (body.kind == "partner_offer") != (body.partner_id is not None):
        errors.append(FieldError("/partner_id", "a partner offer names its partner, and nothing else does"))
    elif body.partner_id is not None and await session.get(LoyaltyPartner, body.partner_id) is None:
        errors.append(FieldError("/partner_id", "there is no such partner"))
    if body.campaign_id is not None:
        if body.kind != "voucher":
            errors.append(FieldError("/campaign_id", "only vouchers are paid out in coupons"))
        elif await session.get(CouponCampaign, body.campaign_id) is None:
            errors.append(FieldError("/campaign_id", "there is no such campaign"))
    if errors:
        raise Invalid(errors=errors)
