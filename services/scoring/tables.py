"""The scoring service's data at a glance. The DDL, with the reasons for it, is in migrations/.

Facts are derived from what happened alone: `purchases`, `refunds`, `tickets`, `survey_answers`,
`registrations` and `told_standings`; scores from facts, models and cuts alone. In each of those
`customer_id` is whose it is now, `told_of` whom the event named where that was somebody else, merged since.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Integer, Numeric, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    """Scoring's own registry, so that its tables never meet another service's."""


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


def _big(*, nullable: bool = False) -> Column[int]:
    return Column(BigInteger, nullable=nullable)


class Purchase(Base, table=True):
    """A purchase; `amount` in minor units of `currency`."""

    __tablename__ = "purchases"

    id: UUID = Field(primary_key=True)
    customer_id: UUID
    amount: int = Field(sa_column=_big())
    currency: str
    occurred_at: datetime = Field(sa_column=_moment())
    cost: int | None = Field(sa_column=_big(nullable=True))
    touchpoint: str | None
    channel: str | None
    told_of: UUID | None


class PurchaseLine(Base, table=True):
    """A line of a purchase, in its order."""

    __tablename__ = "purchase_lines"

    purchase_id: UUID = Field(primary_key=True)
    line: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    sku: str
    category: str | None
    quantity: int
    amount: int = Field(sa_column=_big())
    cost: int | None = Field(sa_column=_big(nullable=True))


class Refund(Base, table=True):
    """Money given back for a purchase, which may be known later than its refund."""

    __tablename__ = "refunds"

    id: UUID = Field(primary_key=True)
    purchase_id: UUID
    amount: int = Field(sa_column=_big())
    occurred_at: datetime = Field(sa_column=_moment())
    customer_id: UUID | None
    told_of: UUID | None


class Ticket(Base, table=True):
    """A ticket as it last stood, said by the event `told_by` at `told_at`."""

    __tablename__ = "tickets"

    id: UUID = Field(primary_key=True)
    customer_id: UUID | None
    kind: str
    mood: Decimal = Field(sa_column=Column(Numeric, nullable=False))
    status: str
    told_at: datetime = Field(sa_column=_moment())
    told_by: UUID
    category: str
    severity: str
    breached: bool
    told_of: UUID | None
    opened_at: datetime | None = Field(sa_column=_moment(nullable=True))


class SurveyAnswer(Base, table=True):
    """An answer to a survey of kind nps, csat or ces."""

    __tablename__ = "survey_answers"

    id: UUID = Field(primary_key=True)
    customer_id: UUID
    kind: str
    score: int
    occurred_at: datetime = Field(sa_column=_moment())
    told_of: UUID | None


class ToldAttribute(Base, table=True):
    """An attribute as it was last told of a customer; the view customer_attributes shows what stands."""

    __tablename__ = "told_attributes"

    customer_id: UUID = Field(primary_key=True)
    told_of: UUID | None
    name: str = Field(primary_key=True)
    value: Any = Field(sa_column=Column(JSONB))
    told_at: datetime = Field(sa_column=_moment())
    told_by: UUID


class ToldConsent(Base, table=True):
    """A customer's latest will; the view consents shows what stands."""

    __tablename__ = "told_consents"

    customer_id: UUID = Field(primary_key=True)
    told_of: UUID | None
    purpose: str = Field(primary_key=True)
    channel: str = Field(primary_key=True)
    status: str
    occurred_at: datetime = Field(sa_column=_moment())
    told_by: UUID


class ToldStanding(Base, table=True):
    """Tier or points as loyalty last told them; the view loyalty_standings shows both."""

    __tablename__ = "told_standings"

    customer_id: UUID = Field(primary_key=True)
    told_of: UUID | None
    what: str = Field(primary_key=True)
    tier: str | None
    points: int | None = Field(sa_column=_big(nullable=True))
    told_at: datetime = Field(sa_column=_moment())
    told_by: UUID


class Registration(Base, table=True):
    """Since when a customer is known."""

    __tablename__ = "registrations"

    customer_id: UUID = Field(primary_key=True)
    told_of: UUID | None
    registered_at: datetime = Field(sa_column=_moment())


class MergeTold(Base, table=True):
    """A merge of two customers; an undone one stays, for when it is heard late."""

    __tablename__ = "merges"

    merge_id: UUID = Field(primary_key=True)
    survivor_id: UUID
    merged_id: UUID
    undone: bool


class Owner(Base, table=True):
    """A customer who is not themselves: merged into the owner, or forgotten where there is none."""

    __tablename__ = "owners"

    customer_id: UUID = Field(primary_key=True)
    owner: UUID | None


class CustomerFacts(Base, table=True):
    """Sufficient statistics of a customer as of the observation date; see the migration for each column."""

    __tablename__ = "customer_facts"

    customer_id: UUID = Field(primary_key=True)
    registered_at: datetime | None = Field(sa_column=_moment(nullable=True))
    purchases: int
    refunds: int
    days: int
    first_on: date | None
    last_on: date | None
    currency: str | None
    spend: int | None = Field(sa_column=_big(nullable=True))
    currency_days: int | None
    repeat_days: int | None
    repeat_spend: int | None = Field(sa_column=_big(nullable=True))
    other_spend: list[dict[str, Any]] | None = Field(sa_column=Column(JSONB))
    later: int
    next_on: date | None
    tickets: int
    open_tickets: int
    complaints: int
    mood: Decimal | None = Field(sa_column=Column(Numeric))
    nps: int | None
    csat: int | None
    ces: int | None
    repeat_gross: int | None = Field(sa_column=_big(nullable=True))
    gap_mean: float | None
    gap_deviation: float | None
    channels: dict[str, int] | None = Field(sa_column=Column(JSONB))
    hours: list[int] | None = Field(sa_column=Column(ARRAY(Integer)))
    complaint_categories: dict[str, int] | None = Field(sa_column=Column(JSONB))
    severe_tickets: int
    breaches: int
    tier: str | None
    points: int | None = Field(sa_column=_big(nullable=True))


