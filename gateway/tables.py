"""The gateway's data at a glance. The view's tables are below the edge's and the intake's."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, LargeBinary, SmallInteger, Text, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    """The gateway's own registry, so that its tables never meet another service's."""


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


class ApiKey(Base, table=True):
    """A caller. Only the SHA-256 of the key is kept; `prefix` is what people recognise it by."""

    __tablename__ = "api_keys"

    id: UUID = Field(primary_key=True)
    prefix: str
    key_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    name: str
    role: str
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    partner: str | None = None
    created_by: str
    created_at: datetime = Field(sa_column=_moment())
    expires_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    revoked_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    last_used_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class Partner(Base, table=True):
    """Who may send webhooks to /webhooks/{name}."""

    __tablename__ = "partners"

    name: str = Field(primary_key=True)
    scheme: str
    created_at: datetime = Field(sa_column=_moment())
    disabled_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class PartnerSecret(Base, table=True):
    """A partner's webhook secret, encrypted. After a rotation the old one verifies until `retires_at`."""

    __tablename__ = "partner_secrets"

    id: UUID = Field(primary_key=True)
    partner: str = Field(foreign_key="partners.name")
    sealed: bytes
    created_at: datetime = Field(sa_column=_moment())
    retires_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class Receipt(Base, table=True):
    """A verified webhook. The body is kept only while it is quarantined."""

    __tablename__ = "receipts"
    __table_args__ = (UniqueConstraint("partner", "webhook_id"),)

    id: UUID = Field(primary_key=True)
    partner: str
    webhook_id: str
    status: str
    reason: str | None = None
    body: bytes | None = None
    received_at: datetime = Field(sa_column=_moment())
    mended_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class ViewSection(Base, table=True):
    """What one service shows of a customer, as JSON text; a null body is kept so that nothing old returns."""

    __tablename__ = "view_sections"

    customer_id: UUID = Field(primary_key=True)
    section: str = Field(primary_key=True)
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    as_of: datetime = Field(sa_column=_moment())
    body: str | None = None


class ViewIdentity(Base, table=True):
    """Whose a handle is; `handle` is a digest (gateway/view/identities.py)."""

    __tablename__ = "view_identities"

    handle: bytes = Field(primary_key=True)
    customer_id: UUID = Field(primary_key=True)


class TimelineLine(Base, table=True):
    """One thing that happened to a customer; `position` counts their lines as they were committed."""

    __tablename__ = "timeline"
    __table_args__ = (UniqueConstraint("customer_id", "position"),)

    event_id: UUID = Field(primary_key=True)
    item: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    customer_id: UUID
    position: int = Field(sa_column=Column(BigInteger, nullable=False))
    type: str
    occurred_at: datetime = Field(sa_column=_moment())
    recorded_at: datetime = Field(sa_column=_moment())
    summary: str


class TimelineHead(Base, table=True):
    """The last position given to a customer."""

    __tablename__ = "timeline_heads"

    customer_id: UUID = Field(primary_key=True)
    position: int = Field(sa_column=Column(BigInteger, nullable=False))


class TimelineTicket(Base, table=True):
    """Whose a ticket is, as far as events have said."""

    __tablename__ = "timeline_tickets"

    ticket_id: UUID = Field(primary_key=True)
    customer_id: UUID | None = None


class TimelineWaiting(Base, table=True):
    """A line about a ticket that has no customer yet."""

    __tablename__ = "timeline_waiting"

    event_id: UUID = Field(primary_key=True)
    item: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    ticket_id: UUID
    type: str
    occurred_at: datetime = Field(sa_column=_moment())
    recorded_at: datetime = Field(sa_column=_moment())
    summary: str
