"""HTTP of the segments: rules that customers fit, tried before they are saved."""

from uuid import UUID

import asyncpg
from fastapi import APIRouter, Request
from starlette.responses import Response

from services.scoring.due import BEFORE_ALL
from services.scoring.segments import service, store
from services.scoring.segments.cluster_routes import router as clusters
from services.scoring.segments.fields import ANY_ATTRIBUTE, FIELDS
from services.scoring.segments.schemas import (
    FieldOut,
    MemberOut,
    PreviewIn,
    PreviewOut,
    SegmentIn,
    SegmentOut,
    SegmentPatch,
)
from services.scoring.segments.store import Segment
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.database import raw
from shared.web.dependencies import Pool, Session
from shared.web.etag import IfMatch, set_etag, tag
from shared.web.idempotency import OptionalIdempotencyKey, idempotent
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

router = APIRouter(prefix="/v1", tags=["scoring"])
router.include_router(clusters)  # first: its path would be a segment's id

READ = [scope("scores:read")]
WRITE = [scope("scores:write")]


@router.get("/segment-fields", dependencies=READ)
async def list_segment_fields() -> Page[FieldOut]:
    """What expressions may speak of. What is not known of a customer fits no comparison."""
    return Page(items=[FieldOut.of(field) for field in (*FIELDS.values(), ANY_ATTRIBUTE)])


@router.post("/segments:preview", dependencies=READ)
async def preview_segment(body: PreviewIn, session: Session, request: Request) -> PreviewOut:
    """Who fits an expression now: how many, the first of them, and how many fit each of its comparisons.

    An expression that cannot be read is refused (422); the error says where, with the place underlined.
    """
    settings: ScoringSettings = request.app.state.settings
    return await service.preview(await raw(session), body.expression, settings.observed(utc_now()))


@router.post("/segments", status_code=201, response_model=SegmentOut, dependencies=WRITE)
async def create_segment(
    body: SegmentIn, session: Session, request: Request, key: OptionalIdempotencyKey = None
) -> Response:
    """Make a segment of the customers who fit an expression; they come into it in the background."""

    async def run() -> tuple[int, SegmentOut, dict[str, str]]:
        made = await service.create(await raw(session), body)
        headers = {"Location": f"/v1/segments/{made.id}", "ETag": tag(made.version)}
        return 201, SegmentOut.of(made, 0), headers

    if key is not None:
        return await idempotent(session, request, key, body, run)
    status, answer, headers = await run()
    return Response(answer.model_dump_json(), status, headers=headers, media_type="application/json")


@router.get("/segments", dependencies=READ)
async def list_segments(
    session: Session, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[SegmentOut]:
    """All segments, in the order in which they were made."""
    connection = await raw(session)
    after = decode_cursor(cursor, UUID)[0] if cursor else BEFORE_ALL
    found = await store.list_segments(connection, after, limit + 1)
    page = found[:limit]
    members = await store.count_members(connection, [segment.id for segment in page])
    return Page(
        items=[SegmentOut.of(segment, members[segment.id]) for segment in page],
        next_cursor=encode_cursor(page[-1].id) if len(found) > limit else None,
    )


@router.get("/segments/{segment_id}", dependencies=READ)
async def read_segment(segment_id: UUID, session: Session, response: Response) -> SegmentOut:
    """A segment, how many customers are in it, and the ETag that a change needs."""
    connection = await raw(session)
    return await _show(connection, await service.require(connection, segment_id), response)


@router.patch("/segments/{segment_id}", dependencies=WRITE)
async def change_segment(
    segment_id: UUID, body: SegmentPatch, if_match: IfMatch, session: Session, response: Response
) -> SegmentOut:
    """Change a segment's expression or description; customers come in and leave in the background."""
    connection = await raw(session)
    return await _show(connection, await service.change(connection, segment_id, body, if_match), response)


@router.delete("/segments/{segment_id}", status_code=204, dependencies=WRITE)
async def remove_segment(segment_id: UUID, if_match: IfMatch, session: Session) -> None:
    """Take a segment away; its customers leave it in the background."""
    await service.remove(await raw(session), segment_id, if_match)


@router.get("/segments/{segment_id}/customers", dependencies=READ)
async def list_segment_customers(
    segment_id: UUID, pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[MemberOut]:
    """The customers of a segment and since when they are in it, by id."""
    after = decode_cursor(cursor, UUID)[0] if cursor else BEFORE_ALL
    async with pool.acquire() as connection:
        await service.require(connection, segment_id)
        found = await store.read_members(connection, segment_id, after, limit + 1)
    return Page(
        items=[MemberOut(customer_id=customer_id, since=since) for customer_id, since in found[:limit]],
        next_cursor=encode_cursor(found[limit - 1][0]) if len(found) > limit else None,
    )


async def _show(connection: asyncpg.Connection, segment: Segment, response: Response) -> SegmentOut:
    members = await store.count_members(connection, [segment.id])
    set_etag(response, segment.version)
    return SegmentOut.of(segment, members[segment.id])
