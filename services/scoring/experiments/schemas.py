"""What the API of experiments takes and gives."""

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, field_validator, model_validator

from services.scoring.experiments.assignment import BUCKETS, edges, widths
from services.scoring.experiments.rules import METRICS, RFM_SEGMENTS, ArmKind, Metric, Status
from shared.web.schemas import Moment, SafeInt, Schema

MOST_ARMS = 10
MOST_IDS = 1_000

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["CNY"])]
Segment = Annotated[str | None, Field(description="Only customers of this RFM segment; null: all.")]
Alpha = Annotated[float, Field(ge=0.001, le=0.2, description="Chance of calling nothing an effect.")]
Power = Annotated[float, Field(ge=0.5, le=0.99, description="Chance of seeing the smallest effect.")]
OutcomeDays = Annotated[
    int | None,
    Field(
        ge=1,
        le=730,
        description="A customer's outcome is what happens within so many days after exposure, and counts "
        "once they are over; null: whatever has happened so far.",
    ),
]
MinimumEffect = Annotated[
    float | None,
    Field(ge=1e-9, le=1e12, description="Smallest effect that matters, in the unit of the first metric."),
]
Baseline = Annotated[
    float | None, Field(ge=-1e15, le=1e15, description="Expected mean of the metric in the control.")
]
Deviation = Annotated[
    float | None, Field(ge=1e-9, le=1e15, description="Its standard deviation; not of shares.")
]
PerDay = Annotated[
    float | None, Field(ge=1e-3, le=1e9, description="Customers exposed a day; counted when left out.")
]


class ArmIn(Schema):
    """One arm. Treatments are compared with the control, or with the hold-out when there is no control."""

    name: Slug
    share: float = Field(ge=1 / BUCKETS, lt=1)
    kind: ArmKind = "treatment"
    cost_per_contact: SafeInt = Field(0, ge=0, description="Minor units of the currency.")
    action: Slug | None = Field(
        None, description="The action that this arm gets; what is measured is kept for it."
    )


class ExperimentIn(Schema):
    """A new experiment; the first metric is the one it is decided by."""

    name: str = Field(min_length=1, max_length=200)
    hypothesis: str = Field("", max_length=2_000)
    arms: list[ArmIn] = Field(min_length=2, max_length=MOST_ARMS)
    metrics: list[Metric] = Field(["conversion"], min_length=1, max_length=len(METRICS))
    segment: Segment = None
    outcome_days: OutcomeDays = None
    retention_days: int = Field(30, ge=1, le=365)
    before_days: int = Field(
        90, ge=0, le=730, description="Spend of so many days before exposure sharpens the estimate; 0: none."
    )
    currency: Currency | None = Field(None, description="Of revenue and costs; the main one when left out.")
    margin: float | None = Field(None, gt=0, le=1, description="Share of revenue that is gain.")
    minimum_effect: MinimumEffect = None
    baseline: Baseline = None
    deviation: Deviation = None
    per_day: PerDay = None
    alpha: Alpha = 0.05
    power: Power = 0.8
    starts_at: Moment | None = Field(None, description="In the past: exposures come from elsewhere.")
    ends_at: Moment | None = None
    salt: str | None = Field(None, min_length=1, max_length=64, description="Made when left out.")

    @field_validator("segment")
    @classmethod
    def _known(cls, segment: str | None) -> str | None:
        return known_segment(segment)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("arms must have different names")
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError("metrics must be named once each")
        check_shares([arm.share for arm in self.arms])
        kinds = [arm.kind for arm in self.arms]
        if kinds.count("control") > 1 or kinds.count("hold_out") > 1:
            raise ValueError("there can be one control and one hold-out")
        if "treatment" not in kinds or len(set(kinds)) == 1:
            raise ValueError("arms must hold a treatment, and a control or hold_out to compare it with")
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValueError("ends_at must come after starts_at")
        if "retention" in self.metrics and self.outcome_days and self.outcome_days <= self.retention_days:
            raise ValueError("outcome_days must be more than retention_days for retention")
        return self

    @property
    def control(self) -> int:
        """The arm that the others are compared with."""
        kinds = [arm.kind for arm in self.arms]
        return kinds.index("control" if "control" in kinds else "hold_out")

    @property
    def shares(self) -> list[float]:
        """Each arm's share."""
        return [arm.share for arm in self.arms]


