"""Following challenges: what members just did moves their progress, and may bring them a badge and points."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.challenges import rules, store
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
from shared.messaging.outbox import emit_all


async def follow(
    session: AsyncSession,
    settings: LoyaltySettings,
    challenges: Sequence[Challenge],
    deeds: Iterable[Deed],
) -> None:
    """Count the windows in which these deeds were done. The members' accounts are locked already."""
    touched = _touched(challenges, deeds)
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
    found: dict[tuple[UUID, str, object], Touched] = {}
    for deed in deeds:
        for challenge in challenges:
            if rules.concerns(challenge, deed):
                start, end = rules.window(challenge.every, deed.occurred_at)
                found[deed.customer_id, challenge.id, start] = Touched(
                    deed.customer_id,
                    challenge,
                    start,
                    max(start, challenge.starts_at),
                    end if challenge.ends_at is None else min(end, challenge.ends_at),
                )
    return list(found.values())


async def _award(
    connection: asyncpg.Connection, by_id: dict[str, Challenge], fresh: Sequence[asyncpg.Record]
) -> list[asyncpg.Record]:
    """The badges that the windows which were just met complete, also of later windows in the row."""
    members = sorted({row["customer_id"] for row in fresh})
    wanted = [
        (row["customer_id"], challenge.id, start, challenge.badge)
        for row in await store.met(connection, members, sorted({row["challenge_id"] for row in fresh}))
        for challenge in [by_id[row["challenge_id"]]]
        for start in rules.badges(challenge, row["met"])
    ]
    return await store.award(connection, wanted) if wanted else []


def _earning(challenge: Challenge, row: asyncpg.Record, settings: LoyaltySettings) -> Earning:
    at, customer_id = row["awarded_at"], own_id(row["customer_id"])
    return Earning(
        customer_id,
        challenge.points,
        f"challenge/{challenge.id}/{customer_id}/{row['starts_at'].date()}",
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
