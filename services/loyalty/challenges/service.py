"""Following challenges: what members just did moves their progress, and may bring them a badge and points.

Progress is the survivor's when customers were merged, as their deeds are; badges stay whose they were and are
counted for all who are one with them, so that nobody is given one twice.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.challenges import boards, rules, store
from services.loyalty.challenges.rules import Challenge
from services.loyalty.challenges.store import Touched
from services.loyalty.earning.amounts import expiry
from services.loyalty.earning.rules import Deed
from services.loyalty.earning.service import ACTOR, settle
from services.loyalty.earning.store import own_id
from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.store import Cause, Earning
from services.loyalty.settings import LoyaltySettings
from shared.contracts.loyalty import BadgeAwarded
from shared.database import raw
from shared.ids import new_id
from shared.messaging.outbox import emit_all


async def follow(
    session: AsyncSession,
    settings: LoyaltySettings,
    challenges: Sequence[Challenge],
    deeds: Iterable[Deed],
) -> None:
    """Count the windows in which these deeds were done. The members' accounts are locked already."""
    await _count(session, settings, challenges, _touched(challenges, deeds))


async def regroup(session: AsyncSession, settings: LoyaltySettings, customer_ids: Sequence[UUID]) -> None:
    """Count the windows of customers who were merged or separated anew. Their deeds have moved already."""
    connection = await raw(session)
    family = await ledger.families(connection, customer_ids)
    await boards.regroup(connection, family)
    running = await store.enabled(connection)
    by_id = {challenge.id: challenge for challenge in running}
    windows = await store.windows_of(connection, list(family), list(by_id))
    touched = [
        _window(survivor, by_id[row["challenge_id"]], row["starts_at"])
        for survivor in sorted(set(family.values()))
        for row in windows
    ]
    await _count(session, settings, running, touched)


async def _count(
    session: AsyncSession,
    settings: LoyaltySettings,
    challenges: Sequence[Challenge],
    touched: Sequence[Touched],
) -> None:
    if not touched:
        return
    connection = await raw(session)
    fresh = await store.count(connection, touched)
    if not fresh:
        return
    by_id = {challenge.id: challenge for challenge in challenges}
    awarded = await _award(connection, by_id, fresh)
    earnings = [
        _earning(by_id[row["challenge_id"]], row, settings)
        for row in awarded
        if by_id[row["challenge_id"]].points
    ]
    if earnings:
        await ledger.post_earnings(connection, earnings, ACTOR, settings.cost_per_point)
        await settle(connection, {earning.customer_id for earning in earnings})
    await emit_all(session, [_told(by_id[row["challenge_id"]], row) for row in awarded])


def _touched(challenges: Sequence[Challenge], deeds: Iterable[Deed]) -> list[Touched]:
    found = {
        (deed.customer_id, challenge.id, start): _window(deed.customer_id, challenge, start)
        for deed in deeds
        for challenge in challenges
        if rules.concerns(challenge, deed)
        for start in [rules.window(challenge.every, deed.occurred_at)[0]]
    }
    return list(found.values())


def _window(customer_id: UUID, challenge: Challenge, start: datetime) -> Touched:
    end = rules.window(challenge.every, start)[1]
    return Touched(
        customer_id,
        challenge,
        start,
        max(start, challenge.starts_at),
        end if challenge.ends_at is None else min(end, challenge.ends_at),
    )


async def _award(
    connection: asyncpg.Connection, by_id: dict[str, Challenge], fresh: Sequence[asyncpg.Record]
) -> list[asyncpg.Record]:
    """The badges that the windows which were just met complete, also of later windows in the row."""
    members = sorted({row["customer_id"] for row in fresh})
    wanted = [
        (row["customer_id"], challenge.id, start, challenge.badge)
        for row in await store.met(connection, members, sorted({row["challenge_id"] for row in fresh}))
        for challenge in [by_id[row["challenge_id"]]]
        for start in rules.badges(challenge, row["met"], row["given"])
    ]
    return await store.award(connection, wanted) if wanted else []


def _earning(challenge: Challenge, row: asyncpg.Record, settings: LoyaltySettings) -> Earning:
    at, customer_id = row["awarded_at"], own_id(row["customer_id"])
    return Earning(
        customer_id,
        challenge.points,
        f"challenge/{challenge.id}/{new_id()}",  # it happens once because the badge is given once
        Cause(
            f"Challenge {challenge.name}",
            ACTOR,
            at,
            f"challenge {challenge.id}",
            f"{challenge.points} for {challenge.target} × {challenge.kind}",
        ),
        expiry(at, challenge.points_days or settings.points_days),
    )


def _told(challenge: Challenge, row: asyncpg.Record) -> BadgeAwarded:
    return BadgeAwarded(
        customer_id=row["customer_id"],
        badge=challenge.badge,
        challenge_id=challenge.id,
        challenge=challenge.name,
        occurred_at=row["awarded_at"],
    )
