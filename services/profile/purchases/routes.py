"""Purchases and refunds over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from services.profile import answers
from services.profile.batches import BatchOut, Entry, entry_of
from services.profile.customers.routes import Settings
from services.profile.customers.service import must_exist
from services.profile.purchases import service, store
from services.profile.purchases.schemas import PurchaseBatch, PurchaseIn, PurchaseOut, RefundIn, RefundOut
from services.profile.purchases.service import NoSuchPurchase
from services.profile.purchases.store import Locked, Refund
from services.profile.values import cursor_moment
from shared.database import raw
from shared.problems import PreconditionRequired
from shared.web.dependencies import Pool, Session
from shared.web.idempotency import OptionalIdempotencyKey, idempotent, replayed
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor
from shared.web.security import scope

router = APIRouter(tags=["purchases"])

READ = [scope("customers:read")]
WRITE = [scope("purchases:write")]


async def _entry(body: PurchaseIn, settings: Settings) -> Entry[PurchaseIn]:
    return entry_of(body, settings)


@router.post("/v1/purchases", status_code=201, response_model=PurchaseOut, dependencies=WRITE)
async def record_purchase(
    session: Session, settings: Settings, entry: Annotated[Entry[PurchaseIn], Depends(_entry)]
) -> Response:
    """Record a purchase, once for its source and source_id: a repeat gets 200 and the first one."""
    purchase_id, new = await service.record_one(session, entry, settings)
    document = await store.document(await raw(session), purchase_id)
    answer = answers.one(
        document or "null",
        status=201 if new else 200,
        location=f"/v1/purchases/{purchase_id}" if new else None,
    )
    return answer if new else replayed(answer)


@router.post("/v1/purchases:batch", dependencies=WRITE)
async def record_purchases(body: PurchaseBatch, session: Session, settings: Settings) -> BatchOut:
    """Record up to 1000 purchases. Those that don't fit come back with the reason."""
    return await service.record_batch(session, body.items, settings)


@router.get("/v1/purchases/{purchase_id}", response_model=PurchaseOut, dependencies=READ)
async def read_purchase(purchase_id: UUID, pool: Pool) -> Response:
    """One purchase."""
    document = await store.document(pool, purchase_id)
    if document is None:
        raise NoSuchPurchase()
    return answers.one(document)


@router.post(
    "/v1/purchases/{purchase_id}/refunds", status_code=201, response_model=RefundOut, dependencies=WRITE
)
async def refund_purchase(
    purchase_id: UUID, body: RefundIn, request: Request, session: Session, key: OptionalIdempotencyKey = None
) -> Response:
    """Give back part or all of a purchase, never more than is left of it.

    Named by its `source_id` or by an Idempotency-Key header: a repeat gets the first answer.
    """

    async def run() -> tuple[int, RefundOut]:
        refund, purchase, new = await service.refund(session, purchase_id, body)
        return 201 if new else 200, _refund_out(refund, purchase)

    if key is not None:
        return await idempotent(session, request, key, body, run)
    if body.source_id is None:
        raise PreconditionRequired(
            "Send a source_id or an Idempotency-Key header, so that a repeat is known."
        )
    status, refund = await run()
    answer = answers.one(refund.model_dump_json(), status=status)
    return answer if status == 201 else replayed(answer)


@router.get("/v1/customers/{customer_id}/purchases", response_model=Page[PurchaseOut], dependencies=READ)
async def list_purchases(
    customer_id: UUID, pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """A customer's purchases, the latest first."""
    place = decode_cursor(cursor, cursor_moment, UUID) if cursor else None
    await must_exist(pool, customer_id)
    return answers.page(await store.of_customer(pool, customer_id, place, limit + 1), limit)


def _refund_out(refund: Refund, purchase: Locked) -> RefundOut:
    return RefundOut(
        id=refund.id,
        purchase_id=refund.purchase_id,
        customer_id=purchase.customer_id,
        source=refund.source,
        source_id=refund.source_id,
        amount=refund.amount,
        currency=purchase.currency,
        reason=refund.reason,
        occurred_at=refund.occurred_at,
        refunded=purchase.refunded,
        refundable=purchase.amount - purchase.refunded,
    )
