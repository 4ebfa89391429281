"""What the models' API takes and gives."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from services.scoring.facts.histories import Unit
from services.scoring.models.catalogue import ModelKind
from services.scoring.tables import Model
from shared.web.schemas import Schema

Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["CNY"])]


class FitRequest(Schema):
    """How to fit. Everything may be left out."""

    unit: Unit = Field("week", description="Unit of time of a model of purchases.")
    currency: Currency | None = Field(
        None, description="Which spend a Gamma-Gamma is of; the one most customers buy in when left out."
    )


class PromoteRequest(Schema):
    """Which version should serve."""

    version: int = Field(ge=1, le=2**31 - 1)


class RollbackRequest(Schema):
    """Of models of spend, which one to go back from."""

    currency: Currency | None = Field(None, description="The newest one that serves when left out.")


class GroupOut(BaseModel):
    """Customers who are alike; means per customer over the hold-out."""

    name: str
    customers: int
    bought: float
    predicted: float
    heuristic: float = Field(description="Had they gone on at the rate they had shown.")


class QualityOut(BaseModel):
    """How well a fit to the calibration window predicted the hold-out after it."""

    customers: int
    calibration_end: date = Field(description="Last day that the judged fit learnt from.")
    error: float = Field(description="Mean absolute error: of purchases, or of a purchase's value.")
    heuristic_error: float = Field(description="That of going on as before.")
    rms_error: float = Field(description="Root mean squared error: what versions are compared by.")
    serving: str | None = Field(description="The model that served then.", examples=["bg_nbd/2"])
    serving_error: float | None = Field(description="Its root mean squared error on the same hold-out.")
    horizon: float | None = Field(None, description="Length of the hold-out in the model's unit.")
    groups: list[GroupOut] = Field(default=[], description="By repeat purchases before.")
    deciles: list[GroupOut] = Field(default=[], description="By what was predicted, least first.")


class DriftOut(BaseModel):
    """Purchases since the model's window: what it expected, and what came."""

    as_of: date
    predicted: float
    bought: float
    drifting: bool


class ModelOut(BaseModel):
    """A fitted model: what it came from and what it says."""

    id: UUID
    name: str = Field(description="Kind and version, as scores name it.", examples=["bg_nbd/3"])
    kind: ModelKind
    version: int
    serving: bool = Field(description="Whether scores are computed with it now.")
    unit: Unit | None = Field(description="Unit of time of alpha, recency, age and horizon.")
    currency: str | None = Field(description="Minor units of this currency are the unit of gamma.")
    params: dict[str, float]
    standard_errors: dict[str, float]
    log_likelihood: float
    customers: int = Field(description="How many customers it was fitted to.")
    window_from: date = Field(description="First day with a purchase in the data.")
    window_to: date = Field(description="The observation date of the data.")
    data_hash: str | None = Field(description="Of the numbers it was fitted to: equal data, equal hash.")
    quality: QualityOut | None = Field(description="Null when the data were too few or too short.")
    refund_rate: float = Field(description="Of models of spend: the share that customers give back.")
    cost_rate: float | None = Field(
        description="The share of what is left that it cost; null: unknown, the margin of the settings holds."
    )
    promotion: str = Field(description="Why it serves or does not.")
    drift: DriftOut | None = Field(description="Null while nothing has come since.")
    created_at: datetime

    @classmethod
    def of(cls, model: Model) -> "ModelOut":
        """The public form of a stored model."""
        return cls.model_validate(model.model_dump() | {"name": f"{model.kind}/{model.version}"})
