"""HTTP of the next actions: the catalogue, what could be done for a customer, and what became of it."""

from collections.abc import Awaitable, Callable
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.scoring import due
from services.scoring.actions import store
from services.scoring.actions.rules import KINDS
from services.scoring.actions.schemas import (
    ActionIn,
    ActionOut,
    AnswerIn,
    AnswerOut,
    CatalogueOut,
    NextActionsOut,
)
from services.scoring.actions.service import candidates
from services.scoring.tables import CustomerFacts
from shared.clock import utc_now
from shared.database import raw
from shared.problems import NotFound, PreconditionFailed
from shared.web.dependencies import Pool, Session
from shared.web.etag import IfMatch, set_etag
from shared.web.idempotency import IdempotencyKey, idempotent
from shared.web.security import scope

router = APIRouter(prefix="/v1/actions", tags=["scoring"])


@router.get("", dependencies=[scope("scores:read")])
async def read_catalogue(session: Session, response: Response) -> CatalogueOut:
    """All that could be done for a customer: what it costs, needs and is thought to bring."""
    return await _catalogue(session, response)


@router.put("/{kind}", dependencies=[scope("scores:write")])
async def set_action(
    kind: str, body: ActionIn, if_match: IfMatch, session: Session, response: Response
) -> CatalogueOut:
    """Set one entry of the catalogue; the ETag is the whole catalogue's.

    All customers' next actions are chosen anew in the background.
    """
    if kind not in KINDS:
        raise NotFound(f"There is no such action; there are {', '.join(KINDS)}.")
    said = body.model_dump_json(exclude_unset=True)
    if await store.change_action(await raw(session), if_match, kind, said) is None:
        raise PreconditionFailed("Read it again, then send the change with its new ETag.")
    return await _catalogue(session, response)


@router.get("/{customer_id}", dependencies=[scope("scores:read")])
async def read_next_actions(customer_id: UUID, pool: Pool, request: Request) -> NextActionsOut:
    """What could be done next for a customer, what each is expected to bring, and why or why not."""
    async with pool.acquire() as connection:
        return await candidates(connection, customer_id, request.app.state.settings)


@router.post(
    "/{customer_id}:accept", status_code=201, response_model=AnswerOut, dependencies=[scope("scores:write")]
)
async def accept_action(
    customer_id: UUID, body: AnswerIn, session: Session, request: Request, key: IdempotencyKey
) -> Response:
    """Record that an action is done, recommended or not; it counts as a contact."""
    record = _recording(customer_id, body, session, "accepted")
    return await idempotent(session, request, key, body, record)


@router.post(
    "/{customer_id}:decline", status_code=201, response_model=AnswerOut, dependencies=[scope("scores:write")]
)
async def decline_action(
    customer_id: UUID, body: AnswerIn, session: Session, request: Request, key: IdempotencyKey
) -> Response:
    """Record that an action is not done; it is not recommended again until its cooldown is over."""
    record = _recording(customer_id, body, session, "declined")
    return await idempotent(session, request, key, body, record)


def _recording(
    customer_id: UUID, body: AnswerIn, session: Session, status: Literal["accepted", "declined"]
) -> Callable[[], Awaitable[tuple[int, AnswerOut]]]:
    async def record() -> tuple[int, AnswerOut]:
        connection, now = await raw(session), utc_now()
        await store.lock(connection, [customer_id])
        if await session.get(CustomerFacts, customer_id) is None:
            raise NotFound("Nothing is known of this customer here.")
        channel = (await store.read_setup(connection)).catalogue[body.action].channel
        answered = await store.answer(
            connection, customer_id, body.action, channel=channel, status=status, now=now
        )
        await due.note(connection, ["actions"], [customer_id])
        return 201, AnswerOut(id=answered, customer_id=customer_id, action=body.action, status=status, at=now)

    return record


async def _catalogue(session: Session, response: Response) -> CatalogueOut:
    setup = await store.read_setup(await raw(session))
    set_etag(response, setup.version)
    items = [ActionOut.of(kind, action) for kind, action in setup.catalogue.items()]
    return CatalogueOut(version=setup.version, items=items)
