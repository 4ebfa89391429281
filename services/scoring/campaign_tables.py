"""What is made of the scores, at a glance, beside the facts and scores in tables.py: churn, segments,
recommendations, actions, budgets and experiments.

The DDL, with its checks and the reasons, is in migrations/versions/0005 to 0009.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.scoring.tables import Base


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


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
    told_of: UUID | None = Field(primary_key=True)
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
