"""Use cases of the customer's record: register, change, resolve. The caller commits.

Locks are always taken in this order, each set sorted: customers, identities. An identity that somebody else
claims at the same moment is waited for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.profile.attributes import store as attributes
from services.profile.attributes.rules import NAME, Value, observe, shown
from services.profile.customers import rules, store
from services.profile.customers.rules import Resolution
from services.profile.identities import store as identities
from services.profile.identities.rules import Claim, Identity, Policy, within_limits
from services.profile.settings import ProfileSettings
from shared.clock import utc_now
from shared.contracts.profile import CustomerRegistered, CustomerUpdated
from shared.database import raw
from shared.ids import new_id
from shared.messaging import outbox, sections
from shared.problems import Conflict, NotFound, Unavailable

RESOLVE_ATTEMPTS = 20
NOTHING = b"null"


class IdentityTaken(Conflict):
    slug, title = "identity-taken", "Another customer is known by this identity"


class TooManyIdentities(Conflict):
    slug, title = "too-many-identities", "The customer holds as many identities of this kind as may be"


class TooManyAttributes(Conflict):
    slug, title = "too-many-attributes", "The customer has as many attributes as may be"


class NoSuchCustomer(NotFound):
    slug, title = "no-such-customer", "There is no such customer"


@dataclass(frozen=True, slots=True)
class Observation:
    """What one source says of a customer at one time; an attribute that it calls null is not there."""

    attributes: Mapping[str, Any]
    source: str
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Ask:
    """Handles to find or make a customer by. `said` is written down of the customer they lead to."""

    claims: Sequence[Claim]
    said: Observation | None = None


class Taken(Exception):
    """Some claimed identities went to others meanwhile."""


def policy_of(settings: ProfileSettings) -> Policy:
    """What this deployment takes for an identity."""
    return Policy(
        default_region=settings.default_region,
        blocked_emails=settings.blocked_emails,
        blocked_phones=settings.blocked_phones,
        blocked_external_ids=settings.blocked_external_ids,
        limits={
            "email": settings.max_emails,
            "phone": settings.max_phones,
            "external_id": settings.max_external_ids,
        },
    )


async def register(
    session: AsyncSession, claims: Sequence[Claim], said: Observation, settings: ProfileSettings
) -> UUID:
    """Make a customer who is recognised by all these identities.

    Raises:
        IdentityTaken: one of them is somebody else's; nothing was made.
        TooManyIdentities: more of one kind than a customer may have.
    """
    connection = await raw(session)
    customer_id = new_id()
    _, refused = within_limits(claims, {}, policy_of(settings))
    if refused:
        raise TooManyIdentities()
    free = await identities.claim(connection, [(customer_id, claim) for claim in claims])
    taken = [claim.identity for claim in claims if claim.identity not in free]
    if taken:
        raise await _taken(connection, taken[0])
    await _make(session, connection, {customer_id: [said]}, settings)
    return customer_id


async def change(
    session: AsyncSession, customer_id: UUID, said: Observation, settings: ProfileSettings
) -> None:
    """Write down what a source says of a customer whose record the caller has locked.

    Raises:
        TooManyAttributes: it names more attributes than a customer may have.
    """
    connection = await raw(session)
    changes = await _observe(connection, {customer_id: [said]}, settings)
    await _touch(session, connection, {customer_id})
    await _tell(session, changes)


async def locked(session: AsyncSession, customer_id: UUID) -> int:
    """Lock a record until the transaction ends; returns its version.

    Raises:
        NoSuchCustomer: there is none.
    """
    versions = await store.lock(await raw(session), [customer_id])
    if customer_id not in versions:
        raise NoSuchCustomer()
    return versions[customer_id]


async def must_exist(connection: asyncpg.Connection | asyncpg.Pool, customer_id: UUID) -> None:
    """Raises NoSuchCustomer when there is none."""
    if not await store.existing(connection, [customer_id]):
        raise NoSuchCustomer()


async def add_identity(
    session: AsyncSession, customer_id: UUID, claim: Claim, settings: ProfileSettings
) -> tuple[bool, bool]:
    """Give a customer an identity, or write down that one of theirs is verified.

    Returns:
        Whether it is new, and whether it is verified now.

    Raises:
        NoSuchCustomer, IdentityTaken, TooManyIdentities.
    """
    connection = await raw(session)
    await locked(session, customer_id)
    owner = (await identities.find(connection, [claim.identity])).get(claim.identity)
    if owner is not None and owner.customer_id == customer_id:
        if claim.verified and not owner.verified:
            await identities.verify(connection, claim.identity)
            await _touch(session, connection, {customer_id})
        return False, owner.verified or claim.verified
    held = await identities.count(connection, [customer_id])
    _, refused = within_limits([claim], held[customer_id], policy_of(settings))
    if refused:
        raise TooManyIdentities("Take one away first.")
    if not await identities.claim(connection, [(customer_id, claim)]):
        raise await _taken(connection, claim.identity)
    await _touch(session, connection, {customer_id})
    return True, claim.verified


async def remove_identity(session: AsyncSession, customer_id: UUID, identity: Identity) -> None:
    """Take an identity from a customer.

    Raises:
        NoSuchCustomer: there is no such customer.
        NotFound: they are not known by it.
    """
    connection = await raw(session)
    await locked(session, customer_id)
    if not await identities.release(connection, customer_id, identity):
        raise NotFound("The customer is not known by this identity.")
    await _touch(session, connection, {customer_id})


async def resolve_all(
    session: AsyncSession, asks: Sequence[Ask], settings: ProfileSettings, *, create: bool = True
) -> list[Resolution | None]:
    """Find the customer of each ask or make one; asks that share a handle lead to one customer.

    A found customer gains the handles that nobody owns yet. One set of statements for any number of asks.

    Returns:
        A resolution for each ask, None where it has no handles, or nobody was found and `create` is off.

    Raises:
        Unavailable: others claimed the same identities again and again.
    """
    connection = await raw(session)
    for _ in range(RESOLVE_ATTEMPTS):
        try:
            async with connection.transaction():  # a savepoint: a lost race leaves nothing behind
                answers = await _plan_and_claim(connection, asks, settings, create=create)
        except Taken:
            continue  # the winner has committed, so the next look finds their customer
        await _write_down(session, connection, asks, answers, settings)
        return answers
    raise Unavailable("The same customers are being registered by others; try again.")


async def _plan_and_claim(
    connection: asyncpg.Connection, asks: Sequence[Ask], settings: ProfileSettings, *, create: bool
) -> list[Resolution | None]:
    wanted = {claim.identity for ask in asks for claim in ask.claims}
    owners = await identities.find(connection, wanted)
    # Customers who may gain something are locked, so that their limits hold and their values are merged once.
    gaining = {
        owner.customer_id
        for ask in asks
        if create and (ask.said or any(c.identity not in owners for c in ask.claims))
        for owner in (owners.get(c.identity) for c in ask.claims)
        if owner is not None
    }
    held = {}
    if gaining:
        await store.lock(connection, gaining)
        held = await identities.count(connection, gaining)
    answers = rules.resolve(
        [ask.claims for ask in asks], owners, held, policy_of(settings), new_id=new_id if create else None
    )
    claims = [(answer.customer_id, claim) for answer in answers if answer for claim in answer.taken]
    if len(await identities.claim(connection, claims)) < len(claims):
        raise Taken
    return answers


async def _write_down(
    session: AsyncSession,
    connection: asyncpg.Connection,
    asks: Sequence[Ask],
    answers: Sequence[Resolution | None],
    settings: ProfileSettings,
) -> None:
    """Make the new customers, and write down what was said of the found ones."""
    made = {answer.customer_id for answer in answers if answer and answer.created}
    said: dict[UUID, list[Observation]] = {customer_id: [] for customer_id in made}
    gained: set[UUID] = set()
    for ask, answer in zip(asks, answers, strict=True):
        if answer is None:
            continue
        if ask.said:
            said.setdefault(answer.customer_id, []).append(ask.said)
        if answer.taken and answer.customer_id not in made:
            gained.add(answer.customer_id)
    if made:
        await _make(session, connection, {c: s for c, s in said.items() if c in made}, settings)
    found = {customer: spoken for customer, spoken in said.items() if customer not in made}
    changes = await _observe(connection, found, settings)
    touched = gained | changes.keys()
    if touched:
        await _touch(session, connection, touched)
        await _tell(session, changes)


async def _make(
    session: AsyncSession,
    connection: asyncpg.Connection,
    said: Mapping[UUID, Sequence[Observation]],
    settings: ProfileSettings,
) -> None:
    """Write new customers, whose identities are claimed, with what was said of them."""
    now = utc_now()
    await store.insert(connection, list(said), now)
    changes = await _observe(connection, said, settings, new=True)
    await store.index(connection, said.keys())
    await outbox.emit_all(
        session,
        [
            CustomerRegistered(customer_id=c, attributes=_present(changes.get(c, {})), registered_at=now)
            for c in said
        ],
    )
    await sections.mark(session, said.keys())


async def _observe(
    connection: asyncpg.Connection,
    said: Mapping[UUID, Sequence[Observation]],
    settings: ProfileSettings,
    *,
    new: bool = False,
) -> dict[UUID, dict[str, Any]]:
    """Merge observations into the values known; returns the shown values that changed, per customer."""
    said = {customer: spoken for customer, spoken in said.items() if any(s.attributes for s in spoken)}
    if not said:
        return {}
    known = {} if new else await attributes.read(connection, said.keys())
    written: dict[tuple[UUID, str], Sequence[Value]] = {}
    changes: dict[UUID, dict[str, Any]] = {}
    for customer_id, observations in said.items():
        values = known.get(customer_id, {})
        seen = _by_name(observations, settings)
        if len((values.keys() | seen.keys()) - {NAME}) > settings.max_attributes:
            raise TooManyAttributes()
        changes[customer_id] = {}
        for name, newer in seen.items():
            before = values.get(name, [])
            after = observe(before, newer, keep=settings.max_values)
            if after == before:
                continue
            written[customer_id, name] = after
            if (before[0].written if before else NOTHING) != after[0].written:
                changes[customer_id][name] = shown(after)
    await attributes.replace(connection, written, new=new)
    return {customer: changed for customer, changed in changes.items() if changed}


def _by_name(observations: Iterable[Observation], settings: ProfileSettings) -> dict[str, list[Value]]:
    seen: dict[str, list[Value]] = {}
    for said in observations:
        trust = settings.source_trust.get(said.source, settings.default_trust)
        for name, value in said.attributes.items():
            seen.setdefault(name, []).append(Value(value, said.source, trust, said.observed_at))
    return seen


def _present(attributes_shown: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes_shown.items() if value is not None}


async def _touch(session: AsyncSession, connection: asyncpg.Connection, customers: set[UUID]) -> None:
    """Count a change of locked customers, make them findable by it, and have their section shown anew."""
    await store.changed(connection, customers, utc_now())
    await store.index(connection, customers)
    await sections.mark(session, sorted(customers))


async def _tell(session: AsyncSession, changes: Mapping[UUID, Mapping[str, Any]]) -> None:
    """Emit what is shown otherwise now."""
    updates = [CustomerUpdated(customer_id=c, attributes=dict(new)) for c, new in changes.items() if new]
    await outbox.emit_all(session, updates)


async def _taken(connection: asyncpg.Connection, identity: Identity) -> IdentityTaken:
    owner = (await identities.find(connection, [identity])).get(identity)
    return IdentityTaken(
        f"This {identity.kind} is already in use.", customer_id=str(owner.customer_id) if owner else None
    )
