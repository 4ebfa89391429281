"""What the models' API takes and gives."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from services.scoring.facts.histories import Unit
from services.scoring.models.worker import ModelKind
from services.scoring.tables import Model
from shared.web.schemas import Schema

Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["CNY"])]


class FitRequest(Schema):
    """How to fit. Everything may be left out."""

    unit: Unit = Field("week", description="Unit of time of a BG/NBD.")
    currency: Currency | None = Field(
        None, description="Which spend a Gamma-Gamma is of; the one most customers buy in when left out."
    )


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
    created_at: datetime

    @classmethod
    def of(cls, model: Model) -> "ModelOut":
        """The public form of a stored model."""
        return cls.model_validate(model.model_dump() | {"name": f"{model.kind}/{model.version}"})
