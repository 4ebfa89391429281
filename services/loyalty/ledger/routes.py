"""What members have, over HTTP: balance, statement and lots; for operators the liability and the audit."""

import asyncio
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from services.loyalty import section
from services.loyalty.ledger import statement, store
from services.loyalty.ledger.answers import page
from services.loyalty.ledger.audit import CHAIN, CHECKS, UNSEALED, audit
from services.loyalty.ledger.refusals import (
    AuditTookTooLong,
    LiabilityTookTooLong,
    UnknownMember,
    UnknownTransfer,
)
from services.loyalty.ledger.schemas import (
    AuditOut,
    DifferenceOut,
    EntryOut,
    LiabilityOut,
    LotOut,
    MemberOut,
    Money,
    Period,
    SealOut,
    TransferOut,
)
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.problems import FieldError, Invalid
from shared.web.dependencies import Pool
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor
from shared.web.schemas import MomentOrDay
from shared.web.security import scope

router = APIRouter(tags=["loyalty"])

READ = [scope("loyalty:read")]
OPERATE = [scope("admin")]

Account = Literal["available", "pending", "held"]
KINDS: dict[Account, str] = {"available": "member", "pending": "pending", "held": "hold"}
PERIOD_DAYS = 30
ANSWER_WITHIN_S = 12.0  # the gateway waits 15 s: the caller shall hear what to do instead
FIRST_ENTRY = 2**63 - 1  # above every entry's id: the statement begins with the newest


@router.get("/v1/loyalty/liability", dependencies=READ)
async def read_liability(
    request: Request,
    pool: Pool,
    since: Annotated[
        MomentOrDay | None, Query(alias="from", description="A time or a day (UTC); a month back by default.")
    ] = None,
    to: Annotated[
        MomentOrDay | None, Query(description="What was posted before this time or day; now by default.")
    ] = None,
) -> LiabilityOut:
    """What the programme owes: points outstanding, their cost and expiry, and what moved in a period."""
    settings: LoyaltySettings = request.app.state.settings
    to = to or utc_now()
    since = since or to - timedelta(days=PERIOD_DAYS)
    if since > to:
        raise Invalid(errors=[FieldError("query:from", "must lie before `to`")])
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            found = await statement.liability(pool, since, to)
    except (TimeoutError, asyncpg.QueryCanceledError) as error:
        raise LiabilityTookTooLong("Ask for a period that begins later.") from error
    return LiabilityOut(
        points=found["points"],
        cost=Money(amount=found["cost"], currency=settings.currency),
        by_expiry=found["by_expiry"],
        expected_breakage=found["expected_breakage"],
        period=Period(**found["period"]),
    )


@router.get("/v1/loyalty/audit", dependencies=OPERATE)
async def run_audit(pool: Pool) -> AuditOut:
    """Recompute every balance, lot, sum and hash from what was written, and name the first that differs."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S), pool.acquire() as connection:
            report = await audit(connection)
    except (TimeoutError, asyncpg.QueryCanceledError) as error:
        raise AuditTookTooLong("Run `c360 doctor ledger`; it shows how far it is.") from error
    return AuditOut(
        sound=report.difference is None,
        checks=[*CHECKS, CHAIN, UNSEALED],
        rows=report.rows,
        head=SealOut(position=report.head[0], hash=report.head[1]) if report.head else None,
        first_difference=DifferenceOut(**asdict(report.difference)) if report.difference else None,
    )


@router.get("/v1/transfers/{transfer_id}", response_model=TransferOut, dependencies=READ)
async def read_transfer(transfer_id: UUID, pool: Pool) -> Response:
    """One movement of points and all that explains it: rule, arithmetic, event, accounts, lots and seal."""
    found = await statement.transfer(pool, transfer_id)
    if found is None:
        raise UnknownTransfer
    return Response(found.encode(), media_type="application/json")


@router.get("/v1/loyalty/{customer_id}", response_model=MemberOut, dependencies=READ)
async def read_member(customer_id: UUID, pool: Pool) -> Response:
    """What a customer has, or who it was merged into: the same as the loyalty section of the 360 view."""
    async with pool.acquire() as connection:
        found = await section.build(connection, [customer_id])
        if not found:
            survivors = await store.survivors(connection, [customer_id])
            found = await section.build(connection, list(survivors.values()))
    for text in found.values():
        return Response(text.encode(), media_type="application/json")
    raise UnknownMember("Loyalty has not heard of this customer yet.")


@router.get(
    "/v1/loyalty/{customer_id}/entries",
    response_model=Page[EntryOut],
    dependencies=READ,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def read_statement(
    *,
    customer_id: UUID,
    pool: Pool,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    account: Annotated[
        Account, Query(description="Which points: the available ones by default.")
    ] = "available",
    wanted: Annotated[
        Literal["json", "csv"] | None,
        Query(alias="format", description="csv: all lines, as `Accept: text/csv`."),
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """The statement, newest first: what, when and why, from which lots, with the running balance."""
    before = decode_cursor(cursor, statement.row_id)[0] if cursor else FIRST_ENTRY
    account_id = await store.account_of(pool, customer_id, KINDS[account])
    if wanted == "csv" or (wanted is None and "text/csv" in accept):
        headers = {"Content-Disposition": f'attachment; filename="points-{customer_id}.csv"'}
        lines = statement.as_csv(pool, account_id, before)
        return StreamingResponse(lines, media_type="text/csv", headers=headers)
    if account_id is None:
        return page([], limit)
    return page(await statement.statement(pool, account_id, before, limit + 1), limit)


@router.get("/v1/loyalty/{customer_id}/lots", response_model=Page[LotOut], dependencies=READ)
async def read_lots(
    customer_id: UUID,
    pool: Pool,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    account: Annotated[
        Account, Query(description="Which points: the available ones by default.")
    ] = "available",
) -> Response:
    """The lots that still hold points, in the order in which they are spent: soonest expiry first."""
    after = decode_cursor(cursor, statement.row_id)[0] if cursor else None
    account_id = await store.account_of(pool, customer_id, KINDS[account])
    if account_id is None:
        return page([], limit)
    return page(await statement.open_lots(pool, account_id, after, limit + 1), limit)
