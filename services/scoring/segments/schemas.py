"""What the API of the rules takes and gives."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints, model_validator

from services.scoring.segments.fields import Field as KnownField
from services.scoring.segments.parser import MOST_CHARACTERS
from services.scoring.segments.store import Segment
from shared.web.schemas import Schema

# Kept as it was written, so that the place of a mistake is the caller's.
Expression = Annotated[
    str,
    StringConstraints(strip_whitespace=False, min_length=1, max_length=MOST_CHARACTERS),
    Field(
        description="Who is in it, as `spend > 50000 and last_purchase within 30 days`.",
        examples=['spend > 50000 and not (complaints >= 2) and attribute.plan in ("pro", "team")'],
    ),
]
Description = Annotated[str, Field(max_length=1_000)]


class SegmentIn(Schema):
    """A segment to make. Its name is what events and the 360 view call it, and stays."""

    name: str = Field(min_length=1, max_length=80)
    expression: Expression
    description: Description = ""


class SegmentPatch(Schema):
    """What of a segment to change."""

    expression: Expression | None = None
    description: Description | None = None


class PreviewIn(Schema):
    """An expression to try."""

    expression: Expression


class SegmentOut(BaseModel):
    """A segment. `computed_at` is when all customers were last looked at with this expression; null before.

    Between, whoever changes is looked at within seconds.
    """

    id: UUID
    name: str
    description: str
    expression: str
    version: int
    members: int
    computed_at: datetime | None
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, segment: Segment, members: int) -> "SegmentOut":
        """The public form of a segment."""
        return cls(**asdict(segment), members=members)


class MemberOut(BaseModel):
    """A customer of a segment."""

    customer_id: UUID
    since: datetime


class FieldOut(BaseModel):
    """A field that expressions may speak of."""

    name: str = Field(description="How it is written; capitals stand for what you choose.")
    type: str
    meaning: str
    choices: list[str] = Field(description="All values there are; empty: any.")

    @classmethod
    def of(cls, field: KnownField) -> "FieldOut":
        """The public form of a field of the catalogue."""
        type_ = "any" if field.name == "attribute" else field.type
        return cls(name=field.shown, type=type_, meaning=field.meaning, choices=list(field.choices))


class PartOut(BaseModel):
    """One comparison of an expression, and how many customers fit it by itself."""

    comparison: str
    meaning: str
    customers: int


class PreviewOut(BaseModel):
    """Who would be in a segment of this expression now."""

    expression: str = Field(description="As it was understood.")
    count: int
    customers: int = Field(description="All that there are.")
    sample: list[UUID] = Field(description="The first customers that fit.")
    parts: list[PartOut]


class ClusterFit(Schema):
    """Into how many clusters customers may fall; how many it is follows from them."""

    fewest: int = Field(2, ge=2, le=12)
    most: int = Field(8, ge=2, le=12)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.fewest > self.most:
            raise ValueError("fewest must not be above most")
        return self


class ClusterOut(BaseModel):
    """Customers who are alike. Its label stays from one fit to the next while most of them stay together."""

    label: str
    customers: int
    profile: dict[str, str] = Field(description="In words, by language: en and zh.")
    standing: dict[str, float] = Field(description="In spreads from the median of all buyers, by feature.")
    typical: dict[str, float | dict[str, float]] = Field(
        description="A customer in its middle; money in minor units by currency."
    )


class ChoiceOut(BaseModel):
    """How well so many clusters fit: silhouette, -1 to 1; stability, 1 when others drawn give the same; the
    share of the smallest."""

    k: int
    silhouette: float
    stability: float
    smallest: float


class ClustersOut(BaseModel):
    """The clusters that serve, and how their number was chosen."""

    version: int
    as_of: date
    created_at: datetime
    fitted_to: int = Field(description="Customers that they were fitted to: all buyers, or a sample.")
    clusters: list[ClusterOut]
    choices: list[ChoiceOut]
    why: str
    running: bool = Field(description="Whether a walk over all customers is under way.")
