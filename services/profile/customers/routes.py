"""Customers and their identities over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from services.profile import answers
from services.profile.attributes import store as attributes
from services.profile.attributes.rules import NAME, RULE, Value
from services.profile.customers import rules, service, store
from services.profile.customers.schemas import (
    AttributeOut,
    CustomerIn,
    CustomerOut,
    CustomerPatch,
    IdentityIn,
    IdentityOut,
    ResolutionOut,
    ResolveIn,
    Taken,
    ValueOut,
    claims_of,
)
from services.profile.customers.service import Ask, NoSuchCustomer, Observation, policy_of
from services.profile.identities.rules import MAX_GIVEN, Identity, UnfitIdentity, normalise
from services.profile.settings import ProfileSettings
from shared.clock import utc_now
from shared.contracts.handles import HandleKind
from shared.database import raw
from shared.problems import FieldError, Invalid, NotFound
from shared.web.dependencies import Pool, Session
from shared.web.etag import IfMatch, require_version
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor
from shared.web.security import scope

router = APIRouter(tags=["customers"])

READ = [scope("customers:read")]
WRITE = [scope("customers:write")]


async def _settings(request: Request) -> ProfileSettings:
    settings: ProfileSettings = request.app.state.settings
    return settings


Settings = Annotated[ProfileSettings, Depends(_settings)]
Parameter = Annotated[str | None, Query(min_length=1, max_length=MAX_GIVEN)]


async def _identity_query(
    settings: Settings,
    email: Parameter = None,
    phone: Parameter = None,
    external_id: Annotated[str | None, Query(max_length=MAX_GIVEN, description="As `source:id`.")] = None,
) -> Identity | None:
    """The identity that the parameters name; None when they name none."""
    given: dict[HandleKind, str | None] = {"email": email, "phone": phone, "external_id": external_id}
    named = [(kind, value) for kind, value in given.items() if value is not None]
    if not named:
        return None
    if len(named) > 1:
        raise Invalid("Name one of email, phone and external_id.")
    (kind, value), source = named[0], ""
    if kind == "external_id":
        source, _, value = value.partition(":")
    elif kind == "phone" and value.startswith(" "):
        value = "+" + value[1:]  # an unescaped plus sign in a query string arrives as a space
    try:
        return normalise(kind, value, source, policy_of(settings))
    except UnfitIdentity as unfit:
        raise Invalid(errors=[FieldError(f"query:{kind}", str(unfit))]) from unfit


NamedIdentity = Annotated[Identity | None, Depends(_identity_query)]


@router.post("/v1/customers", status_code=201, response_model=CustomerOut, dependencies=WRITE)
async def register_customer(body: CustomerIn, session: Session, settings: Settings) -> Response:
    """Register a customer. 409 `identity-taken` names the customer who already has one of the identities."""
    said = dict(body.attributes) | ({} if body.name is None else {NAME: body.name})
    observation = Observation(said, body.source, body.observed_at or utc_now())
    customer_id = await service.register(session, body.claims(policy_of(settings)), observation, settings)
    return await _show(session, customer_id, status=201)


@router.get("/v1/customers", response_model=Page[CustomerOut], dependencies=READ)
async def list_customers(
    pool: Pool,
    identity: NamedIdentity,
    q: Annotated[str | None, Query(max_length=200, description="How a name or an identity begins.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Find customers by one of the parameters; without any, all of them, the newest first."""
    if identity is not None and q is not None:
        raise Invalid("Look by one of email, phone, external_id and q.")
    if identity is not None:
        return answers.page(await store.by_identity(pool, identity), limit)
    if q is None:
        after = decode_cursor(cursor, UUID)[0] if cursor else None
        return answers.page(await store.newest(pool, after, limit + 1), limit)
    query = rules.fold(q)
    if not query:
        raise Invalid(errors=[FieldError("query:q", "is empty")])
    place = decode_cursor(cursor, str, UUID) if cursor else None
    return answers.page(await store.search(pool, query, place, limit + 1), limit)


