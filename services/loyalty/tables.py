"""Loyalty's data at a glance. The DDL, with its checks, triggers and the reasons, is in migrations/."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, Enum, LargeBinary, Numeric, Text, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

HOLDERS = ("member", "pending", "hold")
HOUSE = ("partner", "issuer", "breakage")
TRANSFERS = ("earning", "redemption", "adjustment")


class Base(SQLModel, registry=registry()):
    """Loyalty's own registry, so that its tables never meet another service's."""


def _moment() -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=False)


def _number(*, nullable: bool = False) -> Column[int]:
    return Column(BigInteger, nullable=nullable)


def _text(*, nullable: bool = False) -> Column[str]:
    return Column(Text, nullable=nullable)


class Account(Base, table=True):
    """Who holds points: a member's available points, or the house (`balance` null: not kept here)."""

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("kind", "owner"),)

    id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    kind: str = Field(sa_column=Column(Enum(*HOLDERS, *HOUSE, name="account_kind"), nullable=False))
    owner: UUID
    balance: int | None = Field(sa_column=_number(nullable=True))
    earned: int = Field(sa_column=_number())
    spent: int = Field(sa_column=_number())
    owed: int = Field(sa_column=_number())
    opened_at: datetime = Field(sa_column=_moment())


class Transfer(Base, table=True):
    """A movement of points and its reason; `reverses` names the transfer that it undoes, in whole or part."""

    __tablename__ = "transfers"

    id: UUID = Field(primary_key=True)
    kind: str = Field(sa_column=Column(Enum(*TRANSFERS, name="transfer_kind"), nullable=False))
    points: int = Field(sa_column=_number())
    reason: str = Field(sa_column=_text())
    rule: str | None = Field(sa_column=_text(nullable=True))
    arithmetic: str | None = Field(sa_column=_text(nullable=True))
    actor: str = Field(sa_column=_text())
    event_id: UUID | None = None
    occurred_at: datetime = Field(sa_column=_moment())
    posted_at: datetime = Field(sa_column=_moment())
    posted_in: int = Field(sa_column=_number())
    reverses: UUID | None = Field(None, foreign_key="transfers.id")
    reversed_before: int | None = Field(sa_column=_number(nullable=True))
    idempotency_key: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    input_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Entry(Base, table=True):
    """One side of a transfer. `balance` is the account's after it; null for the house."""

    __tablename__ = "entries"

    id: int = Field(sa_column=_number())
    transfer_id: UUID = Field(primary_key=True)
    account_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    points: int = Field(sa_column=_number())
    balance: int | None = Field(sa_column=_number(nullable=True))


class Lot(Base, table=True):
    """Points that came in together and expire together."""

    __tablename__ = "lots"

    id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    account_id: int = Field(sa_column=_number())
    transfer_id: UUID
    points: int = Field(sa_column=_number())
    remaining: int = Field(sa_column=_number())
    earned_at: datetime = Field(sa_column=_moment())
    expires_at: datetime = Field(sa_column=_moment())
    cost_per_point: Decimal = Field(sa_column=Column(Numeric(20, 6), nullable=False))


class Use(Base, table=True):
    """How much a transfer took from a lot; negative where it put points back."""

    __tablename__ = "uses"

    transfer_id: UUID = Field(primary_key=True)
    lot_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    points: int = Field(sa_column=_number())


class Refund(Base, table=True):
    """A refund that was heard of, before or after its purchase."""

    __tablename__ = "refunds"

    refund_id: UUID = Field(primary_key=True)
    purchase_id: UUID
    customer_id: UUID
    amount: int = Field(sa_column=_number())
    purchase_amount: int = Field(sa_column=_number())
    occurred_at: datetime = Field(sa_column=_moment())
    event_id: UUID
