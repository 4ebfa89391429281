"""HTTP of the scores: a customer's scores, their explanation, and rebuilding the facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Query, Request
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from services.scoring.facts import walks
from services.scoring.facts.store import read_histories, read_spending
from services.scoring.models.store import kind_of, read_model
from services.scoring.section import build
from services.scoring.settings import ScoringSettings
from services.scoring.tables import CustomerFacts, CustomerScores, Model, Typical, ValueIndex
from services.scoring.value import store
from services.scoring.value.bootstrap import Drawing, run
from services.scoring.value.explain import (
    buyer_of,
    explain,
    explain_interval,
    explain_typical,
    explain_value_index,
    kept_share,
    unit_of,
)
from services.scoring.value.lifetime import Terms
from services.scoring.value.rules import explain_unknown
from services.scoring.value.schemas import Explained, Explanation, RebuildOut, ScoresOut, Unknown
from services.scoring.value.worth import Buyers
from services.scoring.value_index.rules import levels, measure_weights
from services.scoring.value_index.service import setup_of
from services.scoring.value_index.store import read_state
from shared.database import raw
from shared.problems import NotFound
from shared.web.dependencies import Pool, Session
from shared.web.security import scope

router = APIRouter(prefix="/v1", tags=["scoring"])

MOST_DRAWS = 500


@router.get("/scores/{customer_id}", response_model=ScoresOut, dependencies=[scope("scores:read")])
async def read_scores(customer_id: UUID, pool: Pool) -> Response:
    """A customer's scores as they stand; null where not known, and why."""
    async with pool.acquire() as connection:
        body = (await build(connection, [customer_id])).get(customer_id)
        typical = await store.read_typical(connection, customer_id)
    if body is None:
        raise NotFound("Nothing is known of this customer here.")
    beside = f'"customer_id":"{customer_id}","typical":{typical or "null"}'
    return Response(f"{{{beside},{body[1:]}".encode(), media_type="application/json")


@router.get("/scores/{customer_id}/explain", dependencies=[scope("scores:read")])
async def explain_scores(
    customer_id: UUID,
    request: Request,
    bootstrap: Annotated[
        int, Query(ge=0, le=MOST_DRAWS, description="Draws for a 95 % interval of the value; takes a while.")
    ] = 0,
) -> Explanation:
    """Where a customer's scores come from, in words and numbers, and what is not known.

    With `bootstrap` the models are fitted that often to customers drawn anew, one request at a time; when the
    customers do not determine the models, the answer says why (409).
    """
    settings: ScoringSettings = request.app.state.settings
    async with request.app.state.database.session() as session:
        answer, valued = await _explain(session, settings, customer_id)
    if bootstrap and valued is not None:
        # No connection is held meanwhile: it takes as long as many fits.
        async with request.app.state.fitting:
            async with request.app.state.database.session() as session:
                drawing = await _drawing(await raw(session), settings, valued, bootstrap)
            low, high = await run(drawing, timeout_s=settings.fit_timeout_s)
        share = kept_share(valued.facts, valued.spend, valued.terms)
        answer.scores.append(explain_interval(bootstrap, share * low, share * high))
    return answer


@dataclass(frozen=True, slots=True)
class _Valued:
    """A customer whose lifetime value is known, and what it comes from."""

    facts: CustomerFacts
    buyer: Buyers
    as_of: date
    purchases: Model
    spend: Model
    terms: Terms


async def _explain(
    session: AsyncSession, settings: ScoringSettings, customer_id: UUID
) -> tuple[Explanation, _Valued | None]:
    facts = await session.get(CustomerFacts, customer_id)
    scores = await session.get(CustomerScores, customer_id)
    if facts is None or scores is None:
        raise NotFound("Nothing is known of this customer here.")
    connection = await raw(session)
    purchases = await read_model(session, scores.purchase_kind, scores.purchase_model)
    spend = await read_model(session, "gamma_gamma", scores.spend_model)
    terms = Terms(scores.horizon_days, settings.discount_rate, settings.margin)
    cuts = await store.read_cuts(connection, scores.as_of)
    explained = explain(facts, scores, cuts=cuts, purchases=purchases, spend=spend, terms=terms)
    unknown = explain_unknown(scores.unknown)
    if scores.p_alive is None or scores.clv is None:
        explained += await _typical(session, scores, unknown)
    indexed = await session.get(ValueIndex, customer_id)
    if indexed is not None:
        setup = setup_of((await read_state(connection)).setup)
        explained.append(explain_value_index(indexed, measure_weights(levels(setup))))
    answer = Explanation(
        customer_id=customer_id,
        as_of=scores.as_of,
        scores=explained,
        unknown=[Unknown(**one) for one in unknown],
    )
    if purchases is None or spend is None or scores.clv is None:
        return answer, None
    buyer = buyer_of(facts, scores, purchases)
    return answer, _Valued(facts, buyer, scores.as_of, purchases, spend, terms) if buyer else None


async def _typical(
    session: AsyncSession, scores: CustomerScores, unknown: Sequence[Mapping[str, str]]
) -> list[Explained]:
    typical = await session.get(Typical, scores.segment) if scores.segment else None
    typical = typical or await session.get(Typical, "")
    if typical is None or typical.expected_purchases is None:
        return []
    why = next((one["why"] for one in unknown if one["what"] in ("p_alive", "clv")), "too little is known")
    return [explain_typical(typical, instead_of=why)]


async def _drawing(
    connection: asyncpg.Connection, settings: ScoringSettings, valued: _Valued, repeats: int
) -> Drawing:
    unit = unit_of(valued.purchases)
    return Drawing(
        kind_of(valued.purchases),
        unit,
        valued.buyer,
        await read_histories(connection, valued.as_of, unit, settings.fit_rows),
        await read_spending(connection, valued.facts.currency or "", settings.fit_rows),
        valued.terms,
        repeats,
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
