"""What the customers' API takes and gives."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, JsonValue, StringConstraints, model_validator

from services.profile.attributes.rules import MAX_BYTES, MAX_TEXT, NAME, NAME_PATTERN
from services.profile.identities.rules import MAX_GIVEN, Claim, Policy, UnfitIdentity, claim
from services.profile.values import Moment, SourceName, json_text
from shared.contracts.handles import HandleKind
from shared.problems import FieldError, Invalid
from shared.web.schemas import Schema

MAX_NAME = 200
MAX_HANDLES = 100
MAX_ATTRIBUTES = 200


def _fits(value: JsonValue) -> JsonValue:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"must not be longer than {MAX_TEXT} characters")
    if len(json_text(value)) > MAX_BYTES:
        raise ValueError(f"must not be larger than {MAX_BYTES} bytes")
    return value


def _not_reserved(name: str) -> str:
    if name == NAME:
        raise ValueError("has a field of its own")
    return name


Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
Given = Annotated[str, StringConstraints(min_length=1, max_length=MAX_GIVEN)]
AttributeName = Annotated[str, StringConstraints(pattern=NAME_PATTERN), AfterValidator(_not_reserved)]
Attributes = Annotated[
    dict[AttributeName, Annotated[JsonValue, AfterValidator(_fits)]], Field(max_length=MAX_ATTRIBUTES)
]


class IdentityIn(Schema):
    """Something a customer is recognised by, as it was given; normalised on the way in."""

    kind: HandleKind
    value: Given
    source: str = Field("", max_length=64, description="The system of an external id; empty otherwise.")
    verified: bool | None = Field(None, description="Left out: external ids are, addresses are not.")


class Handles(Schema):
    """The short way to name identities."""

    email: Given | None = None
    phone: Given | None = Field(None, description="E.164, or national in the deployment's default region.")
    external_ids: dict[str, Given] = Field({}, max_length=MAX_HANDLES, description="System to id.")

    def short(self) -> Iterator[tuple[str, IdentityIn]]:
        """Each with the JSON pointer to where it was given."""
        if self.email is not None:
            yield "/email", IdentityIn.model_construct(kind="email", value=self.email)
        if self.phone is not None:
            yield "/phone", IdentityIn.model_construct(kind="phone", value=self.phone)
        for source, value in self.external_ids.items():
            given = IdentityIn.model_construct(kind="external_id", value=value, source=source)
            yield f"/external_ids/{source}", given


class CustomerIn(Handles):
    """A new customer."""

    name: Name | None = None
    identities: list[IdentityIn] = Field([], max_length=MAX_HANDLES, description="The long way.")
    attributes: Attributes = {}
    source: SourceName = Field("api", description="Who says so; its trust decides between sources.")
    observed_at: Moment | None = Field(None, description="When it was seen; now, if left out.")

    def claims(self, policy: Policy) -> list[Claim]:
        """All identities, normalised. Raises Invalid, naming the fields that don't fit."""
        return claims_of([*self.short(), *_listed("/identities", self.identities)], policy)


class CustomerPatch(Schema):
    """Only what is named changes. A null says that there is no such value."""

    name: Name | None = None
    attributes: Attributes = {}
    source: SourceName = "api"
    observed_at: Moment | None = None


class ResolveIn(Handles):
    """Handles of somebody; at least one."""

    handles: list[IdentityIn] = Field([], max_length=MAX_HANDLES)
    name: Name | None = Field(None, description="Written down of whom it leads to, with little trust.")
    source: SourceName = "resolve"
    create: bool = Field(True, description="Whether to make a customer, and to add handles to a found one.")

    def claims(self, policy: Policy) -> list[Claim]:
        """All handles, normalised. Raises Invalid when there are none, or naming those that don't fit."""
        given = [*self.short(), *_listed("/handles", self.handles)]
        if not given:
            raise Invalid(errors=[FieldError("/handles", "at least one handle is needed")])
        return claims_of(given, policy)


class ExternalRef(Schema):
    """An id in another system."""

    source: str = Field(max_length=64)
    id: Given


class CustomerRef(Schema):
    """Who is meant, in exactly one way. By `id` they must exist, otherwise they are made when unknown."""

    model_config = {"json_schema_extra": {"minProperties": 1, "maxProperties": 1}}

    id: UUID | None = None
    external_id: ExternalRef | None = None
    email: Given | None = None
    phone: Given | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "CustomerRef":
        if sum(field is not None for field in (self.id, self.external_id, self.email, self.phone)) != 1:
            raise ValueError("needs exactly one of id, external_id, email, phone")
        return self

    def claim(self, policy: Policy) -> Claim | None:
        """The identity that names them; None when they are named by id.

        Raises:
            UnfitIdentity: not such a value, or one that names nobody.
        """
        if self.external_id is not None:
            return claim("external_id", self.external_id.id, self.external_id.source, policy)
        if self.email is not None:
            return claim("email", self.email, "", policy)
        if self.phone is not None:
            return claim("phone", self.phone, "", policy)
        return None


class IdentityOut(BaseModel):
    kind: HandleKind
    source: str | None = None
    value: str
    verified: bool


class CustomerOut(BaseModel):
    """A customer as they are shown; `attributes` holds the values that the survivorship rule chose."""

    id: UUID
    name: str | None
    identities: list[IdentityOut]
    attributes: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime


class Taken(BaseModel):
    """A handle that belongs to somebody else."""

    identity: IdentityOut
    customer_id: UUID


class ResolutionOut(BaseModel):
    """Whom the handles led to: by which rule, and how sure that is (0 to 1)."""

    customer_id: UUID
    created: bool
    rule: str
    confidence: float
    added: list[IdentityOut]
    elsewhere: list[Taken]
    refused: list[IdentityOut] = Field(description="Free, but beyond the customer's limit.")


class ValueOut(BaseModel):
    value: Any
    source: str
    trust: int
    observed_at: datetime


class AttributeOut(ValueOut):
    """The value shown of an attribute, the rule that chose it, and the values that lost."""

    name: str
    rule: Literal["most_trusted_then_most_recent"]
    others: list[ValueOut]


def claims_of(given: list[tuple[str, IdentityIn]], policy: Policy) -> list[Claim]:
    """Normalise, each identity once; it is verified if it was so in one place.

    Raises:
        Invalid: names every field that does not fit.
    """
    claims: dict[Any, Claim] = {}
    errors = []
    for pointer, wanted in given:
        try:
            made = claim(wanted.kind, wanted.value, wanted.source, policy, verified=wanted.verified)
        except UnfitIdentity as unfit:
            errors.append(FieldError(pointer, str(unfit)))
            continue
        before = claims.get(made.identity, made)
        claims[made.identity] = Claim(made.identity, made.verified or before.verified)
    if errors:
        raise Invalid(errors=errors)
    return list(claims.values())


def _listed(pointer: str, identities: list[IdentityIn]) -> Iterator[tuple[str, IdentityIn]]:
    for index, identity in enumerate(identities):
        yield f"{pointer}/{index}", identity
