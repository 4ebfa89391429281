"""Choosing the next action: of those to whom something happened, and of all when scores or rules change."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import orjson

from services.scoring import due
from services.scoring.actions import store
from services.scoring.actions.rules import (
    KINDS,
    NOTHING,
    Catalogue,
    Judged,
    Policy,
    Situations,
    explain,
    judge,
)
from services.scoring.actions.schemas import CandidateOut, NextActionsOut
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.database import Database
from shared.problems import NotFound

TURN_S = 2.0
SHOWN = 3  # actions of a customer in the view


async def keep_actions(database: Database, settings: ScoringSettings) -> None:
    """The background job: choose for whoever is due, and go on for at most two seconds."""
    deadline = time.monotonic() + TURN_S
    while time.monotonic() < deadline and await choose_on(database, settings):
        pass


async def choose_on(database: Database, settings: ScoringSettings) -> bool:
    """Choose for one chunk of customers in one transaction; returns whether there was one."""
    async with database.pool.acquire() as connection, connection.transaction():
        setup = await store.read_setup(connection)
        if setup.due:
            await store.begin_pass(connection, setup.version)
            return True
        ids = await due.take(connection, "actions", settings.chunk)
        if not ids and setup.after is not None:
            ids = await due.next_customers(connection, setup.after, settings.chunk)
            await store.advance(connection, ids[-1] if ids else None, setup.version)
        if ids:
            await _choose(connection, ids, settings, setup.catalogue)
        return bool(ids)


def policy_of(settings: ScoringSettings) -> Policy:
    """The rules about consent and contacts that the settings give."""
    return Policy(
        frozenset(settings.actions_without_consent),
        settings.actions_contact_limit,
        settings.actions_contact_days,
    )


async def read_situations(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    settings: ScoringSettings,
    catalogue: Catalogue,
) -> Situations:
    """What is known of these customers now."""
    now = utc_now()
    return await store.read_situations(
        connection,
        customer_ids,
        catalogue,
        policy_of(settings),
        observed=settings.observed(now),
        now=now,
        margin=settings.margin,
    )


async def candidates(
    connection: asyncpg.Connection, customer_id: UUID, settings: ScoringSettings
) -> NextActionsOut:
    """All that could be done next for one customer, the best first, as of now.

    Raises:
        NotFound: nothing is known of the customer.
    """
    catalogue = (await store.read_setup(connection)).catalogue
    situations = await read_situations(connection, [customer_id], settings, catalogue)
    if not situations.customer_ids:
        raise NotFound("Nothing is known of this customer here.")
    judged = judge(situations, catalogue, policy_of(settings))
    best, standing = int(judged.best()[0]), int(situations.standing[0])
    nothing = CandidateOut(
        action="nothing",
        eligible=True,
        gain=0,
        cost=0,
        cost_currency=None,
        value_at_stake=None,
        uplift=None,
        channel=None,
        offer=None,
        reasons=["costs nothing and brings nothing"],
    )
    found = [candidate(judged, 0, j) for j in range(len(KINDS))]
    return NextActionsOut(
        customer_id=customer_id,
        currency=situations.currency[0],
        best="nothing" if best == NOTHING else KINDS[best],
        recommended=None if standing == NOTHING else KINDS[standing],
        candidates=sorted([nothing, *found], key=lambda one: (not one.eligible, -one.gain)),
    )


def candidate(judged: Judged, n: int, j: int) -> CandidateOut:
    """One action for one customer, with its reasons."""
    action = judged.catalogue[KINDS[j]]
    stake = float(judged.stakes[n, j])
    return CandidateOut(
        action=KINDS[j],
        eligible=bool(judged.allowed[n, j]),
        gain=round(float(judged.gains[n, j]), 2),
        cost=action.cost,
        cost_currency=action.currency,
        value_at_stake=round(stake, 2) if stake > 0 else None,
        uplift=action.uplift,
        channel=action.channel,
        offer=action.offer,
        reasons=explain(judged, n, j),
    )


async def _choose(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    settings: ScoringSettings,
    catalogue: Catalogue,
) -> None:
    await store.lock(connection, customer_ids)
    situations = await read_situations(connection, customer_ids, settings, catalogue)
    shown, recommended = await asyncio.to_thread(_best, situations, settings, catalogue)
    await store.write_next(connection, situations.customer_ids, shown)
    if recommended:
        now, most = utc_now(), settings.actions_per_day
        room = most - await store.count_recommended(connection, now - timedelta(days=1), most)
        first = sorted(recommended, key=lambda one: -one.gain)[:room]
        expires_at = now + timedelta(days=settings.actions_expire_days)
        await store.recommend(connection, first, now=now, expires_at=expires_at)


def _best(
    situations: Situations, settings: ScoringSettings, catalogue: Catalogue
) -> tuple[list[str | None], list[store.Recommendation]]:
    """What is shown of each customer, and what is newly recommended."""
    judged = judge(situations, catalogue, policy_of(settings))
    shown: list[str | None] = []
    recommended: list[store.Recommendation] = []
    for n, best in enumerate(judged.best().tolist()):
        if best == NOTHING:
            shown.append(None)
            continue
        ranked = [candidate(judged, n, j) for j in judged.ranked(n)[:SHOWN]]
        shown.append(orjson.dumps([_shown(one) for one in ranked]).decode())
        if best != situations.standing[n] and judged.gains[n, best] >= settings.actions_minimum_gain:
            recommended.append(
                store.Recommendation(
                    situations.customer_ids[n],
                    KINDS[best],
                    catalogue[KINDS[best]].channel,
                    round(float(judged.gains[n, best])),
                    catalogue[KINDS[best]].offer,
                    ranked[0].reasons,
                )
            )
    return shown, recommended


def _shown(one: CandidateOut) -> dict[str, object]:
    return {
        "action": one.action,
        "gain": round(one.gain),
        "channel": one.channel,
        "offer": one.offer,
        "reasons": one.reasons,
    }
