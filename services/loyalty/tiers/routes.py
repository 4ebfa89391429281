"""Tiers, over HTTP, for whoever reads loyalty, and a member's way through them.

They are written in earning/tier_routes.py, which knows what rules they multiply.
"""

from datetime import UTC, datetime
from uuid import UUID

from fastapi import APIRouter, Request, Response

from services.loyalty.ledger import store as ledger
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tiers import service, store
from services.loyalty.tiers.rules import Ladder
from services.loyalty.tiers.schemas import TierChangeOut, TiersOut
from shared.web.dependencies import Pool
from shared.web.etag import set_etag
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

router = APIRouter(tags=["loyalty"])

READ = [scope("loyalty:read")]
NEWEST = (datetime.max.replace(tzinfo=UTC), 2**31 - 1)


@router.get("/v1/tiers", dependencies=READ)
async def read_tiers(request: Request, pool: Pool, response: Response) -> TiersOut:
    """The tiers in effect, with their ETag."""
    ladder = await service.ladder(pool, request.app.state.settings)
    set_etag(response, ladder.tables[-1].version)
    return told(ladder, request.app.state.settings)


@router.get("/v1/loyalty/{customer_id}/tier-changes", dependencies=READ)
async def read_changes(
    customer_id: UUID, pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[TierChangeOut]:
    """How a member got to their tier, newest first."""
    before, place = decode_cursor(cursor, _moment, _place) if cursor else NEWEST
    await ledger.account_of(pool, customer_id)
    survivors = await ledger.survivors(pool, [customer_id])
    rows = await store.history(pool, survivors[customer_id], before, place, limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=[
            TierChangeOut(
                at=row["at"],
                from_tier=row["from_tier"],
                to_tier=row["to_tier"],
                qualifying=row["qualifying"],
            )
            for row in rows[:limit]
        ],
        next_cursor=encode_cursor(last["at"].isoformat(), last["place"]) if last else None,
    )


def _moment(value: object) -> datetime:
    if not isinstance(value, str):
        raise TypeError("not a moment")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("not a moment of ours")
    return moment


def _place(value: object) -> int:
    if type(value) is not int or not 0 <= value <= NEWEST[1]:
        raise ValueError("not a place of ours")
    return value


def told(ladder: Ladder, settings: LoyaltySettings) -> TiersOut:
    """The newest version of the tiers, as it is told."""
    table = ladder.tables[-1]
    return TiersOut.model_validate(
        {
            "tiers": [store.write_tier(tier) for tier in table.tiers],
            "version": table.version,
            "since": table.since,
            "basis": ladder.basis,
            "currency": settings.currency if ladder.basis == "spend" else None,
            "period": ladder.period,
            "grace_days": settings.tier_grace_days,
        }
    )
