"""What the API of the rules takes and gives."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from services.scoring.segments.fields import Field as KnownField
from services.scoring.segments.parser import MOST_CHARACTERS
from services.scoring.segments.store import Segment
from shared.web.schemas import Schema

Expression = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MOST_CHARACTERS,
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
