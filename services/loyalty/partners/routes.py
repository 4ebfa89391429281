"""The coalition over HTTP: partners for operators; issuing, accepting and clearing for partners themselves.

A partner's key needs no scope: what it may do is act for the partners that name it, and nothing else.
"""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from services.loyalty.ledger.schemas import Money
from services.loyalty.partners import rules, service, store
from services.loyalty.partners.rules import Side
from services.loyalty.partners.schemas import (
    AcceptIn,
    ClearingOut,
    ExchangeOut,
    IssueIn,
    PartnerIn,
    PartnerOut,
    ReturnIn,
    SideOut,
)
from services.loyalty.partners.service import Outcome
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tables import LoyaltyPartner
from shared.clock import utc_now
from shared.ids import new_id
from shared.problems import Conflict, FieldError, Invalid
from shared.web.dependencies import Pool, Session
from shared.web.etag import IfMatch, require_version, set_etag, tag
from shared.web.idempotency import IdempotencyKey, idempotent
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import Caller, scope

router = APIRouter(prefix="/v1/loyalty-partners", tags=["loyalty partners"])

ADMIN = [scope("admin")]
Acting = Annotated[Caller, scope()]
EXCHANGED: dict[str, Any] = {"status_code": 201, "response_model": ExchangeOut}
Month = Annotated[str, Query(pattern=r"^20\d\d-(0[1-9]|1[0-2])$", description="Such as 2026-03, in UTC.")]


class NameTaken(Conflict):
    slug, title = "partner-name-taken", "There is a partner with this name"


@router.get("", dependencies=ADMIN)
async def list_partners(
    session: Session, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[PartnerOut]:
    """The coalition's partners."""
    after = decode_cursor(cursor, UUID)[0] if cursor else None
    found = await store.partners(session, after=after, limit=limit + 1)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[PartnerOut.model_validate(each) for each in found[:limit]], next_cursor=more)


@router.post("", status_code=201, response_model=PartnerOut, dependencies=ADMIN)
async def add_partner(body: PartnerIn, session: Session, request: Request, key: IdempotencyKey) -> Response:
    """Take a partner into the coalition."""

    async def run() -> tuple[int, PartnerOut, dict[str, str]]:
        partner = LoyaltyPartner(id=new_id(), created_at=utc_now(), **_columns(body))
        session.add(partner)
        await _flush(session)
        headers = {"Location": f"/v1/loyalty-partners/{partner.id}", "ETag": tag(partner.version)}
        return 201, PartnerOut.model_validate(partner), headers

    return await idempotent(session, request, key, body, run)


@router.get("/{partner_id}", dependencies=ADMIN)
async def read_partner(partner_id: UUID, session: Session, response: Response) -> PartnerOut:
    """One partner, with the ETag that a change needs."""
    partner = await store.partner(session, partner_id)
    set_etag(response, partner.version)
    return PartnerOut.model_validate(partner)


@router.put("/{partner_id}", dependencies=ADMIN)
async def change_partner(
    partner_id: UUID, body: PartnerIn, session: Session, response: Response, if_match: IfMatch
) -> PartnerOut:
    """Replace a partner's rates, prices and callers; what was exchanged keeps its own."""
    partner = await store.partner(session, partner_id, lock=True)
    require_version(partner.version, if_match)
    for name, value in _columns(body).items():
        setattr(partner, name, value)
    partner.version += 1
    await _flush(session)
    set_etag(response, partner.version)
    return PartnerOut.model_validate(partner)


@router.post("/{partner_id}/issues", **EXCHANGED)
async def issue_points(
    *,
    partner_id: UUID,
    body: IssueIn,
    session: Session,
    request: Request,
    caller: Acting,
    key: IdempotencyKey,
) -> Response:
    """The partner gives a member our points for its own units, rounded down."""
    settings: LoyaltySettings = request.app.state.settings
    partner = await service.acting(session, partner_id, caller)

    async def run() -> tuple[int, ExchangeOut]:
        outcome = await service.issue(
            session, partner, body, settings=settings, actor=caller.id, now=utc_now()
        )
        return 201, _shown(partner, outcome)

    return await idempotent(session, request, key, body, run)


