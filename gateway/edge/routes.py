"""/v1/admin/keys: make, list and revoke API keys."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.edge import store
from gateway.edge.callers import Callers
from gateway.edge.keys import EVERYTHING, ROLES, SCOPES, make_key, missing
from gateway.edge.schemas import KeyView, MadeKey, NewKeyBody
from gateway.tables import ApiKey, Partner
from shared.clock import utc_now
from shared.ids import new_id
from shared.problems import FieldError, Forbidden, Invalid, NotFound
from shared.web.dependencies import Session
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import Caller, scope

router = APIRouter(prefix="/v1/admin/keys", tags=["admin"])
Admin = Annotated[Caller, scope("admin")]


@router.post("", status_code=201)
async def make(body: NewKeyBody, caller: Admin, session: Session) -> MadeKey:
    """Make a key. Its text is in this answer and nowhere else."""
    scopes = set(body.scopes) if body.scopes else set(ROLES[body.role])
    await _check(session, body, scopes)
    if lacking := missing(caller.scopes, scopes):
        raise Forbidden(f"Nobody can hand out what they lack: {', '.join(sorted(lacking))}.")
    key = make_key()
    row = ApiKey(
        id=new_id(),
        prefix=key.prefix,
        key_hash=key.digest,
        name=body.name,
        role=body.role,
        scopes=sorted(scopes),
        partner=body.partner,
        created_by=caller.id,
        created_at=utc_now(),
        expires_at=body.expires_at,
    )
    session.add(row)
    await session.flush()
    return MadeKey(key=key.text, **KeyView.model_validate(row).model_dump())


@router.get("")
async def list_keys(
    _: Admin, session: Session, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[KeyView]:
    """All keys from the newest on, revoked ones too."""
    after = decode_cursor(cursor, UUID)[0] if cursor else None
    rows = await store.page(session, after=after, limit=limit)
    return Page[KeyView](
        items=[KeyView.model_validate(row) for row in rows],
        next_cursor=encode_cursor(rows[-1].id) if len(rows) == limit else None,
    )


@router.delete("/{key_id}", status_code=204)
async def revoke(key_id: UUID, _: Admin, session: Session, request: Request) -> None:
    """Revoke a key: at once at this gateway, within seconds at others."""
    row = await session.get(ApiKey, key_id)
    if row is None:
        raise NotFound("There is no such key.")
    row.revoked_at = row.revoked_at or utc_now()
    await session.flush()
    callers: Callers = request.app.state.callers
    callers.revoked(row.key_hash)


async def _check(session: AsyncSession, body: NewKeyBody, scopes: set[str]) -> None:
    errors = []
    if unknown := scopes - SCOPES - {EVERYTHING}:
        errors.append(FieldError("/scopes", f"There is no scope {', '.join(sorted(unknown))}."))
    if body.expires_at is not None and body.expires_at <= utc_now():
        errors.append(FieldError("/expires_at", "This is in the past."))
    if body.role == "partner" and body.partner is None:
        errors.append(FieldError("/partner", "A partner's key names its partner."))
    if body.partner is not None and await session.get(Partner, body.partner) is None:
        errors.append(FieldError("/partner", "There is no such partner."))
    if errors:
        raise Invalid(errors=errors)
