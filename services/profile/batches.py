"""Many things that customers did, in one request: each is accepted, known already, or refused with a reason.

What single items and batches of purchases and activities have in common.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from sqlmodel.ext.asyncio.session import AsyncSession

from services.profile.customers import store as customers
from services.profile.customers.schemas import CustomerRef
from services.profile.customers.service import Ask, policy_of, resolve_all
from services.profile.identities.rules import Claim, Policy, UnfitIdentity
from services.profile.settings import ProfileSettings
from shared.contracts.profile import BATCH_LIMIT as EVENT_ITEMS
from shared.database import raw
from shared.problems import FieldError, Invalid
from shared.web.problems import pointer
from shared.web.schemas import Schema

MAX_ITEMS = 1_000
# An event stays far below the largest message that a broker takes (16 MiB in RabbitMQ 4).
EVENT_BYTES = 1_000_000
# Above this, items are checked off the event loop.
INLINE_ITEMS = 20

NO_SUCH_CUSTOMER = FieldError("/customer/id", "there is no such customer")


class HasCustomer(Protocol):
    """An item that says whose it is."""

    customer: CustomerRef


@dataclass(frozen=True, slots=True)
class DescribedAs:
    """Describes a field in the API's document as this model, though its items are checked one by one."""

    model: type[BaseModel]

    def __get_pydantic_json_schema__(self, _: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(self.model.__pydantic_core_schema__)


class Batch(BaseModel):
    """A request of up to MAX_ITEMS; one that does not fit does not hinder the others."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[Any], Field(min_length=1, max_length=MAX_ITEMS)]


class Rejected(BaseModel):
    index: int = Field(description="The item's place in the request, from 0.")
    problem: str


class BatchOut(BaseModel):
    """How many were taken, how many were known already, and which were refused."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]


ItemT = TypeVar("ItemT", bound=HasCustomer)
ModelT = TypeVar("ModelT", bound=Schema)
AnyT = TypeVar("AnyT")


@dataclass(frozen=True, slots=True)
class Entry(Generic[ItemT]):
    """An item that fits, its place in the request, and the identity that names its customer, unless by id."""

    index: int
    item: ItemT
    claim: Claim | None


async def parse(
    items: Sequence[Any], model: type[ModelT], settings: ProfileSettings
) -> tuple[list[Entry[Any]], list[Rejected]]:
    """Check every item by itself."""
    policy = policy_of(settings)
    if len(items) <= INLINE_ITEMS:
        return _parse(items, model, policy)
    return await asyncio.to_thread(_parse, items, model, policy)


def entry_of(item: ItemT, settings: ProfileSettings) -> Entry[ItemT]:
    """The only item of a request.

    Raises:
        Invalid: its customer is named by something that names nobody.
    """
    try:
        return Entry(0, item, item.customer.claim(policy_of(settings)))
    except UnfitIdentity as unfit:
        raise Invalid(errors=[FieldError("/customer", str(unfit))]) from unfit


def refuse(index: int, error: FieldError) -> Rejected:
    """An item that is not taken, and why."""
    return Rejected(index=index, problem=f"{error.pointer}: {error.detail}")


async def with_customers(
    session: AsyncSession, entries: Sequence[Entry[ItemT]], settings: ProfileSettings
) -> list[tuple[Entry[ItemT], UUID]]:
    """Each entry with its customer. Who is named by an unknown identity is made; entries whose customer is
    named by an unknown id are left out.
    """
    claims = list({entry.claim.identity: entry.claim for entry in entries if entry.claim}.values())
    answers = await resolve_all(session, [Ask([claim]) for claim in claims], settings) if claims else []
    owners = {c.identity: a.customer_id for c, a in zip(claims, answers, strict=True) if a}
    ids = {entry.item.customer.id for entry in entries if entry.item.customer.id}
    known = await customers.existing(await raw(session), ids) if ids else set()
    found: list[tuple[Entry[ItemT], UUID]] = []
    for entry in entries:
        customer_id = owners.get(entry.claim.identity) if entry.claim else entry.item.customer.id
        if customer_id is not None and (entry.claim is not None or customer_id in known):
            found.append((entry, customer_id))
    return found


def in_events(items: Iterable[tuple[AnyT, int]]) -> Iterator[list[AnyT]]:
    """Parts of a list, given with each item's size in bytes, that fit into one event each."""
    part: list[AnyT] = []
    size = 0
    for item, item_bytes in items:
        if part and (len(part) == EVENT_ITEMS or size + item_bytes > EVENT_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += item_bytes
    if part:
        yield part


def _parse(
    items: Sequence[Any], model: type[ModelT], policy: Policy
) -> tuple[list[Entry[Any]], list[Rejected]]:
    entries: list[Entry[Any]] = []
    rejected: list[Rejected] = []
    for index, given in enumerate(items):
        if not isinstance(given, dict):
            rejected.append(Rejected(index=index, problem="must be an object"))
            continue
        try:
            item: Any = model.model_validate(given)
            entries.append(Entry(index, item, item.customer.claim(policy)))
        except ValidationError as error:
            rejected.append(Rejected(index=index, problem=_reason(error)))
        except UnfitIdentity as unfit:
            rejected.append(refuse(index, FieldError("/customer", str(unfit))))
    return entries, rejected


def _reason(error: ValidationError) -> str:
    """The first thing that does not fit, without its value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = pointer(["body", *first["loc"]])
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"[:300].removeprefix(": ")
