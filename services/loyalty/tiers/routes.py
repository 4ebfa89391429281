"""Tiers, over HTTP: read by whoever reads loyalty, written by operators, and a member's way through them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response

from services.loyalty.ledger import store as ledger
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tiers import rules, service, store
from services.loyalty.tiers.rules import Ladder, TierTable
from services.loyalty.tiers.schemas import TierChangeOut, TiersIn, TiersOut
from shared.clock import utc_now
from shared.database import raw
from shared.problems import PreconditionFailed
from shared.web.dependencies import Pool, Session
from shared.web.etag import IfMatch, require_version, set_etag
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import Caller, scope

router = APIRouter(tags=["loyalty"])

READ = [scope("loyalty:read")]
Operator = Annotated[Caller, scope("admin")]
NEWEST = (datetime.max.replace(tzinfo=UTC), 2**31 - 1)


@router.get("/v1/tiers", dependencies=READ)
async def read_tiers(request: Request, pool: Pool, response: Response) -> TiersOut:
    """The tiers in effect, with their ETag."""
    ladder = await service.ladder(pool, request.app.state.settings)
    set_etag(response, ladder.tables[-1].version)
    return _out(ladder, request.app.state.settings)


@router.put("/v1/tiers")
async def change_tiers(
    *,
    body: TiersIn,
    request: Request,
    session: Session,
    response: Response,
    caller: Operator,
    if_match: IfMatch,
) -> TiersOut:
    """Change the tiers from now on. Who has reached a tier rises with the next review, within the hour."""
    settings: LoyaltySettings = request.app.state.settings
    connection = await raw(session)
    before = await service.ladder(connection, settings)
    current = before.tables[-1]
    require_version(current.version, if_match)
    tiers = tuple(store.read_tier(tier.model_dump(mode="json", exclude_defaults=True)) for tier in body.tiers)
    table = TierTable(current.version + 1, utc_now(), tiers)
    ladder = replace(before, tables=(table,))
    if not await store.add_table(connection, table, caller.id, rules.shown(rules.begin(ladder), ladder)):
        raise PreconditionFailed("Read them again, then send the change with the new ETag.")
    set_etag(response, table.version)
    return _out(ladder, settings)


@router.get("/v1/loyalty/{customer_id}/tier-changes", dependencies=READ)
async def read_changes(
    customer_id: UUID, pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[TierChangeOut]:
    """How a member got to their tier, newest first."""
    before, place = decode_cursor(cursor, _moment, _place) if cursor else NEWEST
    await ledger.account_of(pool, customer_id)
    rows = await store.history(pool, customer_id, before, place, limit + 1)
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


def _out(ladder: Ladder, settings: LoyaltySettings) -> TiersOut:
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
