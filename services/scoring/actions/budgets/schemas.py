"""What the budgets' API takes and gives. Money in minor units."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, field_validator, model_validator

from services.scoring.actions.budgets.rules import PRIORITIES, Priority, weights_of
from services.scoring.actions.rules import KINDS, Kind
from services.scoring.value.schemas import Segment
from services.scoring.value_index.ahp import Judgement
from shared.web.schemas import SafeInt, Schema

Status = Literal["running", "done", "failed", "cancelled"]
Money = Annotated[SafeInt, Field(ge=0)]
MOST_BUDGET = 10**13  # what doubles still count in steps of far less than one minor unit


class PlannedAction(Schema):
    """An action that the budget may be spent on."""

    kind: Kind
    capacity: Money | None = Field(None, description="At most so many customers; null: as many as pay.")
    cost: Annotated[int, Field(ge=0, le=MOST_BUDGET)] | None = Field(
        None, description="Of one, in the plan's currency; null: as in the catalogue."
    )


class PriorityComparison(Schema):
    """`more` matters `ratio` times as much as `less`, on Saaty's scale: 1 equally, 9 extremely more."""

    more: Priority
    less: Priority
    ratio: float = Field(ge=1 / 9, le=9)


class Priorities(Schema):
    """Whose gains count for more, by weights or by comparisons of two at a time."""

    weights: dict[Priority, Annotated[float, Field(ge=0, le=1e6)]] = {}
    comparisons: list[PriorityComparison] = Field([], max_length=3)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.weights) == bool(self.comparisons):
            raise ValueError("give either weights or comparisons")
        if self.weights and sum(self.weights.values()) <= 0:
            raise ValueError("at least one weight must be more than 0")
        return self

    def resolved(self) -> Mapping[str, float]:
        """The weights; comparisons that contradict one another are refused."""
        if self.weights:
            return {priority: self.weights[priority] for priority in PRIORITIES if priority in self.weights}
        return weights_of([Judgement(c.more, c.less, c.ratio) for c in self.comparisons])


class AllocateIn(Schema):
    """A budget, and what it may be spent on."""

    budget: int = Field(gt=0, le=MOST_BUDGET)
    currency: str = Field(pattern="^[A-Z]{3}$", description="Only customers who pay in it are considered.")
    actions: list[PlannedAction] = Field(min_length=1, max_length=len(KINDS))
    segment: Segment | None = Field(None, description="Only customers of this RFM segment.")
    hold_out_share: float = Field(0, ge=0, le=0.5, description="Left out by chance, to compare with.")
    priorities: Priorities | None = None
    seed: str | None = Field(
        None, min_length=1, max_length=64, description="Of the hold-out arm; the plan's id when left out."
    )

    @field_validator("actions")
    @classmethod
    def _once(cls, actions: list[PlannedAction]) -> list[PlannedAction]:
        if len({action.kind for action in actions}) < len(actions):
            raise ValueError("every action once")
        return actions


class ObstacleCount(BaseModel):
    """Why an action is not for so many customers."""

    why: str
    customers: int


class ActionOutcome(BaseModel):
    """What becomes of one action by a plan."""

    kind: Kind
    cost: int
    capacity: int | None
    eligible: int = Field(description="Customers who may get it and would bring more than it costs.")
    obstacles: list[ObstacleCount] = Field(description="Why others may not; one may have several reasons.")
    chosen: int
    spend: int
    gain: float = Field(description="Expected, less the cost.")
    shadow_price: float = Field(description="What room for one more would bring; 0 where there is room.")
    words: str


class Outcome(BaseModel):
    """A finished plan. Gains are net of costs; shadow prices are of weighted gains."""

    considered: int = Field(description="Customers of the currency and segment.")
    other_currency: int = Field(description="Left out, because they pay in another currency.")
    eligible: int = Field(description="Customers whom at least one action is for.")
    hold_out: int
    treated: int = Field(description="Customers who get an action.")
    spend: int
    gain: float
    actions: list[ActionOutcome]
    shadow_price: float = Field(description="What one more unit of budget would bring.")
    words: list[str]
    solver: str = Field(description="HiGHS's own words.")
    optimal: bool
    gap: float = Field(description="What the plan may fall short of any at all, relative.")
    weights: dict[str, float]
    seed: str
    seconds: dict[str, float]


class PlanOut(BaseModel):
    """A plan for a budget, and how far it has come."""

    id: UUID
    status: Status
    progress: str
    request: AllocateIn
    outcome: Outcome | None
    failure: str | None
    created_at: datetime
    finished_at: datetime | None


class AssignmentOut(BaseModel):
    """What a plan has for a customer: null for who is held out, and for whom the budget did not reach."""

    customer_id: UUID
    arm: Literal["treated", "hold_out"]
    action: Kind | None
    gain: float
    cost: int
