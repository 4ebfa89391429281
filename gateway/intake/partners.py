"""/v1/admin/partners: admit partners, rotate their secrets, shut them out."""

from datetime import timedelta
from typing import Annotated

import sqlalchemy.exc
from fastapi import APIRouter, Path, Request

from gateway.intake import store
from gateway.intake.schemas import NewPartner, PartnerSecretView, PartnerView
from gateway.intake.signatures import make_secret
from gateway.intake.webhooks import Intake
from gateway.settings import GatewaySettings
from gateway.tables import Partner, PartnerSecret
from shared.clock import utc_now
from shared.ids import new_id
from shared.problems import Conflict, NotFound
from shared.web.dependencies import Session
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

router = APIRouter(prefix="/v1/admin/partners", tags=["admin"], dependencies=[scope("admin")])
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class PartnerExists(Conflict):
    slug, title = "partner-exists", "There is a partner of this name"


@router.post("", status_code=201)
async def admit(body: NewPartner, session: Session, request: Request) -> PartnerSecretView:
    """Admit a partner. Its secret is in this answer and nowhere else."""
    session.add(Partner(name=body.name, scheme=body.scheme, created_at=utc_now(), disabled_at=None))
    try:
        await session.flush()
    except sqlalchemy.exc.IntegrityError as error:
        raise PartnerExists("Rotate its secret to get a new one.") from error
    secret = await _add_secret(session, request, body.name)
    return PartnerSecretView(name=body.name, scheme=body.scheme, secret=secret)


@router.get("")
async def list_partners(
    session: Session, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[PartnerView]:
    """All partners by name."""
    after = decode_cursor(cursor, _text)[0] if cursor else None
    rows = await store.partners(session, after=after, limit=limit)
    return Page[PartnerView](
        items=[PartnerView.model_validate(row) for row in rows],
        next_cursor=encode_cursor(rows[-1].name) if len(rows) == limit else None,
    )


@router.post("/{name}/rotate")
async def rotate(name: Name, session: Session, request: Request) -> PartnerSecretView:
    """Make a new secret; the old one verifies for some hours more, so that nothing is lost meanwhile."""
    settings: GatewaySettings = request.app.state.settings
    partner = await _partner(session, name)
    until = utc_now() + timedelta(hours=settings.secret_overlap_hours)
    await store.retire_secrets(session, name, at=until)
    secret = await _add_secret(session, request, name)
    return PartnerSecretView(name=name, scheme=partner.scheme, secret=secret, old_secret_until=until)


@router.post("/{name}/disable")
async def disable(name: Name, session: Session, request: Request) -> PartnerView:
    """Refuse the partner's webhooks from now on: at once at this gateway, within seconds at others."""
    partner = await _partner(session, name)
    partner.disabled_at = partner.disabled_at or utc_now()
    return await _changed(session, request, partner)


@router.post("/{name}/enable")
async def enable(name: Name, session: Session, request: Request) -> PartnerView:
    """Take the partner's webhooks again."""
    partner = await _partner(session, name)
    partner.disabled_at = None
    return await _changed(session, request, partner)


async def _partner(session: Session, name: str) -> Partner:
    partner = await session.get(Partner, name)
    if partner is None:
        raise NotFound("There is no such partner.")
    return partner


async def _add_secret(session: Session, request: Request, name: str) -> str:
    intake: Intake = request.app.state.intake
    secret = make_secret()
    sealed = intake.vault.seal(secret)
    session.add(
        PartnerSecret(id=new_id(), partner=name, sealed=sealed, created_at=utc_now(), retires_at=None)
    )
    await session.flush()
    intake.senders.changed(name)
    return secret


async def _changed(session: Session, request: Request, partner: Partner) -> PartnerView:
    await session.flush()
    intake: Intake = request.app.state.intake
    intake.senders.changed(partner.name)
    return PartnerView.model_validate(partner)


def _text(value: object) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError("not a name")
    return value
