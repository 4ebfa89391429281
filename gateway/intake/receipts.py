"""/v1/receipts: what became of a webhook, and mending what was quarantined."""

from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.edge.door import PARTNER
from gateway.intake import store
from gateway.intake.rules import Unusable, read_feedback
from gateway.intake.schemas import Accepted, ReceiptView
from gateway.settings import GatewaySettings
from gateway.tables import Receipt
from shared.clock import utc_now
from shared.database import Database
from shared.jobs import Job
from shared.messaging import outbox
from shared.problems import Conflict, FieldError, Invalid, NotFound
from shared.web.dependencies import Session
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.schemas import JsonObject
from shared.web.security import Caller, scope

router = APIRouter(prefix="/v1/receipts", tags=["intake"])
PURGE_EVERY_S = 600
Reader = Annotated[Caller, scope("receipts:read")]


class NotQuarantined(Conflict):
    slug, title = "not-quarantined", "This receipt needs no mending"


@router.get("")
async def list_receipts(
    *,
    caller: Reader,
    session: Session,
    request: Request,
    status: Literal["accepted", "quarantined"] | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ReceiptView]:
    """Receipts from the newest on; a partner's key sees its own."""
    after = decode_cursor(cursor, UUID)[0] if cursor else None
    rows = await store.receipts(
        session, partner=request.scope.get(PARTNER), status=status, after=after, limit=limit
    )
    return Page[ReceiptView](
        items=[_view(row, caller) for row in rows],
        next_cursor=encode_cursor(rows[-1].id) if len(rows) == limit else None,
    )


@router.get("/{receipt_id}")
async def read(receipt_id: UUID, caller: Reader, session: Session, request: Request) -> ReceiptView:
    """One receipt; a partner's key finds its own only."""
    return _view(await _own_receipt(session, receipt_id, request), caller)


@router.post("/{receipt_id}/replay", dependencies=[scope("admin")])
async def replay(
    receipt_id: UUID, session: Session, request: Request, mended: JsonObject | None = None
) -> Accepted:
    """Try a quarantined webhook again, with the mended body when there is one, else as it was sent."""
    receipt = await _own_receipt(session, receipt_id, request, lock=True)
    if receipt.status != "quarantined" or (mended is None and receipt.body is None):
        raise NotQuarantined
    try:
        event = read_feedback(
            orjson.dumps(mended) if mended is not None else receipt.body or b"",
            receipt_id=receipt.id,
            partner=receipt.partner,
            webhook_id=receipt.webhook_id,
            now=receipt.received_at,
        )
    except Unusable as error:
        raise Invalid("It is still no feedback.", errors=[FieldError("", error.reason)]) from error
    receipt.status, receipt.reason, receipt.body, receipt.mended_at = "accepted", None, None, utc_now()
    await outbox.emit(session, event)
    return Accepted(receipt_id=receipt.id, status="accepted")


async def _own_receipt(
    session: AsyncSession, receipt_id: UUID, request: Request, *, lock: bool = False
) -> Receipt:
    receipt = await session.get(Receipt, receipt_id, with_for_update=lock)
    partner = request.scope.get(PARTNER)
    if receipt is None or (partner is not None and receipt.partner != partner):
        raise NotFound("There is no such receipt.")
    return receipt


def _view(receipt: Receipt, caller: Caller) -> ReceiptView:
    shown = receipt.body.decode("utf-8", "replace") if receipt.body and caller.may("pii:read") else None
    return ReceiptView(
        receipt_id=receipt.id,
        partner=receipt.partner,
        webhook_id=receipt.webhook_id,
        status=receipt.status,
        reason=receipt.reason,
        received_at=receipt.received_at,
        mended_at=receipt.mended_at,
        body=shown,
    )


def purging(settings: GatewaySettings) -> Job:
    """The job that forgets old receipts."""
    accepted, quarantined = timedelta(days=settings.receipt_days), timedelta(days=settings.quarantine_days)

    async def run(database: Database) -> None:
        await store.purge(database, accepted=accepted, quarantined=quarantined)

    return Job("old receipts", PURGE_EVERY_S, run)
