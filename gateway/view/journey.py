"""The journey over HTTP: the timeline page by page, and changes as they happen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import anyio
from fastapi import APIRouter, FastAPI, Header, Query, Request
from pydantic import AwareDatetime
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from gateway.edge.lifetime import Lifespan
from gateway.edge.plain import JsonBytes
from gateway.view import position, store, timeline
from gateway.view.schemas import JourneyLine
from gateway.view.stream import StreamHub
from shared.contracts.subscriptions import SUBSCRIPTIONS
from shared.problems import FieldError, Invalid, NotFound
from shared.web.dependencies import Pool
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

TYPES = SUBSCRIPTIONS["gateway.timeline"]
SHUTDOWN_GRACE_S = 1.0  # to tell readers why their stream ends

router = APIRouter(tags=["view"])


@router.get(
    "/v1/customers/{customer_id}/timeline",
    response_model=Page[JourneyLine],
    dependencies=[scope("view:read")],
)
async def read_timeline(  # noqa: PLR0917 - the parameters are the API
    customer_id: UUID,
    pool: Pool,
    kinds: Annotated[
        str | None, Query(alias="type", description=f"Only these, comma-separated: {', '.join(TYPES)}.")
    ] = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="This moment or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="Before this moment.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """What happened to a customer and what they did, the newest first."""
    rows = await timeline.read_page(
        pool,
        customer_id,
        since=since,
        until=until,
        types=_types(kinds),
        after=decode_cursor(cursor, datetime.fromisoformat, UUID, int) if cursor else None,
        limit=limit + 1,
    )
    if not rows and await store.position(pool, customer_id) is None:
        raise NotFound("No customer in the view has this id.")
    page = rows[:limit]
    following = "null"
    if len(rows) > limit:
        last = page[-1]
        following = f'"{encode_cursor(last["occurred_at"], last["event_id"], last["item"])}"'
    body = f'{{"items":[{",".join(map(timeline.render, page))}],"next_cursor":{following}}}'
    return JsonBytes(body.encode())


@router.get(
    "/v1/customers/{customer_id}/stream",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    dependencies=[scope("view:read")],
)
async def stream_changes(
    request: Request,
    customer_id: UUID,
    pool: Pool,
    last_event_id: Annotated[
        str | None, Header(max_length=200, description="The last id received; everything after it follows.")
    ] = None,
) -> EventSourceResponse:
    """Changes as they happen, as Server-Sent Events.

    `ready` comes first and carries the id to come back with; then `section` with a section's new state and
    `timeline` with a line of the journey; `dropped` says why a stream ends (`slow_reader`, `lifetime`,
    `shutdown`). Send
    the last id as `Last-Event-ID` and nothing is missed; of several snapshots of a section the newest comes.
    """
    hub = _hub(request.app)
    hub.require_room()
    now = await store.position(pool, customer_id)
    if now is None:
        raise NotFound("No customer in the view has this id.")
    at = position.parse(last_event_id).not_beyond(now) if last_event_id else now
    settings = request.app.state.settings
    reader = hub.reader(customer_id, at)
    return EventSourceResponse(
        hub.follow(reader),
        ping=settings.stream_heartbeat_s,
        send_timeout=2 * settings.stream_stall_s,
        shutdown_event=cast(anyio.Event, reader),  # of an event only `set` is used
        shutdown_grace_period=SHUTDOWN_GRACE_S,
        sep="\n",
    )


def _hub(app: FastAPI) -> StreamHub:
    """The process's hub, made when the first stream is opened."""
    if getattr(app.state, "streams", None) is None:
        app.state.streams = StreamHub(app.state.database.pool, app.state.bus, app.state.settings)
    hub: StreamHub = app.state.streams
    return hub


def with_streams(lifespan: Lifespan) -> Lifespan:
    """The lifespan with the end of all streams in it."""

    @asynccontextmanager
    async def lifespan_with_streams(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(app):
            try:
                yield
            finally:
                await _hub(app).close()

    return lifespan_with_streams


def _types(given: str | None) -> list[str] | None:
    if given is None:
        return None
    named = [name.strip() for name in given.split(",")]
    if not set(named).issubset(TYPES):
        raise Invalid(errors=[FieldError("query:type", f"Name one or more of {', '.join(TYPES)}.")])
    return named
