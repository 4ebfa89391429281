"""What is made of the scores, at a glance, beside the facts and scores in tables.py: churn, segments,
recommendations, actions, budgets and experiments.

The DDL, with its checks and the reasons, is in migrations/versions/0005 to 0009.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, REAL, BigInteger, Column, DateTime, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.scoring.tables import Base


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


def _big(*, nullable: bool = False) -> Column[int]:
    return Column(BigInteger, nullable=nullable)


def _json(*, nullable: bool = False) -> Column[Any]:
    return Column(JSONB, nullable=nullable)


class ChurnModel(Base, table=True):
    """A classifier of who leaves, as plain numbers, with the report that it was judged by."""

    __tablename__ = "churn_models"

    id: UUID = Field(primary_key=True)
    version: int
    kind: str
    label: str
    positive: str | None
    classifier: Any = Field(sa_column=_json())
    threshold: float | None
    report: Any = Field(sa_column=_json())
    customers: int
    data_hash: str
    as_of: date
    promotion: str
    serving: bool
    created_at: datetime = Field(sa_column=_moment())


class ChurnRisk(Base, table=True):
    """The risk of a customer to leave, from 0 to 1, and whether it is above the line."""

    __tablename__ = "churn_risks"

    customer_id: UUID = Field(primary_key=True)
    risk: float
    kind: str
    horizon_days: int | None
    threshold: float | None
    above: bool
    model: str
    reasons: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    as_of: date


class ChurnPass(Base, table=True):
    """How far a pass over everybody's risk has come, and what risks stand on."""

    __tablename__ = "churn_pass"

    only_one: bool = Field(primary_key=True)
    basis: str
    after: UUID | None
    pass_at: datetime = Field(sa_column=_moment())


class Segment(Base, table=True):
    """A rule that customers fit or do not."""

    __tablename__ = "segments"

    id: UUID = Field(primary_key=True)
    name: str
    description: str
    expression: str
    version: int
    created_at: datetime = Field(sa_column=_moment())
    changed_at: datetime = Field(sa_column=_moment())
    computed_at: datetime | None = Field(sa_column=_moment(nullable=True))
    deleted_at: datetime | None = Field(sa_column=_moment(nullable=True))


class SegmentMember(Base, table=True):
    """Who fits a rule, and since when."""

    __tablename__ = "segment_members"

    segment_id: UUID = Field(primary_key=True)
    customer_id: UUID = Field(primary_key=True)
    since: datetime = Field(sa_column=_moment())


class CustomerSegment(Base, table=True):
    """The named segment that was last told of a customer, and their cluster."""

    __tablename__ = "customer_segments"

    customer_id: UUID = Field(primary_key=True)
    rfm: str | None
    cluster: str | None
    profile: Any = Field(sa_column=_json(nullable=True))


class ClusterModel(Base, table=True):
    """Fitted clusters: scales, centroids, labels and profiles."""

    __tablename__ = "cluster_models"

    version: int = Field(primary_key=True)
    model: Any = Field(sa_column=_json())
    quality: Any = Field(sa_column=_json())
    customers: int
    next_label: int
    data_hash: str
    as_of: date
    created_at: datetime = Field(sa_column=_moment())


class SegmentWalk(Base, table=True):
    """How far a walk over everybody's segments has come."""

    __tablename__ = "segment_walk"

    only_one: bool = Field(primary_key=True)
    version: int
    as_of: date | None
    after: UUID | None
    began_at: datetime = Field(sa_column=_moment())


class Item(Base, table=True):
    """What is sold. `told`: somebody said what it is; else it is known from purchases alone."""

    __tablename__ = "items"

    number: int = Field(primary_key=True)
    sku: str
    category: str | None
    attributes: Any = Field(sa_column=_json())
    in_stock: bool
    repeatable: bool
    price: int | None = Field(sa_column=_big(nullable=True))
    currency: str | None
    told: bool
    version: int


class RecommendationModel(Base, table=True):
    """What was learnt of which items go together, and how it was judged."""

    __tablename__ = "recommendation_models"

    version: int = Field(primary_key=True)
    window_from: date
    window_to: date
    customers: int
    items: int
    pairs: int
    neighbours: int
    terms: Any = Field(sa_column=_json())
    groups: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    data_hash: str
    quality: Any = Field(sa_column=_json(nullable=True))
    seconds: float
    created_at: datetime = Field(sa_column=_moment())


class ItemNeighbour(Base, table=True):
    """An item that is bought together with another one, or is like it; both from 0 to 1."""

    __tablename__ = "item_neighbours"

    version: int = Field(primary_key=True)
    item: int = Field(primary_key=True)
    neighbour: int = Field(primary_key=True)
    together: float = Field(sa_column=Column(REAL, nullable=False))
    alike: float = Field(sa_column=Column(REAL, nullable=False))
    customers: int


class ItemPopularity(Base, table=True):
    """How much an item is bought of late, by everybody (grouping 0) or one group."""

    __tablename__ = "item_popularity"

    version: int = Field(primary_key=True)
    grouping: int = Field(primary_key=True)
    item: int = Field(primary_key=True)
    score: float = Field(sa_column=Column(REAL, nullable=False))


