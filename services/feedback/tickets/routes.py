"""The tickets' HTTP API."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.feedback.settings import FeedbackSettings
from services.feedback.tables import Ticket, TicketMessage, TicketStep
from services.feedback.text.lexicon import Category
from services.feedback.tickets import service, store
from services.feedback.tickets.opening import Opening, open_tickets, require_earlier
from services.feedback.tickets.rules import Kind, Status
from services.feedback.tickets.schemas import (
    Assignment,
    ContactView,
    Link,
    MessageView,
    NewMessage,
    NewTicket,
    ReadingView,
    Step,
    TicketDetail,
    TicketView,
    Transition,
)
from services.feedback.times import happened_at
from shared.clock import utc_now
from shared.contracts.handles import Handle
from shared.problems import NotFound
from shared.web.dependencies import Session
from shared.web.etag import OptionalIfMatch, require_version, set_etag, tag
from shared.web.idempotency import IdempotencyKey, idempotent
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import Caller, scope

router = APIRouter(prefix="/v1/tickets", tags=["tickets"])

Reader = Annotated[Caller, scope("tickets:read")]
Writer = Annotated[Caller, scope("tickets:write")]


@router.post("", status_code=201, response_model=TicketView)
async def open_ticket(
    body: NewTicket, session: Session, request: Request, key: IdempotencyKey, caller: Writer
) -> Response:
    """Open a ticket: of the customer named by `customer_id`, or found or made from the `contact`."""

    async def run() -> tuple[int, TicketView, dict[str, str]]:
        if body.follow_up_of is not None:
            await require_earlier(session, body.follow_up_of)
        now = utc_now()
        opening = Opening(
            kind=body.kind,
            channel=body.channel,
            text=body.text,
            occurred_at=happened_at(body.occurred_at or now, now),
            actor=caller.id,
            rating=body.rating,
            contact=body.contact.handles() if body.contact else (),
            contact_name=body.contact.name if body.contact else None,
            customer_id=body.customer_id,
            department=body.department,
            assignee=body.assignee,
            follow_up_of=body.follow_up_of,
        )
        (ticket,) = await open_tickets(
            session, [opening], now=now, reopen_within=_settings(request).reopen_within
        )
        headers = {"Location": f"/v1/tickets/{ticket.id}", "ETag": tag(ticket.version)}
        return 201, TicketView.model_validate(ticket), headers

    return await idempotent(session, request, key, body, run)


@router.get("", dependencies=[scope("tickets:read")])
async def list_tickets(
    *,
    session: Session,
    status: Annotated[frozenset[Status], Query(description="One or several.")] = frozenset(),
    category: Category | None = None,
    kind: Kind | None = None,
    customer_id: UUID | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[TicketView]:
    """Tickets, newest first."""
    below = decode_cursor(cursor, UUID)[0] if cursor else None
    wanted = store.Filter(status=status, category=category, kind=kind, customer_id=customer_id)
    found = await store.page(session, wanted, below=below, limit=limit + 1)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[TicketView.model_validate(ticket) for ticket in found[:limit]], next_cursor=more)


@router.get("/{ticket_id}")
async def read_ticket(
    ticket_id: UUID, session: Session, request: Request, response: Response, caller: Reader
) -> TicketDetail:
    """A ticket with its reading, history and messages."""
    ticket = await session.get(Ticket, ticket_id)
    if ticket is None:
        raise NotFound("There is no ticket with this id.")
    limit = _settings(request).history_items
    history = await store.newest(session, TicketStep, ticket_id, limit)
    messages = await store.newest(session, TicketMessage, ticket_id, limit)
    set_etag(response, ticket.version)
    return TicketDetail(
        **TicketView.model_validate(ticket).model_dump(),
        contact=_contact(ticket) if caller.may("pii:read") else None,
        link=_link(ticket),
        reading=ReadingView.model_validate(ticket.reading),
        history=[Step.model_validate(item) for item in history],
        messages=[MessageView.model_validate(item) for item in messages],
    )


@router.post("/{ticket_id}/messages", status_code=201)
async def post_message(
    ticket_id: UUID, body: NewMessage, session: Session, request: Request, caller: Writer
) -> MessageView:
    """Say something to the customer, as the customer, or among ourselves."""
    ticket = await service.require(session, ticket_id)
    message = await service.post_message(
        session,
        ticket,
        text=body.text,
        sender=body.sender,
        visibility=body.visibility,
        actor=caller.id,
        now=utc_now(),
        reopen_within=_settings(request).reopen_within,
    )
    return MessageView.model_validate(message)


@router.post("/{ticket_id}/assign")
async def assign_ticket(
    *,
    ticket_id: UUID,
    body: Assignment,
    session: Session,
    response: Response,
    caller: Writer,
    if_match: OptionalIfMatch,
) -> TicketView:
    """Say who takes care of it. `If-Match` is optional and guards against overwriting a newer state."""
    ticket = await service.require(session, ticket_id)
    if if_match is not None:
        require_version(ticket.version, if_match)
    await service.assign(session, ticket, body.model_dump(exclude_unset=True), actor=caller.id, now=utc_now())
    set_etag(response, ticket.version)
    return TicketView.model_validate(ticket)


@router.post("/{ticket_id}/transition")
async def move_ticket(
    *,
    ticket_id: UUID,
    body: Transition,
    session: Session,
    request: Request,
    response: Response,
    caller: Writer,
    if_match: OptionalIfMatch,
) -> TicketView:
    """Take a step in the ticket's life. `If-Match` is optional and guards against a newer state."""
    ticket = await service.require(session, ticket_id)
    if if_match is not None:
        require_version(ticket.version, if_match)
    await service.transition(
        session,
        ticket,
        body.to,
        comment=body.comment,
        actor=caller.id,
        now=utc_now(),
        reopen_within=_settings(request).reopen_within,
    )
    set_etag(response, ticket.version)
    return TicketView.model_validate(ticket)


def _settings(request: Request) -> FeedbackSettings:
    settings: FeedbackSettings = request.app.state.settings
    return settings


def _contact(ticket: Ticket) -> ContactView:
    return ContactView(name=ticket.contact_name, handles=[Handle(**handle) for handle in ticket.contact])


def _link(ticket: Ticket) -> Link | None:
    if ticket.linked_by is None or ticket.linked_confidence is None or ticket.linked_at is None:
        return None
    return Link(rule=ticket.linked_by, confidence=ticket.linked_confidence, at=ticket.linked_at)
