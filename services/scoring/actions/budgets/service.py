"""Making plans for a budget: read what each action would bring, leave the hold-out arm out, solve, write.

One plan at a time is made, by a background job, so once across replicas; when the process dies, the plan is
begun anew by whoever runs the job next.
"""

import asyncio
import time
from itertools import islice
from uuid import UUID

import asyncpg
import numpy as np

from services.scoring.actions.budgets import store, worker
from services.scoring.actions.budgets.outcome import Draft, Gathered, outcome
from services.scoring.actions.budgets.rules import PRIORITIES, customer_weights, held_out, measures
from services.scoring.actions.budgets.schemas import AllocateIn, Outcome
from services.scoring.actions.programme import NOTHING, Plan, Programme
from services.scoring.actions.rules import (
    KINDS,
    Catalogue,
    Ints,
    Obstacle,
    Situations,
    judge,
    obstacle_words,
    with_costs,
)
from services.scoring.actions.service import policy_of, read_situations
from services.scoring.actions.store import read_setup
from services.scoring.due import BEFORE_ALL
from services.scoring.settings import ScoringSettings
from shared.database import Database, is_away
from shared.problems import Problem
from shared.telemetry import logger, safe_error

POLL_S = 0.5
WRITE_ROWS = 1_000  # assignments in one COPY: others wait for the customers' rows no longer than that


class Cancelled(Exception):
    """The plan was cancelled while it was made."""


async def make_next(database: Database, settings: ScoringSettings) -> None:
    """The background job: make the plan that waits longest, or forget old ones when there is none.

    What is wrong with a plan is written to it; what may pass is tried again a few times.
    """
    run = await store.begin_next(database.pool)
    if run is None:
        await store.forget_old(database.pool, settings.budget_kept_days)
        return
    try:
        if run.attempt > settings.budget_attempts:
            raise Problem(f"It was begun {settings.budget_attempts} times and never came to its end.")
        if not await store.finish(database.pool, run, await _planned(database, settings, run)):
            raise Cancelled
    except Cancelled:
        await store.forget_assignments(database.pool, run.id)
    except (asyncpg.ForeignKeyViolationError, asyncpg.UniqueViolationError):
        pass  # a customer was erased or merged meanwhile: the next attempt reads who is left
    except Exception as error:
        if is_away(error):
            raise
        known = isinstance(error, Problem)
        if not known:
            logger(service="scoring", part="budgets").error("plan failed", **safe_error(error))
        await store.fail(database.pool, run.id, str(error) if known else Problem.title)
        await store.forget_assignments(database.pool, run.id)


async def _planned(database: Database, settings: ScoringSettings, run: store.Run) -> Outcome:
    began = time.monotonic()
    gathered = await _gather(database, settings, run)
    seed = run.request.seed or str(run.id)
    draft = await asyncio.to_thread(_drafted, gathered, run.request, seed)
    read = time.monotonic()
    plan = await _solve(database, settings, run, _programme(draft))
    chosen = np.full(len(draft.held), NOTHING)
    chosen[~draft.held] = plan.chosen
    solved = time.monotonic()
    await _write(database, run, draft, gathered.customer_ids, chosen)
    written = time.monotonic()
    seconds = {"reading": read - began, "solving": solved - read, "writing": written - solved}
    return outcome(draft, gathered, chosen, plan, {part: round(s, 2) for part, s in seconds.items()})


async def _gather(database: Database, settings: ScoringSettings, run: store.Run) -> Gathered:
    """Read what each planned action would bring each customer, a chunk at a time."""
    gathered, after, request = Gathered(), BEFORE_ALL, run.request
    async with database.pool.acquire() as connection:
        catalogue = with_costs(
            (await read_setup(connection)).catalogue,
            request.currency,
            {action.kind: action.cost or 0 for action in request.actions},
        )
        while ids := await store.next_customers(connection, after, request, settings.chunk):
            situations = await read_situations(connection, ids, settings, catalogue)
            await asyncio.to_thread(_add, gathered, situations, settings, catalogue, request)
            after = ids[-1]
            await _still(database, run, f"reading customers: {gathered.considered}")
        gathered.other_currency = await store.count_other_currency(connection, request)
    return gathered


