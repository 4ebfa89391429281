"""HTTP of churn: who is at risk, learning who leaves, and judging a table of one's own."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.scoring.churn import service, store, worker
from services.scoring.churn.schemas import (
    AtRisk,
    ChurnFitRequest,
    ChurnModelOut,
    ChurnReport,
    EvaluateQuery,
    ServeRequest,
)
from services.scoring.churn.table import Body
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.database import raw
from shared.problems import Malformed, NotFound
from shared.web.dependencies import Pool, Session
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

router = APIRouter(prefix="/v1", tags=["scoring"])

_TABLE = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["rows"],
                    "properties": {"rows": {"type": "array", "items": {"type": "object"}}},
                }
            },
        },
    }
}


@router.get("/churn", dependencies=[scope("scores:read")])
async def list_at_risk(
    pool: Pool,
    min_risk: Annotated[float, Query(ge=0, le=1, description="Only from this risk on.")] = 0.0,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AtRisk]:
    """Customers by their risk of leaving, highest first."""
    after = decode_cursor(cursor, float, UUID) if cursor else None
    async with pool.acquire() as connection:
        rows = await store.at_risk(connection, min_risk, after, limit + 1)
    page = [AtRisk(**row) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(items=page, next_cursor=encode_cursor(page[-1].risk, page[-1].customer_id) if more else None)


@router.post("/churn:fit", status_code=201, dependencies=[scope("scores:write")])
async def fit_churn(body: ChurnFitRequest, request: Request) -> ChurnModelOut:
    """Learn who leaves from the customers who have an attribute that says so.

    Learnt from are their facts and other attributes, of any type, missing ones too. A logistic regression is
    compared with gradient boosting by cross-validation. The classifier serves when it knows more than the
    share of leavers does and no less than the version before; everyone's risk is then computed anew in the
    background. When the customers determine none, the answer says why and what served goes on serving.
    """
    settings: ScoringSettings = request.app.state.settings
    async with request.app.state.fitting:
        version = await service.fit(request.app.state.database, settings, body, settings.observed(utc_now()))
    async with request.app.state.database.pool.acquire() as connection:
        model = await store.read_model(connection, version)
    if model is None:
        raise NotFound("The version was taken away meanwhile.")
    return ChurnModelOut(**model)


@router.post("/churn:serve", dependencies=[scope("scores:write")])
async def serve_churn(body: ServeRequest, session: Session) -> ChurnModelOut | None:
    """Let a version serve, whatever the rule said of it, or none; everyone's risk is computed anew."""
    connection = await raw(session)
    await service.serve(connection, body.version)
    model = await store.read_model(connection, body.version) if body.version else None
    return ChurnModelOut(**model) if model else None


@router.post(
    "/churn:evaluate",
    response_model=ChurnReport,
    openapi_extra=_TABLE,
    dependencies=[scope("scores:write")],
)
async def evaluate_churn(request: Request, asked: Annotated[EvaluateQuery, Query()]) -> Response:
    """Learn who leaves from a table of one's own and judge it; nothing is kept.

    The table is `text/csv` with a header, or JSON `{"rows": [{"column": value, …}, …]}`.
    """
    settings: ScoringSettings = request.app.state.settings
    task = worker.Task(await request.body(), _kind(request), asked.options(), asked.customers)
    async with request.app.state.fitting:
        learnt = await worker.run(task, timeout_s=settings.fit_timeout_s, pointer="query:")
    return Response(learnt.report, media_type="application/json")


@router.get("/churn/models", dependencies=[scope("scores:read")])
async def list_churn_models(
    pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ChurnModelOut]:
    """All versions of the classifier, newest first."""
    before = decode_cursor(cursor, int)[0] if cursor else None
    async with pool.acquire() as connection:
        rows = await store.list_models(connection, before, limit + 1)
    page = [ChurnModelOut(**row) for row in rows[:limit]]
    return Page(items=page, next_cursor=encode_cursor(page[-1].version) if len(rows) > limit else None)


def _kind(request: Request) -> Body:
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said == "text/csv":
        return "csv"
    if said in ("application/json", ""):
        return "json"
    raise Malformed("Send the table as text/csv or application/json.")