class RecommendationChange(Base, table=True):
    """Lines of purchases that came since items were last learnt of."""

    __tablename__ = "recommendation_changes"

    id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    lines: int
    at: datetime = Field(sa_column=_moment())


class Forecast(Base, table=True):
    """A forecast of demand: what it stands on and what it does not know."""

    __tablename__ = "forecasts"

    made_on: date = Field(primary_key=True)
    weeks: int
    purchase_model: str
    spend_models: Any = Field(sa_column=_json())
    customers: int
    unknown: Any = Field(sa_column=_json())
    created_at: datetime = Field(sa_column=_moment())


class ForecastWeek(Base, table=True):
    """Purchases or revenue (minor units) expected in a week, with bounds, and what came."""

    __tablename__ = "forecast_weeks"

    made_on: date = Field(primary_key=True)
    segment: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    measure: str = Field(primary_key=True)
    week_from: date = Field(primary_key=True)
    expected: float
    low: float | None
    high: float | None
    actual: float | None
    tracked_on: date | None


class ForecastMember(Base, table=True):
    """The segment and currency that a customer was counted in, from a day until another."""

    __tablename__ = "forecast_members"

    customer_id: UUID = Field(primary_key=True)
    since: date = Field(primary_key=True)
    until: date | None
    segment: str
    currency: str


class ActionSetup(Base, table=True):
    """How next actions are chosen, and how far a pass over all customers has come."""

    __tablename__ = "action_setup"

    only_one: bool = Field(primary_key=True)
    version: int
    catalogue: Any = Field(sa_column=_json())
    measured: Any = Field(sa_column=_json())
    after: UUID | None
    pass_at: datetime = Field(sa_column=_moment())


class NextAction(Base, table=True):
    """The best actions of a customer, the best first."""

    __tablename__ = "next_actions"

    customer_id: UUID = Field(primary_key=True)
    actions: Any = Field(sa_column=_json())


class ActionContact(Base, table=True):
    """What was recommended for a customer or done, and what became of it; `gain` in minor units."""

    __tablename__ = "action_contacts"

    id: UUID = Field(primary_key=True)
    customer_id: UUID
    action: str
    channel: str
    status: str
    gain: int | None = Field(sa_column=_big(nullable=True))
    at: datetime = Field(sa_column=_moment())
    expires_at: datetime | None = Field(sa_column=_moment(nullable=True))
    answered_at: datetime | None = Field(sa_column=_moment(nullable=True))


class BudgetPlan(Base, table=True):
    """A plan for a budget: as it was asked, how far it is, and what came out."""

    __tablename__ = "budget_plans"

    id: UUID = Field(primary_key=True)
    status: str
    request: Any = Field(sa_column=_json())
    progress: str
    attempts: int
    outcome: Any = Field(sa_column=_json(nullable=True))
    failure: str | None
    created_at: datetime = Field(sa_column=_moment())
    finished_at: datetime | None = Field(sa_column=_moment(nullable=True))


class BudgetAssignment(Base, table=True):
    """Who could get something by a plan: their arm and action; money in minor units."""

    __tablename__ = "budget_assignments"

    plan_id: UUID = Field(primary_key=True)
    customer_id: UUID = Field(primary_key=True)
    arm: str
    action: str | None
    gain: float
    cost: int = Field(sa_column=_big())


class BackgroundTurn(Base, table=True):
    """When long work may be begun again; see background.py."""

    __tablename__ = "background_turns"

    name: str = Field(primary_key=True)
    not_before: datetime = Field(sa_column=_moment())


class Experiment(Base, table=True):
    """An experiment as designed, its size, and what the last uplift models of it said."""

    __tablename__ = "experiments"

    id: UUID = Field(primary_key=True)
    version: int
    status: str
    design: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    size: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    created_at: datetime = Field(sa_column=_moment())
    started_at: datetime | None = Field(sa_column=_moment(nullable=True))
    begun_at: datetime | None = Field(sa_column=_moment(nullable=True))
    ends_at: datetime | None = Field(sa_column=_moment(nullable=True))
    stopped_at: datetime | None = Field(sa_column=_moment(nullable=True))
    uplift: dict[str, Any] | None = Field(sa_column=Column(JSONB))


class Exposure(Base, table=True):
    """Who was first exposed to which arm; `told_of` is who that was before a merge, where somebody else."""

    __tablename__ = "exposures"

    experiment_id: UUID = Field(primary_key=True)
    customer_id: UUID = Field(primary_key=True)
    told_of: UUID | None = Field(sa_column=Column(Uuid, primary_key=True, nullable=True))
    arm: int
    exposed_at: datetime = Field(sa_column=_moment())


class MeasuredUplift(Base, table=True):
    """What a finished experiment measured of an action, in the metric's unit."""

    __tablename__ = "measured_uplifts"

    action: str = Field(primary_key=True)
    metric: str = Field(primary_key=True)
    experiment_id: UUID = Field(primary_key=True)
    uplift: float
    low: float
    high: float
    customers: int
    measured_at: datetime = Field(sa_column=_moment())
