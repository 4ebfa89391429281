"""Referrals, over HTTP: a code to give to friends, friends who join with it, and what became of them."""

import hashlib
import secrets
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, Field

from services.loyalty.ledger import store as ledger
from services.loyalty.referrals import store
from services.loyalty.referrals.rules import require_allowed
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.database import raw
from shared.problems import NotFound
from shared.web.dependencies import Pool, Session
from shared.web.idempotency import OptionalIdempotencyKey, idempotent
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.schemas import Schema
from shared.web.security import scope

router = APIRouter(tags=["loyalty"])

READ = [scope("loyalty:read")]
WRITE = [scope("loyalty:write")]
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that is read as something else
CODE_LENGTH = 10
NOBODY = UUID(int=0)

Device = Annotated[
    str | None,
    Field(min_length=1, max_length=500, description="What tells the device; kept as a hash only."),
]


class UnknownCode(NotFound):
    slug, title = "unknown-referral-code", "There is no such referral code"


class CodeIn(Schema):
    """Who wants to bring friends."""

    customer_id: UUID
    device: Device = None


class CodeOut(BaseModel):
    """A member's code, always the same, and the link that holds it."""

    customer_id: UUID
    code: str
    link: str


class JoinIn(Schema):
    """A friend who came with a code."""

    customer_id: UUID
    device: Device = None


class ReferralOut(BaseModel):
    """A friend who was brought. `reason` says why nothing came of it."""

    id: UUID
    code: str
    referrer_id: UUID
    referee_id: UUID
    joined_at: AwareDatetime
    status: str = Field(description="joined, completed or void")
    reason: str | None
    purchase_id: UUID | None
    completed_at: datetime | None
    points: int | None = Field(description="What the referrer got.")


@router.post("/v1/referrals", status_code=201, dependencies=WRITE)
async def make_code(body: CodeIn, request: Request, pool: Pool) -> CodeOut:
    """The code of a member, made with the first request."""
    await ledger.account_of(pool, body.customer_id)
    fresh = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    code = await store.make_code(pool, fresh, body.customer_id, _hashed(body.device))
    settings: LoyaltySettings = request.app.state.settings
    return CodeOut(
        customer_id=body.customer_id, code=code, link=settings.referral_link.replace("{code}", code)
    )


@router.post("/v1/referrals/{code}/joins", status_code=201, response_model=ReferralOut, dependencies=WRITE)
async def join(
    code: Annotated[str, Path(pattern=r"^[0-9A-Z]{1,40}$")],
    body: JoinIn,
    request: Request,
    session: Session,
    key: OptionalIdempotencyKey = None,
) -> Response:
    """A friend joins with a code. Refused with the reason: oneself, a ring, the same device, not new."""

    async def run() -> tuple[int, ReferralOut]:
        connection = await raw(session)
        referrer = await store.owner(connection, code)
        if referrer is None:
            raise UnknownCode("POST /v1/referrals gives a member's code.")
        device, now = _hashed(body.device), utc_now()
        survivors = await ledger.families(connection, [referrer, body.customer_id])
        friend = survivors[body.customer_id]
        one = [customer for customer, survivor in survivors.items() if survivor == friend]
        known = await store.known(connection, survivors[referrer], one, device)
        require_allowed(friend, now, known)
        row = await store.join(
            connection, code, referrer=referrer, referee=body.customer_id, device=device, at=now
        )
        return 201, _out(row)

    if key is not None:
        return await idempotent(session, request, key, body, run)
    status, answer = await run()
    return Response(answer.model_dump_json(), status, media_type="application/json")


@router.get("/v1/referrals", dependencies=READ)
async def list_referrals(
    pool: Pool,
    customer_id: Annotated[UUID, Query(description="Who brought them.")],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ReferralOut]:
    """The friends that a member brought, in the order in which they joined."""
    after = decode_cursor(cursor, UUID)[0] if cursor else NOBODY
    one = await ledger.families(pool, [customer_id])
    rows = await store.page(pool, list(one), after, limit + 1)
    more = encode_cursor(str(rows[limit - 1]["id"])) if len(rows) > limit else None
    return Page(items=[_out(row) for row in rows[:limit]], next_cursor=more)


def _hashed(device: str | None) -> bytes | None:
    return None if device is None else hashlib.sha256(device.encode()).digest()


def _out(row: asyncpg.Record) -> ReferralOut:
    said: dict[str, Any] = {name: row[name] for name in ReferralOut.model_fields}
    return ReferralOut(**said)
