"""HTTP of plans for a budget."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Request
from starlette.responses import Response, StreamingResponse

from services.scoring.actions.budgets import store
from services.scoring.actions.budgets.schemas import AllocateIn, AssignmentOut, PlanOut
from services.scoring.actions.rules import Catalogue
from services.scoring.actions.store import read_setup
from services.scoring.settings import ScoringSettings
from shared.database import raw
from shared.problems import Conflict, FieldError, Invalid, NotFound, TooManyRequests
from shared.web.dependencies import Pool, Session
from shared.web.idempotency import IdempotencyKey, idempotent
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

router = APIRouter(prefix="/v1/budgets", tags=["scoring"])

CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


class NotDone(Conflict):
    slug, title = "plan-not-done", "The plan is not done"


@router.post(":allocate", status_code=202, response_model=PlanOut, dependencies=[scope("scores:write")])
async def allocate_budget(
    body: AllocateIn, session: Session, request: Request, key: IdempotencyKey
) -> Response:
    """Plan which customers get which action within a budget and capacities; made in the background.

    Gains are those of `GET /v1/actions/{customer_id}`. The hold-out arm is drawn by chance before, and gets
    nothing. Comparisons that contradict one another are refused (409).
    """
    settings: ScoringSettings = request.app.state.settings

    async def add() -> tuple[int, PlanOut, dict[str, str]]:
        connection = await raw(session)
        if body.priorities:
            body.priorities.resolved()
        asked = _with_costs(body, (await read_setup(connection)).catalogue)
        plan = await store.add_plan(connection, asked, settings.budget_waiting)
        if plan is None:
            raise TooManyRequests("Too many plans wait already; let one finish.", retry_after_s=10)
        return 202, plan, {"Location": f"/v1/budgets/{plan.id}"}

    return await idempotent(session, request, key, body, add)


@router.get("", dependencies=[scope("scores:read")])
async def list_budgets(pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Page[PlanOut]:
    """All plans, the newest first."""
    before = decode_cursor(cursor, UUID)[0] if cursor else None
    async with pool.acquire() as connection:
        plans = await store.list_plans(connection, before, limit + 1)
    more = len(plans) > limit
    return Page(items=plans[:limit], next_cursor=encode_cursor(plans[limit - 1].id) if more else None)


@router.get("/{plan_id}", dependencies=[scope("scores:read")])
async def read_budget(plan_id: UUID, pool: Pool) -> PlanOut:
    """How far a plan has come, and its outcome once it is done."""
    return await _plan(pool, plan_id)


@router.delete("/{plan_id}", status_code=204, dependencies=[scope("scores:write")])
async def cancel_budget(plan_id: UUID, pool: Pool) -> None:
    """Cancel a plan that is being made."""
    async with pool.acquire() as connection:
        cancelled = await store.cancel(connection, plan_id)
    if not cancelled:
        plan = await _plan(pool, plan_id)
        raise Conflict(f"The plan is {plan.status}; there is nothing to cancel.")


@router.get(
    "/{plan_id}/assignments",
    response_model=Page[AssignmentOut],
    responses=CSV,
    dependencies=[scope("scores:read")],
)
async def read_assignments(
    *,
    plan_id: UUID,
    pool: Pool,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Any:
    """Who gets what by a plan that is done, and who is held out; all of them with `Accept: text/csv`."""
    plan = await _plan(pool, plan_id)
    if plan.status != "done":
        raise NotDone(f"The plan is {plan.status}.")
    if "text/csv" in accept:
        headers = {"Content-Disposition": f'attachment; filename="budget-{plan_id}.csv"'}
        return StreamingResponse(store.as_csv(pool, plan_id), media_type="text/csv", headers=headers)
    after = decode_cursor(cursor, UUID)[0] if cursor else None
    found = await store.read_assignments(pool, plan_id, after, limit + 1)
    more = len(found) > limit
    last = encode_cursor(found[limit - 1].customer_id) if more else None
    return Page[AssignmentOut](items=found[:limit], next_cursor=last)


def _with_costs(body: AllocateIn, catalogue: Catalogue) -> AllocateIn:
    """The same with every cost filled in, so that a later change of the catalogue does not change the plan.

    Raises:
        Invalid: the catalogue's cost is in another currency.
    """
    actions = []
    for n, action in enumerate(body.actions):
        listed = catalogue[action.kind]
        if action.cost is None and listed.cost > 0 and listed.currency != body.currency:
            detail = (
                f"{action.kind} costs {listed.currency} in the catalogue; give its cost in {body.currency}"
            )
            raise Invalid(errors=[FieldError(f"/actions/{n}/cost", detail)])
        cost = listed.cost if action.cost is None else action.cost
        actions.append(action.model_copy(update={"cost": cost}))
    return body.model_copy(update={"actions": actions})


async def _plan(pool: Pool, plan_id: UUID) -> PlanOut:
    async with pool.acquire() as connection:
        plan = await store.read_plan(connection, plan_id)
    if plan is None:
        raise NotFound("There is no such plan.")
    return plan
