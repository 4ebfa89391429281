"""Coupons over HTTP: campaigns and their codes for operators; trying, using and giving back for shops."""

import csv
import io
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from services.loyalty.coupons import codes, service, store
from services.loyalty.coupons.schemas import (
    MAX_TYPED,
    CampaignIn,
    CampaignOut,
    CouponIn,
    CouponOut,
    IssueIn,
    IssueOut,
    RedeemIn,
    UseOut,
    ValidateIn,
    ValidOut,
)
from services.loyalty.ledger.family import family_of
from services.loyalty.ledger.keys import posting_key
from services.loyalty.tables import Coupon, CouponCampaign, CouponIssue
from shared.clock import utc_now
from shared.ids import new_id
from shared.problems import FieldError, Invalid
from shared.web.dependencies import Pool, Session
from shared.web.etag import IfMatch, require_version, set_etag, tag
from shared.web.idempotency import IdempotencyKey, idempotent, replayed
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import Caller, scope

router = APIRouter(tags=["coupons"])

Writer = Annotated[Caller, scope("loyalty:write")]
READ = [scope("loyalty:read")]
ADMIN = [scope("admin")]
Typed = Annotated[str, Path(min_length=1, max_length=MAX_TYPED)]

EXPORT_LIMIT = 10_000  # codes in one page of an export
Format = Literal["ndjson", "csv"]
_MEDIA: dict[Format, str] = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
_EXPORTED: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"content": {media.split(";")[0]: {} for media in _MEDIA.values()}}},
}


@router.post("/v1/coupons/{code}:validate")
async def validate_coupon(
    code: Typed, body: ValidateIn, pool: Pool, request: Request, caller: Writer
) -> ValidOut:
    """What a coupon takes off a basket. 409 and 404 say why it does not hold; too many of them: 429."""
    async with service.guarded(pool, request.app.state.settings, caller, body.customer_id):
        read = service.read_code(code)
        discount, campaign = await service.validate(pool, read, body, now=utc_now())
    return ValidOut(
        code=codes.shown(read),
        discount=discount,
        currency=body.basket.currency,
        campaign=campaign,
    )


@router.post("/v1/coupons/{code}:redeem", status_code=201, response_model=UseOut)
async def redeem_coupon(
    *,
    code: Typed,
    body: RedeemIn,
    pool: Pool,
    request: Request,
    caller: Writer,
    key: IdempotencyKey,
) -> Response:
    """Use a coupon on a basket: judged, counted and kept together, once for each key."""
    named = posting_key(caller.id, key, request.url.path, body)
    async with service.guarded(pool, request.app.state.settings, caller, body.customer_id):
        use, again = await service.redeem(pool, service.read_code(code), body, now=utc_now(), key=named)
    item = UseOut(**{**use, "released_at": None})  # a replay gives the first answer
    response = Response(item.model_dump_json(), 201, media_type="application/json")
    return replayed(response) if again else response


@router.post("/v1/coupon-uses/{use_id}/release")
async def release_use(use_id: UUID, session: Session, _caller: Writer) -> UseOut:
    """Give a use back, once: the basket came to nothing."""
    return UseOut.model_validate(await service.release(session, use_id, now=utc_now()))


@router.post("/v1/coupons/{code}:cancel", dependencies=ADMIN)
async def cancel_coupon(code: Typed, session: Session) -> CouponOut:
    """Take a coupon out of use. What it was used for stays."""
    coupon = await store.coupon(session, service.read_code(code), lock=True)
    coupon.cancelled_at = coupon.cancelled_at or utc_now()
    return _coupon(coupon, await store.campaign(session, coupon.campaign_id))


