"""The profile's data at a glance. The DDL, with the reasons for it, is in migrations/."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, SmallInteger, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    """The profile's own registry, so that its tables never meet another service's."""


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


def _json() -> Column[Any]:
    return Column(JSONB, nullable=False)


def _amount() -> Column[int]:
    return Column(BigInteger, nullable=False)


class Customer(Base, table=True):
    """The golden record; `version` is its entity tag."""

    __tablename__ = "customers"

    id: UUID = Field(primary_key=True)
    version: int = Field(sa_column=_amount())
    created_at: datetime = Field(sa_column=_moment())
    updated_at: datetime = Field(sa_column=_moment())


class IdentityRow(Base, table=True):
    """What a customer is recognised by, normalised; `source` is the system of an external id, else empty."""

    __tablename__ = "identities"

    kind: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    value: str = Field(primary_key=True)
    customer_id: UUID = Field(foreign_key="customers.id", index=True)
    verified: bool
    created_at: datetime = Field(sa_column=_moment())


class AttributeValue(Base, table=True):
    """What one source said; `rank` 0 is shown, the others lost."""

    __tablename__ = "attribute_values"

    customer_id: UUID = Field(primary_key=True, foreign_key="customers.id")
    name: str = Field(primary_key=True)
    rank: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    value: Any = Field(sa_column=_json())
    source: str
    trust: int = Field(sa_column=Column(SmallInteger, nullable=False))
    observed_at: datetime = Field(sa_column=_moment())


class SearchKey(Base, table=True):
    """What the search compares with the beginning of."""

    __tablename__ = "search_keys"

    key: str = Field(primary_key=True)
    customer_id: UUID = Field(primary_key=True, foreign_key="customers.id")


class Consent(Base, table=True):
    """One expression of will with its evidence; the latest per purpose and channel stands."""

    __tablename__ = "consents"

    id: UUID = Field(primary_key=True)
    customer_id: UUID = Field(foreign_key="customers.id")
    purpose: str
    channel: str
    status: str
    evidence: dict[str, Any] = Field(sa_column=_json())
    source: str
    occurred_at: datetime = Field(sa_column=_moment())
    expires_at: datetime | None = Field(sa_column=_moment(nullable=True))
    recorded_at: datetime = Field(sa_column=_moment())


class Activity(Base, table=True):
    """Something a customer did at a touchpoint; once per source and source_id, where there is one."""

    __tablename__ = "activities"
    __table_args__ = (UniqueConstraint("source", "source_id"),)

    id: UUID = Field(primary_key=True)
    customer_id: UUID = Field(foreign_key="customers.id")
    source: str
    source_id: str | None = None
    kind: str
    touchpoint: str | None = None
    channel: str | None = None
    stage: str | None = None
    details: dict[str, Any] = Field(sa_column=_json())
    occurred_at: datetime = Field(sa_column=_moment())
    recorded_at: datetime = Field(sa_column=_moment())


class Purchase(Base, table=True):
    """A purchase, amounts in minor units of `currency`; `refunded` is what was given back so far."""

    __tablename__ = "purchases"
    __table_args__ = (UniqueConstraint("source", "source_id"),)

    id: UUID = Field(primary_key=True)
    customer_id: UUID = Field(foreign_key="customers.id")
    source: str
    source_id: str
    currency: str
    amount: int = Field(sa_column=_amount())
    refunded: int = Field(sa_column=_amount())
    lines: list[dict[str, Any]] = Field(sa_column=_json())
    touchpoint: str | None = None
    channel: str | None = None
    occurred_at: datetime = Field(sa_column=_moment())
    recorded_at: datetime = Field(sa_column=_moment())


class Refund(Base, table=True):
    """Part or all of a purchase given back."""

    __tablename__ = "refunds"
    __table_args__ = (UniqueConstraint("source", "source_id"),)

    id: UUID = Field(primary_key=True)
    purchase_id: UUID = Field(foreign_key="purchases.id", index=True)
    source: str
    source_id: str | None = None
    amount: int = Field(sa_column=_amount())
    reason: str | None = None
    occurred_at: datetime = Field(sa_column=_moment())
    recorded_at: datetime = Field(sa_column=_moment())


class PurchaseTotal(Base, table=True):
    """The sums of a customer's purchases in one currency."""

    __tablename__ = "purchase_totals"

    customer_id: UUID = Field(primary_key=True, foreign_key="customers.id")
    currency: str = Field(primary_key=True)
    purchases: int = Field(sa_column=_amount())
    amount: int = Field(sa_column=_amount())
    refunded: int = Field(sa_column=_amount())
    first_at: datetime = Field(sa_column=_moment())
    last_at: datetime = Field(sa_column=_moment())
