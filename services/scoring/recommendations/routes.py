"""HTTP of the recommendations: what to offer a customer, what was learnt, learning anew."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from services.scoring.recommendations import service, store
from services.scoring.recommendations.schemas import LearntModelOut, RecommendationsOut
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.problems import NotFound
from shared.web.dependencies import Pool
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

DEFAULT_COUNT = 10
MOST = 100

router = APIRouter(prefix="/v1", tags=["scoring"])


@router.post("/recommendations:fit", status_code=201, dependencies=[scope("scores:write")])
async def learn_recommendations(request: Request) -> LearntModelOut:
    """Learn from all purchases what goes with what; it serves at once.

    It is also learnt anew in the background when enough has changed. When there is nothing to learn from,
    the answer says why (409) and what was learnt before goes on serving.
    """
    settings: ScoringSettings = request.app.state.settings
    database = request.app.state.database
    async with request.app.state.fitting:
        version = await service.fit(database, settings, settings.observed(utc_now()))
    async with database.pool.acquire() as connection:
        for model in await store.list_models(connection, before=version + 1, limit=1):
            return LearntModelOut.of(model, serving=True)
    raise NotFound("The model was taken away meanwhile.")


@router.get("/recommendations/models", dependencies=[scope("scores:read")])
async def list_recommendation_models(
    pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[LearntModelOut]:
    """What was learnt, newest first, and how well it foretold what was bought."""
    before = decode_cursor(cursor, int)[0] if cursor else None
    async with pool.acquire() as connection:
        models = await store.list_models(connection, before=before, limit=limit + 1)
    return Page(
        items=[
            LearntModelOut.of(model, serving=before is None and n == 0)
            for n, model in enumerate(models[:limit])
        ],
        next_cursor=encode_cursor(models[limit - 1].version) if len(models) > limit else None,
    )


@router.get("/recommendations/{customer_id}", dependencies=[scope("scores:read")])
async def read_recommendations(
    customer_id: UUID,
    request: Request,
    pool: Pool,
    limit: Annotated[int, Query(ge=1, le=MOST, description="Most items.")] = DEFAULT_COUNT,
) -> RecommendationsOut:
    """What to offer a customer, best first, with reasons: nothing that they have bought, unless it is
    bought again and again, and nothing that is out of stock."""
    settings: ScoringSettings = request.app.state.settings
    async with pool.acquire() as connection:
        return await service.recommend(connection, settings, customer_id, settings.observed(utc_now()), limit)
