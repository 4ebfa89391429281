"""HTTP of the scores: a customer's scores, their explanation, and rebuilding the facts."""

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.scoring.facts import walks
from services.scoring.models.store import read_model
from services.scoring.section import build
from services.scoring.settings import ScoringSettings
from services.scoring.tables import CustomerFacts, CustomerScores
from services.scoring.value import store
from services.scoring.value.explain import explain
from services.scoring.value.lifetime import Terms
from services.scoring.value.rules import explain_unknown
from services.scoring.value.schemas import Explanation, RebuildOut, ScoresOut, Unknown
from shared.database import raw
from shared.problems import NotFound
from shared.web.dependencies import Pool, Session
from shared.web.security import scope

router = APIRouter(prefix="/v1", tags=["scoring"])


@router.get("/scores/{customer_id}", response_model=ScoresOut, dependencies=[scope("scores:read")])
async def read_scores(customer_id: UUID, pool: Pool) -> Response:
    """A customer's scores as they stand; null where not known, and why."""
    async with pool.acquire() as connection:
        body = (await build(connection, [customer_id])).get(customer_id)
    if body is None:
        raise NotFound("Nothing is known of this customer here.")
    return Response(f'{{"customer_id":"{customer_id}",{body[1:]}'.encode(), media_type="application/json")


@router.get("/scores/{customer_id}/explain", dependencies=[scope("scores:read")])
async def explain_scores(customer_id: UUID, session: Session, request: Request) -> Explanation:
    """Where a customer's scores come from, in words and numbers, and what is not known."""
    settings: ScoringSettings = request.app.state.settings
    facts = await session.get(CustomerFacts, customer_id)
    scores = await session.get(CustomerScores, customer_id)
    if facts is None or scores is None:
        raise NotFound("Nothing is known of this customer here.")
    explained = explain(
        facts,
        scores,
        cuts=await store.read_cuts(await raw(session), scores.as_of),
        purchases=await read_model(session, scores.purchase_kind, scores.purchase_model),
        spend=await read_model(session, "gamma_gamma", scores.spend_model),
        terms=Terms(scores.horizon_days, settings.discount_rate, settings.margin),
    )
    return Explanation(
        customer_id=customer_id,
        as_of=scores.as_of,
        scores=explained,
        unknown=[Unknown(**unknown) for unknown in explain_unknown(scores.unknown)],
    )


@router.post("/score-rebuilds", status_code=202, dependencies=[scope("scores:write")])
async def start_rebuild(session: Session, response: Response) -> RebuildOut:
    """Derive the facts of all customers anew from what happened, in the background; they come out equal.

    A rebuild that has not begun yet is joined.
    """
    connection = await raw(session)
    rebuild = await _progress(session, await walks.ask(connection, "rebuild", "rebuild"))
    response.headers["Location"] = f"/v1/score-rebuilds/{rebuild.id}"
    return rebuild


@router.get("/score-rebuilds/{rebuild_id}", dependencies=[scope("scores:read")])
async def read_rebuild(rebuild_id: UUID, session: Session) -> RebuildOut:
    """How far a rebuild has come."""
    return await _progress(session, rebuild_id)


async def _progress(session: Session, rebuild_id: UUID) -> RebuildOut:
    progress = await walks.show(await raw(session), rebuild_id, "rebuild")
    if progress is None:
        raise NotFound("There is no such rebuild.")
    return RebuildOut(
        id=progress.id,
        status="running" if progress.finished_at is None else "done",
        customers=progress.customers,
        total=progress.total,
        changed=progress.changed,
        created_at=progress.created_at,
        finished_at=progress.finished_at,
    )