@router.get("/v1/loyalty/{customer_id}/coupons", dependencies=READ)
async def list_coupons(
    customer_id: UUID, session: Session, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[CouponOut]:
    """The coupons that are this customer's alone."""
    after = decode_cursor(cursor, _text)[0] if cursor else ""
    customer = await family_of(session, customer_id)
    found = await store.coupons_of(session, customer, after=after, limit=limit + 1)
    more = encode_cursor(found[limit - 1][0].code) if len(found) > limit else None
    return Page(items=[_coupon(*each) for each in found[:limit]], next_cursor=more)


@router.get("/v1/coupon-campaigns", dependencies=READ)
async def list_campaigns(
    session: Session, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[CampaignOut]:
    """The campaigns there are."""
    after = decode_cursor(cursor, UUID)[0] if cursor else None
    found = await store.campaigns(session, after=after, limit=limit + 1)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[CampaignOut.model_validate(each) for each in found[:limit]], next_cursor=more)


@router.post("/v1/coupon-campaigns", status_code=201, response_model=CampaignOut, dependencies=ADMIN)
async def make_campaign(
    body: CampaignIn, session: Session, request: Request, key: IdempotencyKey
) -> Response:
    """Say what coupons take off, and under which terms; codes come after."""

    async def run() -> tuple[int, CampaignOut, dict[str, str]]:
        campaign = CouponCampaign(id=new_id(), **_columns(body, utc_now()))
        session.add(campaign)
        await session.flush()
        headers = {"Location": f"/v1/coupon-campaigns/{campaign.id}", "ETag": tag(campaign.version)}
        return 201, CampaignOut.model_validate(campaign), headers

    return await idempotent(session, request, key, body, run)


@router.get("/v1/coupon-campaigns/{campaign_id}", dependencies=READ)
async def read_campaign(campaign_id: UUID, session: Session, response: Response) -> CampaignOut:
    """One campaign, with the ETag that a change needs."""
    campaign = await store.campaign(session, campaign_id)
    set_etag(response, campaign.version)
    return CampaignOut.model_validate(campaign)


@router.put("/v1/coupon-campaigns/{campaign_id}", dependencies=ADMIN)
async def change_campaign(
    campaign_id: UUID, body: CampaignIn, session: Session, response: Response, if_match: IfMatch
) -> CampaignOut:
    """Replace the terms, for codes that are out too; `ends_at` in the past ends the campaign."""
    campaign = await store.campaign(session, campaign_id, lock=True)
    require_version(campaign.version, if_match)
    for name, value in _columns(body, campaign.starts_at).items():
        setattr(campaign, name, value)
    campaign.version += 1
    set_etag(response, campaign.version)
    return CampaignOut.model_validate(campaign)


@router.post(
    "/v1/coupon-campaigns/{campaign_id}/coupons",
    status_code=201,
    response_model=CouponOut,
    dependencies=ADMIN,
)
async def issue_coupon(
    campaign_id: UUID, body: CouponIn, session: Session, request: Request, key: IdempotencyKey
) -> Response:
    """Issue one coupon, to a customer or to whoever knows its code."""

    async def run() -> tuple[int, CouponOut]:
        campaign = await store.campaign(session, campaign_id)
        coupon = await service.issue_one(session, campaign, body.customer_id, now=utc_now())
        return 201, _coupon(coupon, campaign)

    return await idempotent(session, request, key, body, run)


@router.post(
    "/v1/coupon-campaigns/{campaign_id}/issues", status_code=202, response_model=IssueOut, dependencies=ADMIN
)
async def issue_codes(
    campaign_id: UUID, body: IssueIn, session: Session, request: Request, key: IdempotencyKey
) -> Response:
    """Have codes made in bulk; the answer says where to look how far it has come."""

    async def run() -> tuple[int, IssueOut, dict[str, str]]:
        now = utc_now()
        service.require_open(await store.campaign(session, campaign_id), now)
        issue = CouponIssue(id=new_id(), campaign_id=campaign_id, wanted=body.count, created_at=now)
        session.add(issue)
        await session.flush()
        return 202, IssueOut.model_validate(issue), {"Location": f"/v1/coupon-issues/{issue.id}"}

    return await idempotent(session, request, key, body, run)


@router.get("/v1/coupon-issues/{issue_id}", dependencies=ADMIN)
async def read_issue(issue_id: UUID, session: Session) -> IssueOut:
    """How many of the codes are there."""
    return IssueOut.model_validate(await store.issue(session, issue_id))


@router.get("/v1/coupon-issues/{issue_id}/codes", dependencies=ADMIN, **_EXPORTED)
async def export_codes(
    *,
    issue_id: UUID,
    session: Session,
    pool: Pool,
    form: Annotated[Format, Query(alias="format")] = "ndjson",
    limit: Annotated[int, Query(ge=1, le=EXPORT_LIMIT)] = EXPORT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """The codes, sorted, a page at a time; the `Link` header names the next page (RFC 8288)."""
    after = decode_cursor(cursor, _text)[0] if cursor else ""
    issue = await store.issue(session, issue_id)
    found = await store.codes_of(pool, issue_id, after, limit + 1)
    response = Response(_written(found[:limit], form, header=cursor is None), media_type=_MEDIA[form])
    if len(found) > limit:
        query = f"format={form}&limit={limit}&cursor={encode_cursor(found[limit - 1])}"
        response.headers["Link"] = f'</v1/coupon-issues/{issue.id}/codes?{query}>; rel="next"'
    return response


def _written(found: list[str], form: Format, *, header: bool) -> bytes:
    if form == "ndjson":
        return b"".join(orjson.dumps({"code": codes.shown(code)}) + b"\n" for code in found)
    text = io.StringIO()
    lines = csv.writer(text)
    if header:
        lines.writerow(["code"])
    lines.writerows([codes.shown(code)] for code in found)
    return text.getvalue().encode()


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError("not a code")
    return value


def _coupon(coupon: Coupon, campaign: CouponCampaign) -> CouponOut:
    return CouponOut(
        code=codes.shown(coupon.code),
        customer_id=coupon.customer_id,
        used=coupon.used,
        issued_at=coupon.issued_at,
        cancelled_at=coupon.cancelled_at,
        campaign=CampaignOut.model_validate(campaign),
    )


def _columns(body: CampaignIn, starts_at: datetime) -> dict[str, Any]:
    """The columns of a campaign, after the fields were looked at together."""
    errors = []
    if (body.percent is None) == (body.amount is None):
        errors.append(FieldError("/percent", "give either percent or amount"))
    if body.most_off is not None and body.percent is None:
        errors.append(FieldError("/most_off", "bounds a percentage"))
    if body.currency is None and (body.amount or body.most_off or body.minimum_spend):
        errors.append(FieldError("/currency", "amounts need a currency"))
    starts_at = body.starts_at or starts_at
    if body.ends_at is not None and body.ends_at <= starts_at:
        errors.append(FieldError("/ends_at", "must come after starts_at"))
    if errors:
        raise Invalid(errors=errors)
    return body.model_dump() | {"starts_at": starts_at}
