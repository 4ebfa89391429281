"""The feedback's data at a glance. The DDL, with the reasons for it, is in migrations/."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, DateTime, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    """The feedback's own registry, so that its tables never meet another service's."""


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


def _json() -> Column[Any]:
    return Column(JSONB, nullable=False)


class Ticket(Base, table=True):
    """One piece of feedback and what becomes of it; `version` is its entity tag.

    `mood` is None when neither text nor rating said anything; `reading` explains it. `linked_by` is the
    rule that found the customer, `given` when the caller named them.
    """

    __tablename__ = "tickets"
    __table_args__ = (UniqueConstraint("partner", "source_id"),)

    id: UUID = Field(primary_key=True)
    customer_id: UUID | None = None
    follow_up_of: UUID | None = Field(default=None, foreign_key="tickets.id")
    partner: str | None = None
    source_id: str | None = None
    channel: str
    kind: str
    text: str
    rating: float | None = None
    contact: list[dict[str, Any]] = Field(sa_column=_json())
    contact_name: str | None = None
    status: str = "new"
    language: str | None = None
    category: str
    severity: str
    mood: float | None = None
    reading: dict[str, Any] = Field(sa_column=_json())
    department: str | None = None
    assignee: str | None = None
    mentions: int = 1
    version: int = 1
    occurred_at: datetime = Field(sa_column=_moment())
    opened_at: datetime = Field(sa_column=_moment())
    updated_at: datetime = Field(sa_column=_moment())
    first_response_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    resolved_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    closed_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    linked_by: str | None = None
    linked_confidence: float | None = None
    linked_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class TicketReceipt(Base, table=True):
    """Which webhook became which ticket."""

    __tablename__ = "ticket_receipts"

    receipt_id: UUID = Field(primary_key=True)
    ticket_id: UUID = Field(foreign_key="tickets.id", index=True)


class TicketMessage(Base, table=True):
    """Something said about a ticket: to the customer, by the customer, or among ourselves."""

    __tablename__ = "ticket_messages"

    id: UUID = Field(primary_key=True)
    ticket_id: UUID = Field(foreign_key="tickets.id")
    author: str
    sender: str
    visibility: str
    text: str
    sent_at: datetime = Field(sa_column=_moment())


class TicketStep(Base, table=True):
    """Something that happened to a ticket; never changed."""

    __tablename__ = "ticket_history"

    id: UUID = Field(primary_key=True)
    ticket_id: UUID = Field(foreign_key="tickets.id")
    at: datetime = Field(sa_column=_moment())
    actor: str
    what: str
    from_status: str | None = None
    to_status: str | None = None
    comment: str | None = None
    details: dict[str, Any] = Field(sa_column=_json())


class Survey(Base, table=True):
    """A question and its scale; `questions` by language."""

    __tablename__ = "surveys"

    id: str = Field(primary_key=True)
    kind: str
    title: str
    questions: dict[str, str] = Field(sa_column=_json())
    lowest: int
    highest: int
    created_at: datetime = Field(sa_column=_moment())


class SurveyAnswer(Base, table=True):
    """One customer's answer; `mood` is read from the comment, None when it says nothing."""

    __tablename__ = "survey_answers"

    id: UUID = Field(primary_key=True)
    survey_id: str = Field(foreign_key="surveys.id")
    customer_id: UUID
    score: int
    comment: str | None = None
    mood: float | None = None
    touchpoint: str | None = None
    channel: str | None = None
    occurred_at: datetime = Field(sa_column=_moment())
    recorded_at: datetime = Field(sa_column=_moment())