class ExperimentPatch(Schema):
    """What may be changed of a draft; what is left out stays."""

    name: str | None = None
    hypothesis: str | None = None
    arms: list[ArmIn] | None = None
    metrics: list[Metric] | None = None
    segment: str | None = None
    outcome_days: int | None = None
    retention_days: int | None = None
    before_days: int | None = None
    currency: str | None = None
    margin: float | None = None
    minimum_effect: float | None = None
    baseline: float | None = None
    deviation: float | None = None
    per_day: float | None = None
    alpha: float | None = None
    power: float | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    salt: str | None = None


class SizeIn(Schema):
    """What to reckon a size of. Baseline and deviation are taken from what customers did when left out."""

    metric: Metric = "conversion"
    minimum_effect: float = Field(ge=1e-9, le=1e12, description="In the metric's unit: 0.01 is one point.")
    baseline: Baseline = None
    deviation: Deviation = None
    shares: list[float] = Field([0.5, 0.5], min_length=2, max_length=MOST_ARMS, description="Control first.")
    segment: Segment = None
    outcome_days: OutcomeDays = 28
    currency: Currency | None = None
    per_day: PerDay = None
    alpha: Alpha = 0.05
    power: Power = 0.8

    @field_validator("segment")
    @classmethod
    def _known(cls, segment: str | None) -> str | None:
        return known_segment(segment)

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: list[float]) -> list[float]:
        check_shares(shares)
        return shares


class SizeOut(BaseModel):
    """How many customers an experiment needs, in all arms together."""

    metric: Metric
    baseline: float
    deviation: float | None
    known_from: Literal["given", "history"]
    minimum_effect: float
    once: int = Field(description="For a result that is read once, at the end.")
    any_time: int = Field(description="For one that may be read at any time, as ours are.")
    per_day: float | None
    days_once: int | None = Field(description="At that many customers a day; null when none come.")
    days_any_time: int | None
    formula: str


class ArmOut(ArmIn):
    """An arm, and the buckets it takes: from `first_bucket` to `last_bucket`."""

    first_bucket: int
    last_bucket: int


class ExperimentOut(BaseModel):
    """An experiment as it was designed, how it stands, and how many customers it needs."""

    id: UUID
    version: int
    status: Status
    design: ExperimentIn
    arms: list[ArmOut]
    size: SizeOut | None = Field(description="Null while no smallest effect is given.")
    created_at: datetime
    started_at: datetime | None
    ends_at: datetime | None
    stopped_at: datetime | None


class AssignmentIn(Schema):
    """Up to 1,000 customers to assign."""

    customer_ids: list[UUID] = Field(min_length=1, max_length=MOST_IDS)


class AssignmentOut(BaseModel):
    """A customer's arm. No arm: they are not of the audience, are not known, or came too late."""

    customer_id: UUID
    arm: str | None
    kind: ArmKind | None
    exposed_at: datetime | None
    why_none: str | None = None


class AssignmentsOut(BaseModel):
    """The arms of many customers, in the order they were asked for."""

    items: list[AssignmentOut]


class ExposureIn(Schema):
    """Somebody was exposed elsewhere; without an arm it is the one that the hash says."""

    customer_id: UUID
    exposed_at: Moment
    arm: Slug | None = None


class ExposuresIn(Schema):
    """Up to 1,000 exposures."""

    items: list[ExposureIn] = Field(min_length=1, max_length=MOST_IDS)


class Rejected(BaseModel):
    """An item that was not taken, counted from 0, and why."""

    index: int
    problem: str


class ExposuresOut(BaseModel):
    """How many were new, known already, or not taken."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]


def known_segment(segment: str | None) -> str | None:
    """Refuse a segment that there is not.

    Raises:
        ValueError: names those there are.
    """
    if segment is not None and segment not in RFM_SEGMENTS:
        raise ValueError(f"must be one of {', '.join(sorted(RFM_SEGMENTS))}")
    return segment


def check_shares(shares: list[float]) -> None:
    """Refuse shares that are not of one whole.

    Raises:
        ValueError: says what is wrong.
    """
    if abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares must sum to 1, not {sum(shares):g}")
    if not all(share > 0 for share in widths(shares)):
        raise ValueError(f"a share must be at least 1/{BUCKETS}")


def arms_out(design: ExperimentIn) -> list[ArmOut]:
    """The arms with their buckets."""
    bounds = pairwise([0, *edges(design.shares)])
    return [
        ArmOut(**arm.model_dump(), first_bucket=first, last_bucket=end - 1)
        for arm, (first, end) in zip(design.arms, bounds, strict=True)
    ]
