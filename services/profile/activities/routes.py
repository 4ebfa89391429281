"""Activities over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from starlette.responses import Response

from services.profile import answers
from services.profile.activities import service, store
from services.profile.activities.schemas import ActivityBatch, ActivityIn, ActivityOut
from services.profile.batches import NO_SUCH_CUSTOMER, BatchOut, Entry, entry_of
from services.profile.customers.routes import Settings
from services.profile.customers.service import must_exist
from services.profile.values import cursor_moment
from shared.database import raw
from shared.problems import Invalid
from shared.web.dependencies import Pool, Session
from shared.web.idempotency import replayed
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor
from shared.web.security import scope

router = APIRouter(tags=["activities"])

READ = [scope("customers:read")]
WRITE = [scope("purchases:write")]


async def _entry(body: ActivityIn, settings: Settings) -> Entry[ActivityIn]:
    return entry_of(body, settings)


@router.post("/v1/activities", status_code=201, response_model=ActivityOut, dependencies=WRITE)
async def record_activity(
    session: Session, settings: Settings, entry: Annotated[Entry[ActivityIn], Depends(_entry)]
) -> Response:
    """Record an activity; a repeat of its source and source_id gets 200 and the first one."""
    outcome = await service.record(session, [entry], settings)
    if not outcome:
        raise Invalid(errors=[NO_SUCH_CUSTOMER])
    activity_id, new = outcome[entry.index]
    document = await store.document(await raw(session), activity_id)
    answer = answers.one(document or "null", status=201 if new else 200)
    return answer if new else replayed(answer)


@router.post("/v1/activities:batch", dependencies=WRITE)
async def record_activities(body: ActivityBatch, session: Session, settings: Settings) -> BatchOut:
    """Record up to 1000 activities. Those that don't fit come back with the reason."""
    return await service.record_batch(session, body.items, settings)


@router.get("/v1/customers/{customer_id}/activities", response_model=Page[ActivityOut], dependencies=READ)
async def list_activities(
    customer_id: UUID, pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """A customer's activities, the latest first."""
    place = decode_cursor(cursor, cursor_moment, UUID) if cursor else None
    await must_exist(pool, customer_id)
    return answers.page(await store.of_customer(pool, customer_id, place, limit + 1), limit)
