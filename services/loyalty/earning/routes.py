"""Points moved by hand, over HTTP: earnings, adjustments and reversals by operators.

Whatever gives points to a member is set against what the member owes, in the same transaction.
"""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.loyalty.earning.amounts import expiry
from services.loyalty.earning.schemas import AdjustmentIn, EarningIn, ReversalIn
from services.loyalty.earning.service import settle
from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.answers import posted
from services.loyalty.ledger.keys import posting_key
from services.loyalty.ledger.schemas import PostedOut
from services.loyalty.ledger.store import Cause
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.database import raw
from shared.problems import FieldError, Invalid
from shared.web.dependencies import Session
from shared.web.idempotency import IdempotencyKey
from shared.web.security import Caller, scope

router = APIRouter(tags=["loyalty"])

Operator = Annotated[Caller, scope("admin")]
RULE = "operator"
FUTURE = timedelta(minutes=5)  # how far a clock elsewhere may be ahead
CREATED: dict[str, Any] = {"status_code": 201, "response_model": PostedOut}


@router.post("/v1/loyalty/{customer_id}/earnings", **CREATED)
async def give_earning(
    *,
    customer_id: UUID,
    body: EarningIn,
    request: Request,
    session: Session,
    caller: Operator,
    key: IdempotencyKey,
) -> Response:
    """Give points; the account is opened with the first."""
    settings: LoyaltySettings = request.app.state.settings
    now = utc_now()
    occurred_at = body.occurred_at or now
    expires_at = body.expires_at or expiry(occurred_at, settings.points_days)
    if occurred_at > now + FUTURE:
        raise Invalid(errors=[FieldError("/occurred_at", "lies in the future")])
    if expires_at is not None and expires_at <= occurred_at:
        raise Invalid(errors=[FieldError("/expires_at", "must come after occurred_at")])
    connection = await raw(session)
    answer = await ledger.earn(
        connection,
        customer_id,
        body.points,
        Cause(body.reason, caller.id, occurred_at, RULE, f"{body.points} given"),
        posting_key(caller.id, key, request.url.path, body),
        expires_at=expires_at,
        cost_per_point=settings.cost_per_point,
    )
    await settle(connection, [customer_id])
    session.info["emitted"] = True
    return posted(answer)


@router.post("/v1/loyalty/{customer_id}/adjustments", **CREATED)
async def adjust(
    *,
    customer_id: UUID,
    body: AdjustmentIn,
    request: Request,
    session: Session,
    caller: Operator,
    key: IdempotencyKey,
) -> Response:
    """Correct a balance; a negative correction never takes more than there is."""
    settings: LoyaltySettings = request.app.state.settings
    now = utc_now()
    cause = Cause(body.reason, caller.id, now, RULE, f"{body.points:+d} by hand")
    named = posting_key(caller.id, key, request.url.path, body)
    connection = await raw(session)
    if body.points > 0:
        answer = await ledger.earn(
            connection,
            customer_id,
            body.points,
            cause,
            named,
            kind="adjustment",
            expires_at=expiry(now, settings.points_days),
            cost_per_point=settings.cost_per_point,
        )
        await settle(connection, [customer_id])
    else:
        answer = await ledger.spend(connection, customer_id, -body.points, cause, named, kind="adjustment")
    session.info["emitted"] = True
    return posted(answer)


@router.post("/v1/transfers/{transfer_id}/reverse", **CREATED)
async def reverse(
    *,
    transfer_id: UUID,
    request: Request,
    session: Session,
    caller: Operator,
    key: IdempotencyKey,
    body: ReversalIn | None = None,
) -> Response:
    """Undo a transfer, once. Spent points return to the lots they came from; earned ones are taken back."""
    body = body or ReversalIn()
    connection = await raw(session)
    answer = await ledger.reverse(
        connection,
        transfer_id,
        Cause(body.reason, caller.id, utc_now(), RULE),
        posting_key(caller.id, key, request.url.path, body),
    )
    await settle(connection, await ledger.members_of(connection, transfer_id))
    session.info["emitted"] = True
    return posted(answer)
