"""Referrals that end: by the clock, once the return period of the friend's first purchase is over."""

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from services.loyalty.challenges import store as challenges
from services.loyalty.challenges.service import follow
from services.loyalty.earning.rules import Deed
from services.loyalty.earning.service import count
from services.loyalty.earning.store import own_id
from services.loyalty.referrals import store
from services.loyalty.referrals.rules import ending
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.contracts.loyalty import ReferralCompleted
from shared.database import Database, raw
from shared.jobs import Job
from shared.messaging.outbox import emit_all

EVERY_S = 60.0
BATCH = 200  # referrals in one transaction
BATCHES = 100  # in one run; the rest waits for the next


async def complete(database: Database, settings: LoyaltySettings, now: datetime) -> int:
    """End the referrals that can end; returns how many."""
    ended = 0
    for _ in range(BATCHES):
        some = await _complete_some(database, settings, now)
        ended += some
        if some < BATCH:
            break
    return ended


async def _complete_some(database: Database, settings: LoyaltySettings, now: datetime) -> int:
    return_period = timedelta(days=settings.return_days)
    patience = timedelta(days=settings.referral_days)
    async with database.session() as session:
        connection = await raw(session)
        found = await store.ready(connection, now - return_period, now - patience, BATCH)
        told: list[ReferralCompleted] = []
        deeds: list[Deed] = []
        completed: list[tuple[asyncpg.Record, datetime]] = []
        for row in found:
            end = ending(
                row["joined_at"],
                row["bought_at"],
                (row["amount"] or 0) - row["back"],
                now,
                return_period=return_period,
                patience=patience,
            )
            if end == "completed":
                at = row["bought_at"] + return_period
                completed.append((row, at))
                deeds += _deeds(row, at, now)
            else:
                await store.close(connection, row["id"], end, row["purchase_id"], now, 0)
        fresh = await count(connection, settings, deeds)
        await follow(session, settings, await challenges.enabled(connection), fresh)
        for row, at in completed:
            points = await store.points(connection, row["id"])
            if await store.close(connection, row["id"], None, row["purchase_id"], at, points):
                told.append(_told(row, at, points))
        await emit_all(session, told)
    return len(found)


def _deeds(row: asyncpg.Record, at: datetime, now: datetime) -> list[Deed]:
    """What both did: the referrer brought a purchase of this worth, the friend came."""
    referral: UUID = own_id(row["id"])
    return [
        Deed(
            referral,
            "referral",
            own_id(row["referrer_id"]),
            at,
            now,
            "A friend's first purchase",
            amount=row["amount"] - row["back"],
            currency=row["currency"],
        ),
        Deed(referral, "welcome", own_id(row["referee_id"]), at, now, "Welcome of a friend"),
    ]


def _told(row: asyncpg.Record, at: datetime, points: int) -> ReferralCompleted:
    return ReferralCompleted(
        customer_id=row["referrer_id"],
        referral_id=row["id"],
        referee_id=row["referee_id"],
        purchase_id=row["purchase_id"],
        points=points,
        occurred_at=at,
    )


def referral_job(settings: LoyaltySettings) -> Job:
    """The endings by the clock."""

    async def run(database: Database) -> None:
        await complete(database, settings, utc_now())

    return Job("referrals", EVERY_S, run)
