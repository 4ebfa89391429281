"""What the challenges' API takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.loyalty.challenges.rules import Every
from services.loyalty.earning.rule_schemas import Days, Name, RuleId, Words
from services.loyalty.earning.rules import Kind
from shared.web.schemas import Moment, Schema


class Definition(Schema):
    """What is to be done, how often in which time, and what for."""

    name: Name
    kind: Kind = Field(description="What counts; `feedback` is a ticket that was resolved.")
    target: int = Field(1, ge=1, le=1000, description="How often.")
    every: Every = Field("once", description="In which time: each week, month or year (UTC), or once.")
    in_a_row: int = Field(1, ge=1, le=100, description="How many of these in a row the badge asks for.")
    badge: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="The challenge's name when left out."
    )
    points: int = Field(0, ge=0, le=10**6, description="With each badge.")
    points_days: Days | None = None
    subjects: Words = Field([], description="Only these kinds of activity, survey or ticket.")
    channels: Words = []
    categories: Words = Field([], description="Only purchases with a line of these.")
    starts_at: Moment | None = Field(None, description="When it was made, when left out.")
    ends_at: Moment | None = None
    enabled: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.starts_at and self.ends_at and self.starts_at >= self.ends_at:
            raise ValueError("ends_at must come after starts_at")
        if self.every == "once" and self.in_a_row > 1:
            raise ValueError("what is done once is not done in a row")
        return self


class ChallengeIn(Definition):
    """A new challenge."""

    id: RuleId | None = None


class ChallengePatch(Schema):
    """What is to be changed of a challenge; all fields are optional."""

    model_config = ConfigDict(extra="allow")


class ChallengeOut(Definition):
    """A challenge as it is."""

    model_config = ConfigDict(extra="ignore")

    id: str
    version: int
    made_at: datetime


class ProgressOut(BaseModel):
    """How far a member is in the present window of a challenge."""

    challenge_id: str
    name: str
    badge: str
    done: int = Field(description="Not counted beyond the target.")
    target: int
    met_at: datetime | None
    window_starts_at: datetime | None = Field(description="null: the whole time of the challenge.")
    window_ends_at: datetime | None
    streak: int = Field(description="Windows in a row that were met, the present one included if it is.")
    in_a_row: int


class BadgeOut(BaseModel):
    """A badge, and the challenge that it came from."""

    badge: str
    challenge_id: str
    challenge: str
    awarded_at: datetime


class Ranked(BaseModel):
    """A member's place; equal scores share a rank."""

    model_config = ConfigDict(from_attributes=True)

    rank: int
    customer_id: UUID
    score: int


class BoardOut(BaseModel):
    """The top of a leaderboard, and a member's own place."""

    board: str
    period: str
    segment: str | None
    as_of: datetime | None = Field(description="null: not counted yet.")
    members: int = Field(description="Of all segments.")
    items: list[Ranked]
    own: Ranked | None


class ShownIn(Schema):
    """Whether a member appears on leaderboards."""

    shown: bool


def as_definition(challenge: Definition) -> dict[str, Any]:
    """What is kept of a challenge: the fields that were set to something, as JSON."""
    kept = challenge.model_dump(
        mode="json", exclude={"id", "version", "made_at"}, exclude_defaults=True, exclude_none=True
    )
    return kept | {"name": challenge.name, "kind": challenge.kind}
