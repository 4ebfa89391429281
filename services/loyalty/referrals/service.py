"""Referrals that end: by the clock, once the return period of the friend's first purchase is over.

When more becomes known of the friend, the referral is looked at again and ends as it would have ended; the
ledger makes up for what was given too little or too much.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from services.loyalty.challenges import store as challenges
from services.loyalty.challenges.service import follow
from services.loyalty.earning.rules import Deed
from services.loyalty.earning.service import recount
from services.loyalty.earning.store import own_id
from services.loyalty.ledger import store as ledger
from services.loyalty.referrals import store
from services.loyalty.referrals.rules import Ending, Facts, Patience, ending, next_look
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.contracts.handles import Refund
from shared.contracts.loyalty import ReferralCompleted
from shared.database import Database, raw
from shared.jobs import Job
from shared.messaging.outbox import emit_all

EVERY_S = 60.0
BATCH = 200  # referrals in one transaction
BATCHES = 100  # in one run; the rest waits for the next


async def complete(database: Database, settings: LoyaltySettings, now: datetime) -> int:
    """Look at the referrals that are due; returns how many ended, or end otherwise than before."""
    ended = 0
    for _ in range(BATCHES):
        seen, some = await _complete_some(database, settings, now)
        ended += some
        if seen < BATCH:
            break
    return ended


async def wake(
    connection: asyncpg.Connection, deeds: Iterable[Deed], refunds: Iterable[tuple[Refund, UUID]]
) -> None:
    """Have referrals looked at whose friends bought or gave back, however late we hear of it."""
    told = [(deed.customer_id, deed.occurred_at) for deed in deeds if deed.kind == "purchase"]
    told += [(refund.customer_id, refund.occurred_at) for refund, _ in refunds]
    if not told:
        return
    survivors = await ledger.families(connection, {customer for customer, _ in told})
    first: dict[UUID, datetime] = {}
    for customer, at in told:
        survivor = survivors[customer]
        first[survivor] = min(at, first.get(survivor, at))
    await store.wake(connection, {each: first[survivor] for each, survivor in survivors.items()})


async def regroup(connection: asyncpg.Connection, customer_ids: Iterable[UUID]) -> None:
    """Have all referrals looked at of customers who were merged or separated."""
    await store.wake_all(connection, await ledger.families(connection, customer_ids))


async def _complete_some(database: Database, settings: LoyaltySettings, now: datetime) -> tuple[int, int]:
    patience = Patience(timedelta(days=settings.referral_days), timedelta(days=settings.return_days))
    async with database.session() as session:
        connection = await raw(session)
        found = await store.due(connection, now, patience.to_return, BATCH)
        seen = [_look(row, now, patience) for row in found]
        completed = [each for each in seen if each.end == "completed"]
        fresh = await recount(
            connection,
            settings,
            [deed for each in completed for deed in _deeds(each, now)],
            withdrawn=[each.id for each in seen if each.end != "completed"],
        )
        await follow(session, settings, await challenges.enabled(connection), fresh)
        ended = [each for each in seen if await _keep(connection, each, now)]
        anew = [each for each in completed if each in ended and each.row["status"] != "completed"]
        await emit_all(session, [_told(each, await store.points(connection, each.id)) for each in anew])
    return len(found), len(ended)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A referral that was looked at and what becomes of it; `at` is when it is completed, or can end."""

    id: UUID
    row: asyncpg.Record
    facts: Facts
    end: Ending
    at: datetime


def _look(row: asyncpg.Record, now: datetime, patience: Patience) -> _Seen:
    kept = (row["amount"] or 0) - row["back"]
    facts = Facts(row["joined_at"], row["alone"], row["bought_at"], kept)
    return _Seen(own_id(row["id"]), row, facts, ending(facts, now, patience), next_look(facts, patience))


def _deeds(seen: _Seen, now: datetime) -> list[Deed]:
    """What both did: the referrer brought a purchase of this worth, the friend came."""
    return [
        Deed(
            seen.id,
            "referral",
            own_id(seen.row["referrer_id"]),
            seen.at,
            now,
            "A friend's first purchase",
            amount=seen.facts.kept,
            currency=seen.row["currency"],
        ),
        Deed(seen.id, "welcome", own_id(seen.row["referee_id"]), seen.at, now, "Welcome of a friend"),
    ]


async def _keep(connection: asyncpg.Connection, seen: _Seen, now: datetime) -> bool:
    """Write what became of a referral; whether it ended."""
    match seen.end:
        case "waits":
            await store.wait(connection, seen.row, seen.at)
            return False
        case "completed":
            points = await store.points(connection, seen.id)
            return await store.end(
                connection, seen.row, "completed", None, seen.row["purchase_id"], seen.at, points
            )
        case reason:
            return await store.end(connection, seen.row, "void", reason, seen.row["purchase_id"], now, 0)


def _told(seen: _Seen, points: int) -> ReferralCompleted:
    return ReferralCompleted(
        customer_id=seen.row["referrer_id"],
        referral_id=seen.id,
        referee_id=seen.row["referee_id"],
        purchase_id=seen.row["purchase_id"],
        points=points,
        occurred_at=seen.at,
    )


def referral_job(settings: LoyaltySettings) -> Job:
    """The endings by the clock."""

    async def run(database: Database) -> None:
        await complete(database, settings, utc_now())

    return Job("referrals", EVERY_S, run)
