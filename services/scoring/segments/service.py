"""Keeping segments true: of customers to whom something happened, and of all when rules or the day change."""

import time
from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg

from services.scoring import due
from services.scoring.segments import store
from services.scoring.segments.cluster_service import place
from services.scoring.segments.expressions import comparisons, write
from services.scoring.segments.parser import parse
from services.scoring.segments.schemas import PartOut, PreviewOut, SegmentIn, SegmentPatch
from services.scoring.segments.store import Segment
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.database import Database
from shared.problems import Conflict, NotFound, PreconditionFailed, Unavailable
from shared.web.etag import require_version

TURN_S = 2.0
MOST_SEGMENTS = 50
SAMPLE = 20
PREVIEW_TIMEOUT_MS = 10_000


class SegmentExists(Conflict):
    slug, title = "segment-exists", "There is a segment of this name"


class TooManySegments(Conflict):
    slug, title = "too-many-segments", "There are as many segments as there may be"


class PreviewTookTooLong(Unavailable):
    slug, title = "preview-took-too-long", "Looking at all customers took too long"


async def keep_segments(database: Database, settings: ScoringSettings) -> None:
    """The background job: whoever changed first, then the walk over all; for at most two seconds."""
    deadline = time.monotonic() + TURN_S
    while time.monotonic() < deadline and await segment_on(database, settings):
        pass


async def segment_on(database: Database, settings: ScoringSettings) -> bool:
    """Look at one chunk of customers in one transaction; returns whether there was one."""
    observed = settings.observed(utc_now())
    async with database.pool.acquire() as connection, connection.transaction():
        state = await store.read_state(connection)
        if state.as_of != observed:
            await store.begin_walk(connection, observed)
            return True
        ids = await due.take(connection, "segments", settings.chunk)
        if not ids and state.after is not None:
            ids = await due.next_customers(connection, state.after, settings.chunk)
            await store.advance(connection, ids[-1] if ids else None, state.version)
        if ids and (there := await store.hold(connection, ids)):
            await _segment(connection, there, observed)
        return bool(ids)


async def _segment(connection: asyncpg.Connection, customer_ids: Sequence[UUID], observed: date) -> None:
    await place(connection, customer_ids, observed)  # first: rules may speak of clusters
    rules = {i: parse(said) for i, said in (await store.read_rules(connection)).items()}
    pairs = await store.fitting(connection, customer_ids, rules, observed)
    await store.write_members(connection, customer_ids, pairs, observed)


async def create(connection: asyncpg.Connection, body: SegmentIn) -> Segment:
    """Make a segment; customers come into it in the background.

    Raises:
        BadExpression: says where.
        SegmentExists, TooManySegments
    """
    parse(body.expression)
    began_at = await store.begin_walk(connection)
    if await store.count_segments(connection) >= MOST_SEGMENTS:
        raise TooManySegments(f"At most {MOST_SEGMENTS}; take one away that is not needed any more.")
    made = await store.add(connection, body.name, body.description, body.expression, began_at)
    if made is None:
        raise SegmentExists("Choose another name, or change that segment.")
    return made


async def change(
    connection: asyncpg.Connection, segment_id: UUID, body: SegmentPatch, if_match: int
) -> Segment:
    """Change what a segment says; customers come in and leave in the background.

    Raises:
        BadExpression: says where.
        NotFound, PreconditionFailed
    """
    if body.expression is not None:
        parse(body.expression)
    before = await require(connection, segment_id)
    require_version(before.version, if_match)
    expression = body.expression or before.expression
    description = before.description if body.description is None else body.description
    at = before.changed_at if expression == before.expression else await store.begin_walk(connection)
    changed = await store.change(connection, before, description, expression, at)
    if changed is None:
        raise PreconditionFailed("Read it again, then send the change with its new ETag.")
    return changed


async def remove(connection: asyncpg.Connection, segment_id: UUID, if_match: int) -> None:
    """Take a segment away; its customers leave it in the background, and are told so.

    Raises:
        NotFound, PreconditionFailed
    """
    began_at = await store.begin_walk(connection)
    require_version((await require(connection, segment_id)).version, if_match)
    await store.remove(connection, segment_id, began_at)


async def require(connection: asyncpg.Connection, segment_id: UUID) -> Segment:
    """A segment that must be there.

    Raises:
        NotFound
    """
    found = await store.read_segment(connection, segment_id)
    if found is None:
        raise NotFound("There is no such segment.")
    return found


async def preview(connection: asyncpg.Connection, text: str, observed: date) -> PreviewOut:
    """Who fits an expression now, and how many fit each of its comparisons by itself.

    Raises:
        BadExpression: says where.
        PreviewTookTooLong
    """
    expression = parse(text)
    parts = list(dict.fromkeys(comparisons(expression)))
    await connection.execute(f"SET LOCAL statement_timeout = {PREVIEW_TIMEOUT_MS}")
    try:
        counted = await store.count(connection, expression, parts, observed, sample=SAMPLE)
    except asyncpg.QueryCanceledError as error:
        raise PreviewTookTooLong("Try again later, or save it: it is computed in the background.") from error
    return PreviewOut(
        expression=write(expression),
        count=counted.fitting,
        customers=counted.customers,
        sample=counted.sample,
        parts=[
            PartOut(comparison=write(part), meaning=part.field.meaning, customers=customers)
            for part, customers in zip(parts, counted.parts, strict=True)
        ],
    )