def _add(
    gathered: Gathered,
    situations: Situations,
    settings: ScoringSettings,
    catalogue: Catalogue,
    request: AllocateIn,
) -> None:
    judged = judge(situations, catalogue, policy_of(settings))
    planned = [KINDS.index(action.kind) for action in request.actions]
    allowed = judged.allowed[:, planned] & (judged.gains[:, planned] > 0)
    gathered.considered += len(situations.customer_ids)
    for j in planned:
        for obstacle in Obstacle:
            if count := int((judged.obstacles[:, j] & obstacle > 0).sum()):
                gathered.obstacles[KINDS[j], obstacle_words(judged, obstacle, j)] += count
        dear = int((judged.allowed[:, j] & (judged.gains[:, j] <= 0)).sum())
        if dear:
            gathered.obstacles[KINDS[j], "would cost more than it is expected to bring"] += dear
    someone = allowed.any(axis=1)
    gathered.customer_ids += [situations.customer_ids[n].bytes for n in np.flatnonzero(someone)]
    gathered.gains.append(np.where(allowed, judged.gains[:, planned], 0)[someone])
    gathered.measured.append(measures(situations)[someone])


def _drafted(gathered: Gathered, request: AllocateIn, seed: str) -> Draft:
    weights = request.priorities.resolved() if request.priorities else {}
    gains = np.concatenate([*gathered.gains, np.empty((0, len(request.actions)))])
    measured = np.concatenate([*gathered.measured, np.empty((0, len(PRIORITIES)))])
    weighted = gains * customer_weights(measured, weights)[:, None]
    held = held_out(seed, gathered.customer_ids, request.hold_out_share)
    return Draft(request, seed, weights, held, gains, weighted)


def _programme(draft: Draft) -> Programme:
    """The programme of all who are not held out. Without a capacity there is room for everybody."""
    actions, n = draft.request.actions, len(draft.held)
    return Programme(
        draft.weighted[~draft.held],
        np.array([action.cost or 0 for action in actions], dtype=np.float64),
        np.array([n if action.capacity is None else action.capacity for action in actions], dtype=np.float64),
        float(draft.request.budget),
    )


async def _solve(database: Database, settings: ScoringSettings, run: store.Run, programme: Programme) -> Plan:
    """Solve in a process of its own, which ends when the plan is cancelled."""
    progress = f"solving for {len(programme.gains)} customers"
    await _still(database, run, progress)
    solving = asyncio.create_task(worker.run(programme, timeout_s=settings.budget_timeout_s))
    try:
        while not (await asyncio.wait([solving], timeout=POLL_S))[0]:
            await _still(database, run, progress)
        return solving.result()
    finally:
        solving.cancel()
        await asyncio.wait([solving])


async def _write(
    database: Database, run: store.Run, draft: Draft, customer_ids: list[bytes], chosen: Ints
) -> None:
    actions = draft.request.actions
    rows = (
        (UUID(bytes=customer), "hold_out" if held else "treated", None, 0.0, 0)
        if j == NOTHING
        else (
            UUID(bytes=customer),
            "treated",
            actions[j].kind,
            round(float(gains[j]), 2),
            actions[j].cost or 0,
        )
        for customer, held, j, gains in zip(
            customer_ids, draft.held, chosen.tolist(), draft.gains, strict=True
        )
    )
    written = 0
    while some := list(islice(rows, WRITE_ROWS)):
        await store.write_assignments(database.pool, run.id, some)
        written += len(some)
        await _still(database, run, f"writing assignments: {written} of {len(customer_ids)}")


async def _still(database: Database, run: store.Run, progress: str) -> None:
    if not await store.tell(database.pool, run, progress):
        raise Cancelled
