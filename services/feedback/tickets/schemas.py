"""What the ticket API takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.feedback.text.lexicon import Category
from services.feedback.text.rules import Severity
from services.feedback.tickets.rules import Kind, Sender, Status, Visibility
from services.feedback.times import Moment
from shared.contracts.handles import Handle
from shared.web.schemas import Schema

MAX_TEXT_CHARACTERS = 20_000

Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
HandleValue = Annotated[str, Field(min_length=1, max_length=320)]


class ExternalId(Schema):
    """An id in another system."""

    source: Annotated[str, Field(min_length=1, max_length=64)]
    id: HandleValue


class Contact(Schema):
    """Who said it, as far as it is known; profile finds or makes the customer from it."""

    name: Name | None = None
    email: HandleValue | None = None
    phone: HandleValue | None = None
    external_id: ExternalId | None = None

    def handles(self) -> tuple[Handle, ...]:
        """The contact as handles, in the order in which they identify best."""
        found = []
        if self.external_id is not None:
            found.append(
                Handle(kind="external_id", value=self.external_id.id, source=self.external_id.source)
            )
        if self.email is not None:
            found.append(Handle(kind="email", value=self.email))
        if self.phone is not None:
            found.append(Handle(kind="phone", value=self.phone))
        return tuple(found)


class NewTicket(Schema):
    """Feedback that somebody writes down: a call, a visit, an e-mail."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "complaint",
                    "channel": "phone",
                    "text": "The parcel never arrived.",
                    "contact": {"email": "lilei@example.com"},
                }
            ]
        }
    )

    kind: Kind
    channel: Annotated[str, Field(min_length=1, max_length=64)] = "api"
    text: Text
    rating: Annotated[float, Field(ge=1, le=5, description="Stars.")] | None = None
    customer_id: UUID | None = None
    contact: Contact | None = None
    occurred_at: Moment | None = None
    department: Name | None = None
    assignee: Name | None = None
    follow_up_of: UUID | None = Field(None, description="An earlier ticket that this one continues.")


class NewMessage(Schema):
    """A word to the customer, by the customer, or among ourselves."""

    text: Text
    visibility: Visibility = "public"
    sender: Sender = "agent"

    @model_validator(mode="after")
    def _customers_are_not_internal(self) -> Self:
        if self.sender == "customer" and self.visibility == "internal":
            raise ValueError("a customer's message is public")
        return self


class Assignment(Schema):
    """Who takes care of it. What is left out stays as it is; null takes it away."""

    assignee: Name | None = None
    department: Name | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name an assignee, a department or both")
        return self


class Transition(Schema):
    """A step in the ticket's life."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"to": "resolved", "comment": "A new parcel is on its way."}]}
    )

    to: Status
    comment: Text | None = None


class TicketView(BaseModel):
    """A ticket as lists show it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    customer_id: UUID | None
    follow_up_of: UUID | None
    partner: str | None
    source_id: str | None
    channel: str
    kind: Kind
    status: Status
    category: Category
    severity: Severity
    mood: float | None = Field(description="From -1 to 1; null when neither text nor rating said anything.")
    language: Literal["zh", "en"] | None
    text: str
    rating: float | None
    department: str | None
    assignee: str | None
    mentions: int = Field(description="How often this feedback was received.")
    version: int
    occurred_at: datetime
    opened_at: datetime
    updated_at: datetime
    first_response_at: datetime | None
    resolved_at: datetime | None
    closed_at: datetime | None


class Link(BaseModel):
    """How the customer was found; `rule` is `given` when the caller named them."""

    rule: str
    confidence: float
    at: datetime


class Step(BaseModel):
    """Something that happened to the ticket."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    at: datetime
    actor: str
    what: Literal["opened", "mentioned", "linked", "message", "assigned", "transition"]
    from_status: Status | None
    to_status: Status | None
    comment: str | None
    details: dict[str, Any]


class MessageView(BaseModel):
    """A message of a ticket."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    author: str
    sender: Sender
    visibility: Visibility
    text: str
    sent_at: datetime


class ContactView(BaseModel):
    """The contact as it was given."""

    name: str | None
    handles: list[Handle]


class ReadTerm(BaseModel):
    """A term that was found in the text, where, and what it said with which weight."""

    term: str
    start: int
    says: str
    value: float


class ReadingView(BaseModel):
    """Why category, severity and mood are what they are."""

    version: str | None = Field(description="The lexicon; null when the language was not recognised.")
    mood_source: Literal["text", "rating", "none"]
    category_confidence: float
    severity_reasons: list[str]
    terms: list[ReadTerm]


class TicketDetail(TicketView):
    """A ticket with everything about it. `contact` only for callers with pii:read."""

    contact: ContactView | None
    link: Link | None
    reading: ReadingView
    history: list[Step] = Field(description="The newest steps, in the order in which they happened.")
    messages: list[MessageView] = Field(description="The newest messages, in the order they were sent.")
