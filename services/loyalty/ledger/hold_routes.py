"""Holds, over HTTP: points set aside for a checkout, then captured or released. Each is one statement."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.loyalty.ledger import store
from services.loyalty.ledger.answers import held, posted
from services.loyalty.ledger.keys import posting_key
from services.loyalty.ledger.schemas import CaptureIn, HeldOut, HoldIn, PostedOut, ReleaseIn
from services.loyalty.ledger.store import Cause
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.problems import FieldError, Invalid
from shared.web.dependencies import Pool, wake
from shared.web.idempotency import IdempotencyKey
from shared.web.security import Caller, scope

router = APIRouter(tags=["loyalty"])

Spender = Annotated[Caller, scope("loyalty:write")]
CLOSED: dict[str, Any] = {"status_code": 201, "response_model": PostedOut}


@router.post("/v1/loyalty/{customer_id}/holds", status_code=201, response_model=HeldOut)
async def place_hold(
    *, customer_id: UUID, body: HoldIn, request: Request, pool: Pool, caller: Spender, key: IdempotencyKey
) -> Response:
    """Set points aside, those that expire soonest first. Too few: 409, and nothing is changed."""
    settings: LoyaltySettings = request.app.state.settings
    now = utc_now()
    expires_at = body.expires_at or now + timedelta(minutes=settings.hold_minutes)
    if not now < expires_at <= now + timedelta(days=settings.hold_days_limit):
        detail = f"must lie ahead, by {settings.hold_days_limit} days at most"
        raise Invalid(errors=[FieldError("/expires_at", detail)])
    cause = Cause(body.reason, caller.id, now)
    named = posting_key(caller.id, key, request.url.path, body)
    answer = await store.hold(pool, customer_id, body.points, cause, named, expires_at=expires_at)
    wake(request)
    return held(answer)


@router.post("/v1/holds/{hold_id}/capture", **CLOSED)
async def capture(
    *,
    hold_id: UUID,
    request: Request,
    pool: Pool,
    caller: Spender,
    key: IdempotencyKey,
    body: CaptureIn | None = None,
) -> Response:
    """Spend what is held, or a part; the rest goes back. A hold is closed once."""
    body = body or CaptureIn()
    named = posting_key(caller.id, key, request.url.path, body)
    answer = await store.capture(pool, hold_id, body.points, Cause(body.reason, caller.id, utc_now()), named)
    wake(request)
    return posted(answer)


@router.post("/v1/holds/{hold_id}/release", **CLOSED)
async def release(
    *,
    hold_id: UUID,
    request: Request,
    pool: Pool,
    caller: Spender,
    key: IdempotencyKey,
    body: ReleaseIn | None = None,
) -> Response:
    """Give back what is held. A hold is closed once."""
    body = body or ReleaseIn()
    named = posting_key(caller.id, key, request.url.path, body)
    answer = await store.release(pool, hold_id, Cause(body.reason, caller.id, utc_now()), named)
    wake(request)
    return posted(answer)