@router.post("/{partner_id}/acceptances", **EXCHANGED)
async def accept_points(
    *,
    partner_id: UUID,
    body: AcceptIn,
    session: Session,
    request: Request,
    caller: Acting,
    key: IdempotencyKey,
) -> Response:
    """The partner takes a member's points and gives its own units, rounded down."""
    partner = await service.acting(session, partner_id, caller)

    async def run() -> tuple[int, ExchangeOut]:
        outcome = await service.accept(session, partner, body, actor=caller.id, now=utc_now())
        return 201, _shown(partner, outcome)

    return await idempotent(session, request, key, body, run)


@router.post("/{partner_id}/exchanges/{transfer_id}/reverse", **EXCHANGED)
async def reverse_exchange(
    *,
    partner_id: UUID,
    transfer_id: UUID,
    session: Session,
    request: Request,
    caller: Acting,
    key: IdempotencyKey,
    body: ReturnIn | None = None,
) -> Response:
    """Undo an exchange, once; the statement shows it in the month in which it is undone."""
    partner = await service.acting(session, partner_id, caller)
    wanted = body or ReturnIn()

    async def run() -> tuple[int, ExchangeOut]:
        outcome = await service.give_back(
            session, partner, transfer_id, reason=wanted.reason, actor=caller.id, now=utc_now()
        )
        return 201, _shown(partner, outcome)

    return await idempotent(session, request, key, wanted, run)


@router.get("/{partner_id}/clearing")
async def read_clearing(
    *, partner_id: UUID, month: Month, session: Session, pool: Pool, request: Request, caller: Acting
) -> ClearingOut:
    """What a month comes to between the partner and us, netted; it equals the ledger to the point."""
    settings: LoyaltySettings = request.app.state.settings
    partner = await service.acting(session, partner_id, caller)
    first = date.fromisoformat(f"{month}-01")
    found = await store.month(pool, partner.id, first, rules.following(first))
    return ClearingOut(
        partner_id=partner.id,
        month=month,
        opening=found.opening,
        issued=_side(found.issued),
        accepted=_side(found.accepted),
        net_points=rules.net_points(found.issued, found.accepted),
        closing=found.closing,
        settlement=Money(amount=rules.net_money(found.issued, found.accepted), currency=settings.currency),
    )


def _side(side: Side) -> SideOut:
    return SideOut(points=side.points, returned=side.returned, net=side.net, worth=side.worth)


def _shown(partner: LoyaltyPartner, outcome: Outcome) -> ExchangeOut:
    return ExchangeOut(
        transfer_id=outcome.posted.transfer_id,
        partner_id=partner.id,
        customer_id=outcome.customer_id,
        points=outcome.posted.points,
        units=outcome.exchange.units,
        unit=partner.unit,
        rate=outcome.exchange.rate,
        arithmetic=outcome.arithmetic,
        balance=outcome.posted.balance,
    )


def _columns(body: PartnerIn) -> dict[str, Any]:
    """The columns of a partner, after the fields were looked at together."""
    errors = []
    if rules.members_gain(body.points_per_unit, body.units_per_point):
        detail = "times points_per_unit is more than 1: members would gain by exchanging to and fro"
        errors.append(FieldError("/units_per_point", detail))
    if rules.partner_gains(body.points_per_unit, body.issued_price, body.accepted_price):
        detail = "is above issued_price: the partner would gain by accepting what it issues"
        errors.append(FieldError("/accepted_price", detail))
    if errors:
        raise Invalid(errors=errors)
    return body.model_dump()


async def _flush(session: AsyncSession) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        raise NameTaken("Nothing was changed.") from error