class Model(Base, table=True):
    """A fitted model. `unit` is of time in models of purchases; `currency` (minor units) in those of spend.

    `quality`, `promotion`, `replaced` and `drift` are told in migration 0002.
    """

    __tablename__ = "models"

    id: UUID = Field(primary_key=True)
    kind: str
    version: int
    unit: str | None
    currency: str | None
    params: dict[str, float] = Field(sa_column=Column(JSONB, nullable=False))
    standard_errors: dict[str, float] = Field(sa_column=Column(JSONB, nullable=False))
    log_likelihood: float
    customers: int
    window_from: date
    window_to: date
    serving: bool
    covariance: list[list[float]] = Field(sa_column=Column(JSONB, nullable=False))
    data_hash: str | None
    quality: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    promotion: str
    replaced: UUID | None
    drift: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    refund_rate: float
    cost_rate: float | None
    created_at: datetime = Field(sa_column=_moment())


class RfmCuts(Base, table=True):
    """Cut points of recency, frequency and, per currency, money, over all buyers."""

    __tablename__ = "rfm_cuts"

    as_of: date = Field(primary_key=True)
    recency: list[int] = Field(sa_column=Column(ARRAY(Integer), nullable=False))
    frequency: list[int] = Field(sa_column=Column(ARRAY(Integer), nullable=False))
    monetary: dict[str, list[int]] = Field(sa_column=Column(JSONB, nullable=False))


class RfmSetup(Base, table=True):
    """The one row of cuts and weights that were set."""

    __tablename__ = "rfm_setup"

    only_one: bool = Field(primary_key=True)
    version: int
    setup: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))


class RfmHistory(Base, table=True):
    """A day on which a customer came to score differently."""

    __tablename__ = "rfm_history"

    customer_id: UUID = Field(primary_key=True)
    as_of: date = Field(primary_key=True)
    recency_score: int | None = Field(sa_column=Column(SmallInteger))
    frequency_score: int | None = Field(sa_column=Column(SmallInteger))
    monetary_score: int | None = Field(sa_column=Column(SmallInteger))
    segment: str | None


class Typical(Base, table=True):
    """What customers of a segment come to on the average; the empty one: all buyers."""

    __tablename__ = "typical"

    segment: str = Field(primary_key=True)
    customers: int
    p_alive: float | None
    expected_purchases: float | None
    clv: int | None = Field(sa_column=_big(nullable=True))
    currency: str | None
    horizon_days: int
    modelled: bool
    as_of: date


class FactChange(Base, table=True):
    """A batch of facts changed; the cuts want computing again."""

    __tablename__ = "fact_changes"

    id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    at: datetime = Field(sa_column=_moment())


class Basis(Base, table=True):
    """The one row that says what scores stand on besides facts and models."""

    __tablename__ = "basis"

    only_one: bool = Field(primary_key=True)
    as_of: date
    words: str


class CustomerScores(Base, table=True):
    """A customer's scores; null where the facts or a model are missing, `unknown` says why."""

    __tablename__ = "customer_scores"

    customer_id: UUID = Field(primary_key=True)
    as_of: date
    horizon_days: int
    recency_score: int | None = Field(sa_column=Column(SmallInteger))
    frequency_score: int | None = Field(sa_column=Column(SmallInteger))
    monetary_score: int | None = Field(sa_column=Column(SmallInteger))
    segment: str | None
    weighted_score: float | None
    p_alive: float | None
    expected_purchases: float | None
    clv: int | None = Field(sa_column=_big(nullable=True))
    purchase_kind: str
    purchase_model: int | None
    spend_model: int | None
    unknown: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))


class Walk(Base, table=True):
    """A walk over all customers, done a chunk at a time in the background."""

    __tablename__ = "walks"

    id: UUID = Field(primary_key=True)
    kind: str
    reason: str
    after: UUID
    customers: int
    changed: int
    created_at: datetime = Field(sa_column=_moment())
    finished_at: datetime | None = Field(sa_column=_moment(nullable=True))


class Referral(Base, table=True):
    """A friend that a customer brought."""

    __tablename__ = "referrals"

    id: UUID = Field(primary_key=True)
    customer_id: UUID
    told_of: UUID | None
    occurred_at: datetime | None = Field(sa_column=_moment(nullable=True))


class ValueIndexSetup(Base, table=True):
    """The one row that says how the value index is made, and how far a pass over all has come."""

    __tablename__ = "value_index_setup"

    only_one: bool = Field(primary_key=True)
    version: int
    setup: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    scales: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    after: UUID | None
    pass_at: datetime = Field(sa_column=_moment())


class ValueIndex(Base, table=True):
    """A customer's value index from 0 to 1, its parts, and what moved it last."""

    __tablename__ = "value_indexes"

    customer_id: UUID = Field(primary_key=True)
    value: float
    grade: str
    parts: dict[str, float] = Field(sa_column=Column(JSONB, nullable=False))
    moved: str | None
    moved_by: float | None


class Due(Base, table=True):
    """A customer of whom a piece of work wants doing anew; see due.py."""

    __tablename__ = "due"

    work: str = Field(primary_key=True)
    id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    customer_id: UUID
