"""Changing the tiers, over HTTP; here, because what rules give is multiplied by them."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Request, Response

from services.loyalty.earning.rule_routes import refuse_unlimited
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tiers import rules, service, store
from services.loyalty.tiers.routes import told
from services.loyalty.tiers.rules import TierTable
from services.loyalty.tiers.schemas import TiersIn, TiersOut
from shared.clock import utc_now
from shared.database import raw
from shared.problems import PreconditionFailed
from shared.web.dependencies import Session
from shared.web.etag import IfMatch, require_version, set_etag
from shared.web.security import Caller, scope

router = APIRouter(tags=["loyalty"])

Operator = Annotated[Caller, scope("admin")]


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
    await refuse_unlimited(connection, settings, table)
    ladder = replace(before, tables=(table,))
    if not await store.add_table(connection, table, caller.id, rules.shown(rules.begin(ladder), ladder)):
        raise PreconditionFailed("Read them again, then send the change with the new ETag.")
    set_etag(response, table.version)
    return told(ladder, settings)
