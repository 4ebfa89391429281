"""The gateway's data at a glance. The view's tables are below the edge's and the intake's."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Column, DateTime, LargeBinary, Text, UniqueConstraint
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
