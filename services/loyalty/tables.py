"""Loyalty's data at a glance, beside programme_tables.py. The DDL, with its reasons, is in migrations/."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Enum,
    LargeBinary,
    Numeric,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

HOLDERS = ("member", "pending", "hold")
HOUSE = ("partner", "issuer", "breakage")
TRANSFERS = (
    *("earning", "redemption", "adjustment"),
    *("expiry", "promotion", "hold", "release", "merge"),
)


class Base(SQLModel, registry=registry()):
    """Loyalty's own registry, so that its tables never meet another service's."""


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


def _number(*, nullable: bool = False) -> Column[int]:
    return Column(BigInteger, nullable=nullable)


def _text(*, nullable: bool = False) -> Column[str]:
    return Column(Text, nullable=nullable)


def _rate() -> Column[Decimal]:
    return Column(Numeric(18, 6), nullable=False)


class Account(Base, table=True):
    """Who holds points: a member, or the house (`balance` null: not kept here).

    The lifetime totals stand on the member account, whichever account points went through.
    """

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
    merged_into: UUID | None = None


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
    """Points that came in together and expire together; `open` while some are left."""

    __tablename__ = "lots"

    id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    account_id: int = Field(sa_column=_number())
    transfer_id: UUID
    points: int = Field(sa_column=_number())
    remaining: int = Field(sa_column=_number())
    earned_at: datetime = Field(sa_column=_moment())
    expires_at: datetime = Field(sa_column=_moment())
    cost_per_point: Decimal = Field(sa_column=Column(Numeric(20, 6), nullable=False))
    origin: UUID | None = None
    pending_until: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    hold: UUID | None = None
    open: bool | None = Field(sa_column=Column(Boolean, Computed("remaining > 0")))


class Use(Base, table=True):
    """How much a transfer took from a lot; negative where it put points back."""

    __tablename__ = "uses"

    transfer_id: UUID = Field(primary_key=True)
    lot_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    points: int = Field(sa_column=_number())


class Hold(Base, table=True):
    """Points set aside; `captured` says how many were spent when it was closed."""

    __tablename__ = "holds"

    id: UUID = Field(primary_key=True, foreign_key="transfers.id")
    points: int = Field(sa_column=_number())
    expires_at: datetime = Field(sa_column=_moment())
    captured: int | None = Field(sa_column=_number(nullable=True))
    closed_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))


class ExpiryNotice(Base, table=True):
    """A member was told of the points that expire on a day (UTC)."""

    __tablename__ = "expiry_notices"

    account_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    day: date = Field(primary_key=True)
    told_at: datetime = Field(sa_column=_moment())


class Waiver(Base, table=True):
    """Points of an earning that refunds have due and that the refund policy leaves with the member."""

    __tablename__ = "waivers"

    transfer_id: UUID = Field(primary_key=True, foreign_key="transfers.id")
    points: int = Field(sa_column=_number())


class Merge(Base, table=True):
    """Two customers that are one, and the lifetime totals that moved with the merged one."""

    __tablename__ = "merges"

    id: UUID = Field(primary_key=True)
    survivor: UUID
    merged: UUID
    earned: int = Field(sa_column=_number())
    spent: int = Field(sa_column=_number())
    owed: int = Field(sa_column=_number())
    merged_at: datetime = Field(sa_column=_moment())
    undone_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))


class Seal(Base, table=True):
    """A link of the hash chain over all transfers."""

    __tablename__ = "seals"

    position: int = Field(sa_column=Column(BigInteger, primary_key=True))
    transfer_id: UUID = Field(unique=True)
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


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


class LoyaltyPartner(Base, table=True):
    """Who issues our points for its own units, and takes our points for them."""

    __tablename__ = "loyalty_partners"

    id: UUID = Field(primary_key=True)
    name: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    callers: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    unit: str = Field(sa_column=_text())
    points_per_unit: Decimal = Field(sa_column=_rate())
    units_per_point: Decimal = Field(sa_column=_rate())
    issued_price: Decimal = Field(sa_column=_rate())
    accepted_price: Decimal = Field(sa_column=_rate())
    monthly_limit: int | None = Field(default=None, sa_column=_number(nullable=True))
    active: bool = True
    version: int = Field(default=1, sa_column=_number())
    created_at: datetime = Field(sa_column=_moment())


class PartnerMonth(Base, table=True):
    """What a partner has issued in a month, reversed or not."""

    __tablename__ = "partner_months"

    partner_id: UUID = Field(primary_key=True, foreign_key="loyalty_partners.id")
    month: date = Field(primary_key=True)
    issued: int = Field(sa_column=_number())


class PartnerDay(Base, table=True):
    """What moved on a partner's account on a closed day; later entries are numbered `next_entry` up."""

    __tablename__ = "partner_days"

    partner_id: UUID = Field(primary_key=True, foreign_key="loyalty_partners.id")
    day: date = Field(primary_key=True)
    issued: int = Field(sa_column=_number())
    issued_back: int = Field(sa_column=_number())
    issued_worth: Decimal = Field(sa_column=Column(Numeric, nullable=False))
    accepted: int = Field(sa_column=_number())
    accepted_back: int = Field(sa_column=_number())
    accepted_worth: Decimal = Field(sa_column=Column(Numeric, nullable=False))
    closing: int = Field(sa_column=_number())
    next_entry: int = Field(sa_column=_number())


