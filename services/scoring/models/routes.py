"""HTTP of the models: fit one, list versions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from services.scoring.models import service, store
from services.scoring.models.catalogue import KINDS, ModelKind
from services.scoring.models.schemas import FitRequest, ModelOut, PromoteRequest, RollbackRequest
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.problems import NotFound
from shared.web.dependencies import Session
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

router = APIRouter(prefix="/v1/models", tags=["scoring"])


@router.post("/{kind}:fit", status_code=201, dependencies=[scope("scores:write")])
async def fit_model(kind: str, request: Request, body: FitRequest | None = None) -> ModelOut:
    """Fit a model to all customers as of the observation date.

    It serves when it predicts a hold-out as well as the model that serves does, and everyone is scored anew
    in the background. When the customers do not determine the model, the answer says why (409) and the
    model before goes on serving. Models of purchases compete for one place, those of spend for one in each
    currency.
    """
    settings: ScoringSettings = request.app.state.settings
    known = _kind(kind)
    async with request.app.state.fitting:
        version = await service.fit(
            request.app.state.database,
            settings,
            known,
            body or FitRequest(),
            settings.observed(utc_now()),
        )
    async with request.app.state.database.session() as session:
        model = await store.read_model(session, known, version)
    if model is None:
        raise NotFound("The model was taken away meanwhile.")
    return ModelOut.of(model)


@router.post("/{kind}:promote", dependencies=[scope("scores:write")])
async def promote_model(kind: str, body: PromoteRequest, session: Session) -> ModelOut:
    """Let a version serve, whatever the hold-out said of it; everyone is scored anew in the background."""
    return ModelOut.of(await service.promote(session, _kind(kind), body.version))


@router.post("/{kind}:rollback", dependencies=[scope("scores:write")])
async def roll_back_model(kind: str, session: Session, body: RollbackRequest | None = None) -> ModelOut:
    """Let the model serve again that the present one of this kind replaced; answers with it."""
    currency = body.currency if body else None
    return ModelOut.of(await service.roll_back(session, _kind(kind), currency))


@router.get("", dependencies=[scope("scores:read")])
async def list_models(
    session: Session,
    kind: Annotated[ModelKind | None, Query(description="Only versions of this kind.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ModelOut]:
    """All versions, newest first."""
    before = decode_cursor(cursor, UUID)[0] if cursor else None
    models = await store.list_models(session, kind=kind, before=before, limit=limit + 1)
    page = models[:limit]
    more = len(models) > limit
    return Page(
        items=[ModelOut.of(model) for model in page],
        next_cursor=encode_cursor(page[-1].id) if more else None,
    )


def _kind(name: str) -> ModelKind:
    if name not in KINDS:
        raise NotFound(f"There is no such model; there are {', '.join(KINDS)}.")
    return KINDS[name]
