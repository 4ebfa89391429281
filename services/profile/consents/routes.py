"""Consents over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path

from services.profile.consents import store
from services.profile.consents.schemas import ConsentIn, ConsentOut
from services.profile.customers.service import locked, must_exist
from services.profile.tables import Consent
from services.profile.values import cursor_moment
from shared.clock import utc_now
from shared.contracts.profile import ConsentChanged
from shared.database import raw
from shared.ids import new_id
from shared.messaging import outbox, sections
from shared.problems import Conflict
from shared.web.dependencies import Session
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

MAX_CONSENTS = 100

router = APIRouter(tags=["consents"])

READ = [scope("customers:read")]
WRITE = [scope("consents:write")]

Purpose = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]


class TooManyConsents(Conflict):
    slug, title = "too-many-consents", "Something is said for as many purposes and channels as may be"


@router.put("/v1/customers/{customer_id}/consents/{purpose}", dependencies=WRITE)
async def put_consent(customer_id: UUID, purpose: Purpose, body: ConsentIn, session: Session) -> ConsentOut:
    """Write down what the customer wants. Nothing is overwritten: the latest stands, the others are history.

    The answer is what stands now, which is something else when a later word was known already.
    """
    await locked(session, customer_id)
    standing = await store.latest(session, customer_id, purpose, body.channel)
    if standing is None and await store.count(session, customer_id) >= MAX_CONSENTS:
        raise TooManyConsents()
    if standing is not None and _same(standing, body):
        return _out(standing)
    now = utc_now()
    said = Consent(
        id=new_id(),
        customer_id=customer_id,
        purpose=purpose,
        channel=body.channel,
        status=body.status,
        evidence=body.evidence,
        source=body.source,
        occurred_at=body.occurred_at or now,
        expires_at=body.expires_at,
        recorded_at=now,
    )
    session.add(said)
    if standing is not None and standing.occurred_at > said.occurred_at:
        return _out(standing)
    changed = ConsentChanged(
        customer_id=customer_id,
        purpose=purpose,
        channel=said.channel,
        status=body.status,
        evidence=said.evidence,
        occurred_at=said.occurred_at,
    )
    await outbox.emit(session, changed)
    await sections.mark(session, [customer_id])
    return _out(said)


@router.get("/v1/customers/{customer_id}/consents", dependencies=READ)
async def list_consents(customer_id: UUID, session: Session) -> Page[ConsentOut]:
    """What stands, for each purpose and channel."""
    await must_exist(await raw(session), customer_id)
    return Page(items=[_out(consent) for consent in await store.standing(session, customer_id)])


@router.get("/v1/customers/{customer_id}/consents/{purpose}", dependencies=READ)
async def list_consent_history(
    customer_id: UUID,
    purpose: Purpose,
    session: Session,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ConsentOut]:
    """Everything that was said for a purpose, with its evidence, the latest first."""
    before = decode_cursor(cursor, cursor_moment, UUID) if cursor else None
    await must_exist(await raw(session), customer_id)
    found = await store.history(session, customer_id, purpose, before, limit + 1)
    items = found[:limit]
    last = encode_cursor(items[-1].occurred_at, items[-1].id) if len(found) > limit else None
    return Page(items=[_out(consent) for consent in items], next_cursor=last)


def _same(standing: Consent, said: ConsentIn) -> bool:
    """Whether a request only repeats what stands."""
    return (standing.status, standing.evidence, standing.source, standing.expires_at) == (
        said.status,
        said.evidence,
        said.source,
        said.expires_at,
    ) and said.occurred_at in (None, standing.occurred_at)


def _out(consent: Consent) -> ConsentOut:
    return ConsentOut.model_validate(consent, from_attributes=True)