class PartnerExchange(Base, table=True):
    """The partner's side of a transfer: its own units, and the rate at that time."""

    __tablename__ = "partner_exchanges"

    transfer_id: UUID = Field(primary_key=True)
    partner_id: UUID = Field(foreign_key="loyalty_partners.id")
    units: int = Field(sa_column=_number())
    rate: Decimal = Field(sa_column=_rate())
    price: Decimal = Field(sa_column=_rate())


class Reward(Base, table=True):
    """What points are spent on; `taken` of `stock` pieces are redeemed."""

    __tablename__ = "rewards"

    id: UUID = Field(primary_key=True)
    kind: str = Field(sa_column=_text())
    name: str = Field(sa_column=_text())
    description: str = Field(sa_column=_text())
    points: int = Field(sa_column=_number())
    tier_points: dict[str, int] = Field(sa_column=Column(JSONB, nullable=False))
    cost: int = Field(sa_column=_number())
    stock: int | None = Field(default=None, sa_column=_number(nullable=True))
    taken: int = Field(default=0, sa_column=_number())
    limit_per_customer: int | None = Field(default=None, sa_column=_number(nullable=True))
    starts_at: datetime = Field(sa_column=_moment())
    ends_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    partner_id: UUID | None = None
    campaign_id: UUID | None = None
    retired_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    version: int = Field(default=1, sa_column=_number())


class RewardRedemption(Base, table=True):
    """A reward that a customer took, and may have given back."""

    __tablename__ = "reward_redemptions"

    id: UUID = Field(primary_key=True)
    reward_id: UUID = Field(foreign_key="rewards.id")
    customer_id: UUID
    quantity: int = Field(sa_column=_number())
    points: int = Field(sa_column=_number())
    transfer_id: UUID = Field(unique=True)
    redeemed_at: datetime = Field(sa_column=_moment())
    cancelled_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    cancel_reason: str | None = Field(default=None, sa_column=_text(nullable=True))
    cancel_transfer_id: UUID | None = None


class CouponCampaign(Base, table=True):
    """What its coupons take off, and under which terms: `percent` or `amount`."""

    __tablename__ = "coupon_campaigns"

    id: UUID = Field(primary_key=True)
    name: str = Field(sa_column=_text())
    percent: Decimal | None = Field(default=None, sa_column=Column(Numeric(5, 2), nullable=True))
    amount: int | None = Field(default=None, sa_column=_number(nullable=True))
    currency: str | None = Field(default=None, sa_column=_text(nullable=True))
    minimum_spend: int = Field(sa_column=_number())
    most_off: int | None = Field(default=None, sa_column=_number(nullable=True))
    combinable: bool
    uses_per_code: int | None = Field(default=None, sa_column=_number(nullable=True))
    uses_per_customer: int | None = Field(default=None, sa_column=_number(nullable=True))
    starts_at: datetime = Field(sa_column=_moment())
    ends_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    version: int = Field(default=1, sa_column=_number())


class Coupon(Base, table=True):
    """One code; with a `customer_id` it is that customer's alone. `issue_id` names those made together."""

    __tablename__ = "coupons"

    code: str = Field(sa_column=Column(Text, primary_key=True))
    campaign_id: UUID = Field(foreign_key="coupon_campaigns.id")
    issue_id: UUID | None = None
    customer_id: UUID | None = None
    used: int = Field(default=0, sa_column=_number())
    issued_at: datetime = Field(sa_column=_moment())
    cancelled_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class CouponUse(Base, table=True):
    """A coupon redeemed on a basket, the caller's `reference`; released when the basket came to nothing."""

    __tablename__ = "coupon_uses"

    id: UUID = Field(primary_key=True)
    code: str = Field(sa_column=_text())
    campaign_id: UUID
    customer_id: UUID
    reference: str = Field(sa_column=_text())
    currency: str = Field(sa_column=_text())
    basket: int = Field(sa_column=_number())
    discount: int = Field(sa_column=_number())
    redeemed_at: datetime = Field(sa_column=_moment())
    released_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    idempotency_key: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    input_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class CouponRefusal(Base, table=True):
    """How often a customer or a caller was refused in an hour."""

    __tablename__ = "coupon_refusals"

    subject: str = Field(sa_column=Column(Text, primary_key=True))
    hour: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    refused: int = Field(sa_column=_number())


class CouponIssue(Base, table=True):
    """Codes that are made in bulk: how many are wanted, how many are there."""

    __tablename__ = "coupon_issues"

    id: UUID = Field(primary_key=True)
    campaign_id: UUID = Field(foreign_key="coupon_campaigns.id")
    wanted: int = Field(sa_column=_number())
    issued: int = Field(default=0, sa_column=_number())
    created_at: datetime = Field(sa_column=_moment())
    finished_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
