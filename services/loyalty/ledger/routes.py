"""What members have, over HTTP: balance, statement and lots; for operators the liability and the audit."""

from dataclasses import asdict
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.loyalty import section
from services.loyalty.ledger import store
from services.loyalty.ledger.answers import page
from services.loyalty.ledger.audit import CHECKS, audit
from services.loyalty.ledger.refusals import UnknownMember
from services.loyalty.ledger.schemas import (
    AuditOut,
    DifferenceOut,
    EntryOut,
    LiabilityOut,
    LotOut,
    MemberOut,
    Money,
)
from services.loyalty.settings import LoyaltySettings
from shared.web.dependencies import Pool
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor
from shared.web.security import scope

router = APIRouter(tags=["loyalty"])

READ = [scope("loyalty:read")]
OPERATE = [scope("admin")]

FIRST_ENTRY = 2**63 - 1  # above every entry's id: the statement begins with the newest


@router.get("/v1/loyalty/liability", dependencies=READ)
async def read_liability(request: Request, pool: Pool) -> LiabilityOut:
    """What the programme owes: points outstanding, their cost, and the months in which they expire."""
    settings: LoyaltySettings = request.app.state.settings
    found = await store.liability(pool)
    return LiabilityOut(
        points=found["points"],
        cost=Money(amount=found["cost"], currency=settings.currency),
        by_expiry=found["by_expiry"],
    )


@router.get("/v1/loyalty/audit", dependencies=OPERATE)
async def run_audit(pool: Pool) -> AuditOut:
    """Recompute every balance, lot and sum from the entries, and name the first that differs."""
    async with pool.acquire() as connection:
        rows, difference = await audit(connection)
    return AuditOut(
        sound=difference is None,
        checks=list(CHECKS),
        rows=rows,
        first_difference=DifferenceOut(**asdict(difference)) if difference else None,
    )


@router.get("/v1/loyalty/{customer_id}", response_model=MemberOut, dependencies=READ)
async def read_member(customer_id: UUID, pool: Pool) -> Response:
    """What a customer has: the same as the loyalty section of the 360 view."""
    async with pool.acquire() as connection:
        found = await section.build(connection, [customer_id])
    if customer_id not in found:
        raise UnknownMember("Loyalty has not heard of this customer yet.")
    return Response(found[customer_id].encode(), media_type="application/json")


@router.get("/v1/loyalty/{customer_id}/entries", response_model=Page[EntryOut], dependencies=READ)
async def read_statement(
    customer_id: UUID, pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """The statement, newest first: what, when and why, with the running balance."""
    before = decode_cursor(cursor, store.row_id)[0] if cursor else FIRST_ENTRY
    account_id = await store.account_of(pool, customer_id)
    return page(await store.statement(pool, account_id, before, limit + 1), limit)


@router.get("/v1/loyalty/{customer_id}/lots", response_model=Page[LotOut], dependencies=READ)
async def read_lots(
    customer_id: UUID, pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """The lots that still hold points, in the order in which they are spent: soonest expiry first."""
    after = decode_cursor(cursor, store.row_id)[0] if cursor else None
    account_id = await store.account_of(pool, customer_id)
    return page(await store.open_lots(pool, account_id, after, limit + 1), limit)
