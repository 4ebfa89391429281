"""What the actions' API takes and gives."""

from dataclasses import replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.scoring.actions.rules import DEFAULTS, Action, Kind
from shared.web.schemas import SafeInt, Schema


class ActionIn(Schema):
    """One entry of the catalogue; what is left out is as it comes with the product."""

    cost: SafeInt | None = Field(None, ge=0, description="What one costs, in minor units of `currency`.")
    currency: str | None = Field(None, pattern="^[A-Z]{3}$")
    channel: str | None = Field(None, min_length=1, max_length=64, pattern=r"^[a-z0-9_.-]+$")
    purpose: str | None = Field(
        None, min_length=1, max_length=64, pattern=r"^[a-z0-9_.-]+$", description="What consent is asked for."
    )
    assumed_uplift: float | None = Field(
        None, ge=0, le=1, description="The share of the value at stake that it is thought to keep or win."
    )
    cooldown_days: int | None = Field(None, ge=0, le=3650)
    enabled: bool = True
    offer: str | None = Field(None, min_length=1, max_length=200)

    def action(self, kind: Kind) -> Action:
        """As the rules want it."""
        return replace(DEFAULTS[kind], **self.model_dump(exclude_none=True))


class ActionOut(BaseModel):
    """One entry of the catalogue as it counts now."""

    kind: Kind
    cost: int
    currency: str
    channel: str
    purpose: str
    assumed_uplift: float
    measured_uplift: float | None = Field(description="By an experiment; stands in for the assumption.")
    experiment: str | None
    cooldown_days: int
    enabled: bool
    offer: str | None

    @classmethod
    def of(cls, kind: Kind, action: Action) -> "ActionOut":
        """The public form of an entry."""
        return cls(
            kind=kind,
            cost=action.cost,
            currency=action.currency,
            channel=action.channel,
            purpose=action.purpose,
            assumed_uplift=action.assumed_uplift,
            measured_uplift=action.measured,
            experiment=action.experiment,
            cooldown_days=action.cooldown_days,
            enabled=action.enabled,
            offer=action.offer,
        )


class CatalogueOut(BaseModel):
    """All that could be done for a customer; doing nothing is always possible and costs nothing."""

    version: int
    items: list[ActionOut]


class CandidateOut(BaseModel):
    """What could be done for a customer: whether it may be, what it brings, and why."""

    action: Kind | Literal["nothing"]
    eligible: bool
    gain: float = Field(description="Expected, in minor units: uplift × value at stake - cost.")
    cost: int
    cost_currency: str | None
    value_at_stake: float | None
    uplift: float | None
    channel: str | None
    offer: str | None
    reasons: list[str]


class NextActionsOut(BaseModel):
    """What could be done next for a customer, the best first."""

    customer_id: UUID
    currency: str | None = Field(description="Of values and gains.")
    best: Kind | Literal["nothing"]
    recommended: Kind | None = Field(description="What has been recommended and is not answered yet.")
    candidates: list[CandidateOut]


class AnswerIn(Schema):
    """Which action was accepted or declined."""

    action: Kind


class AnswerOut(BaseModel):
    """What was recorded."""

    id: UUID
    customer_id: UUID
    action: Kind
    status: Literal["accepted", "declined"]
    at: datetime