@router.post("/v1/customers:resolve", response_model=ResolutionOut, dependencies=WRITE)
async def resolve_customer(
    body: ResolveIn, response: Response, session: Session, settings: Settings
) -> ResolutionOut:
    """Find the customer whom the handles name, or make one. 201 when made, 404 when there is none."""
    claims = body.claims(policy_of(settings))
    said = Observation({NAME: body.name}, body.source, utc_now()) if body.name and body.create else None
    (answer,) = await service.resolve_all(session, [Ask(claims, said)], settings, create=body.create)
    if answer is None:
        raise NotFound("Nobody is known by these handles.")
    response.status_code = 201 if answer.created else 200
    return ResolutionOut(
        customer_id=answer.customer_id,
        created=answer.created,
        rule=answer.rule,
        confidence=answer.confidence,
        added=[_identity_out(claim.identity, verified=claim.verified) for claim in answer.taken],
        elsewhere=[
            Taken(identity=_identity_out(identity, verified=False), customer_id=owner)
            for identity, owner in answer.elsewhere
        ],
        refused=[_identity_out(identity, verified=False) for identity in answer.refused],
    )


@router.get("/v1/customers/{customer_id}", response_model=CustomerOut, dependencies=READ)
async def read_customer(customer_id: UUID, pool: Pool) -> Response:
    """One customer, with the ETag that a change needs."""
    document = await store.read(pool, customer_id)
    if document is None:
        raise NoSuchCustomer()
    return answers.one(document.json, version=document.version)


@router.patch("/v1/customers/{customer_id}", response_model=CustomerOut, dependencies=WRITE)
async def change_customer(
    customer_id: UUID, body: CustomerPatch, if_match: IfMatch, session: Session, settings: Settings
) -> Response:
    """Write down what a source says now. Whether it is shown is for the survivorship rule to decide."""
    require_version(await service.locked(session, customer_id), if_match)
    said = dict(body.attributes) | ({NAME: body.name} if "name" in body.model_fields_set else {})
    if said:
        observation = Observation(said, body.source, body.observed_at or utc_now())
        await service.change(session, customer_id, observation, settings)
    return await _show(session, customer_id)


@router.get("/v1/customers/{customer_id}/attributes", dependencies=READ)
async def list_attributes(customer_id: UUID, pool: Pool) -> Page[AttributeOut]:
    """Every value that a source gave: the one shown, the rule that chose it, and those that lost."""
    await service.must_exist(pool, customer_id)
    values = (await attributes.read(pool, [customer_id]))[customer_id]
    return Page(items=[_attribute_out(name, ranked) for name, ranked in values.items()])


@router.post(
    "/v1/customers/{customer_id}/identities", status_code=201, response_model=IdentityOut, dependencies=WRITE
)
async def add_identity(
    customer_id: UUID, body: IdentityIn, response: Response, session: Session, settings: Settings
) -> IdentityOut:
    """Give a customer an identity; 200 when it is theirs already, which may verify it."""
    (claim,) = claims_of([("/value", body)], policy_of(settings))
    added, verified = await service.add_identity(session, customer_id, claim, settings)
    response.status_code = 201 if added else 200
    return _identity_out(claim.identity, verified=verified)


@router.delete("/v1/customers/{customer_id}/identities", status_code=204, dependencies=WRITE)
async def remove_identity(customer_id: UUID, session: Session, identity: NamedIdentity) -> Response:
    """Take the identity that the parameter names from the customer."""
    if identity is None:
        raise Invalid("Name the identity by one of email, phone and external_id.")
    await service.remove_identity(session, customer_id, identity)
    return Response(status_code=204)


async def _show(session: Session, customer_id: UUID, *, status: int = 200) -> Response:
    document = await store.read(await raw(session), customer_id)
    if document is None:
        raise NoSuchCustomer()
    location = f"/v1/customers/{customer_id}" if status == 201 else None
    return answers.one(document.json, status=status, version=document.version, location=location)


def _identity_out(identity: Identity, *, verified: bool) -> IdentityOut:
    return IdentityOut(
        kind=identity.kind, source=identity.source or None, value=identity.value, verified=verified
    )


def _attribute_out(name: str, ranked: list[Value]) -> AttributeOut:
    best, *others = [
        ValueOut(value=v.value, source=v.source, trust=v.trust, observed_at=v.observed_at) for v in ranked
    ]
    return AttributeOut(name=name, rule=RULE, others=others, **best.model_dump())
