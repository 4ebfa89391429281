"""Spending points, over HTTP: one statement from the request to the answer."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.answers import posted
from services.loyalty.ledger.schemas import PostedOut
from services.loyalty.ledger.store import Cause, Key
from services.loyalty.rewards.schemas import RedemptionIn
from shared.clock import utc_now
from shared.web.dependencies import Pool, wake
from shared.web.idempotency import IdempotencyKey, input_hash
from shared.web.security import Caller, scope

router = APIRouter(tags=["loyalty"])

Spender = Annotated[Caller, scope("loyalty:write")]


@router.post("/v1/loyalty/{customer_id}/redemptions", status_code=201, response_model=PostedOut)
async def redeem(
    *,
    customer_id: UUID,
    body: RedemptionIn,
    request: Request,
    pool: Pool,
    caller: Spender,
    key: IdempotencyKey,
) -> Response:
    """Spend points, those that expire soonest first. Too few: 409, and nothing is changed."""
    answer = await ledger.spend(
        pool,
        customer_id,
        body.points,
        Cause(body.reason, caller.id, utc_now()),
        Key(f"api {caller.id} {key}", input_hash(request.url.path, body)),
    )
    if not answer.replayed:
        wake(request)
    return posted(answer)
