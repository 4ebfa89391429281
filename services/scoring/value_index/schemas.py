"""What the value index's API takes and gives."""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from services.scoring.value_index.ahp import Judgement, Weights
from services.scoring.value_index.rules import CostToServe, Setup
from shared.web.schemas import SafeInt, Schema

MOST_COMPARISONS = 6
Name = Literal[
    "financial", "satisfaction", "loyalty", "relationship", "clv", "profit_contribution",
    "csat", "complaints", "repurchase", "referral", "depth", "stability",
]  # fmt: skip


class Comparison(Schema):
    """`more` matters `ratio` times as much as `less`, on Saaty's scale: 1 equally, 9 extremely more."""

    more: Name
    less: Name
    ratio: float = Field(ge=1 / 9, le=9)


Comparisons = list[Comparison]


class CostToServeIn(Schema):
    """What serving a customer costs, in minor units of a currency."""

    currency: str = Field(pattern="^[A-Z]{3}$")
    per_purchase: SafeInt = Field(0, ge=0)
    per_ticket: SafeInt = Field(0, ge=0)


class ValueIndexIn(Schema):
    """How the value index is weighed. Levels without comparisons matter equally; some may be left out."""

    goal: Comparisons = Field([], max_length=MOST_COMPARISONS, description="Of the four groups.")
    financial: Comparisons = Field([], max_length=1)
    satisfaction: Comparisons = Field([], max_length=1)
    loyalty: Comparisons = Field([], max_length=1)
    relationship: Comparisons = Field([], max_length=1)
    cost_to_serve: CostToServeIn | None = None
    high_from: float = Field(0.65, ge=0, le=1, description="From this index on the grade is high,")
    middle_from: float = Field(0.35, ge=0, le=1, description="and from this one on it is middle.")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.middle_from > self.high_from:
            raise ValueError("middle_from must not be above high_from")
        return self

    def setup(self) -> Setup:
        """As the rules want it."""
        chosen = {
            level: [Judgement(c.more, c.less, c.ratio) for c in getattr(self, level)]
            for level in ("goal", "financial", "satisfaction", "loyalty", "relationship")
        }
        costs = CostToServe(**self.cost_to_serve.model_dump()) if self.cost_to_serve else None
        return Setup(chosen, costs, self.high_from, self.middle_from)


class LevelOut(BaseModel):
    """What the comparisons of one level say."""

    weights: dict[str, float]
    largest_eigenvalue: float
    consistency_index: float
    consistency_ratio: float

    @classmethod
    def of(cls, weights: Weights) -> "LevelOut":
        """The public form of a level's weights."""
        return cls(
            weights=dict(weights.weights),
            largest_eigenvalue=weights.largest_eigenvalue,
            consistency_index=weights.consistency_index,
            consistency_ratio=weights.consistency_ratio,
        )


class ValueIndexOut(BaseModel):
    """How the value index is weighed now, and how many customers have which grade."""

    version: int
    comparisons: ValueIndexIn
    levels: dict[str, LevelOut]
    weights: dict[str, float] = Field(description="Of each measure in the whole.")
    grades: dict[str, int] = Field(description="Customers by grade.")
    running: bool = Field(description="Whether a pass over all customers is under way or waiting.")
