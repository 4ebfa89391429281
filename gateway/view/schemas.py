"""What the view's API takes and gives. Answers are joined from stored bytes; these models describe them."""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from shared.web.schemas import Schema

BATCH_LIMIT = 100

SectionName = Literal["profile", "feedback", "loyalty", "scoring"]
SectionBody = dict[str, Any] | None


class SectionState(BaseModel):
    """How much a section of this answer can be relied on."""

    status: Literal["ok", "stale", "unavailable"] = Field(
        description="`stale`: asked for live, the service did not answer, this is the view's copy. "
        "`unavailable`: nothing to show although there ought to be."
    )
    source: Literal["view", "live"]
    version: int = Field(description="Grows with every snapshot of the section; 0 when none has been seen.")
    as_of: AwareDatetime | None


class ViewState(BaseModel):
    """`complete` is true when no section of the answer is unavailable."""

    complete: bool
    sections: dict[SectionName, SectionState]


class View(BaseModel):
    """A customer, from all sides. A section is null when its service knows nothing of the customer;
    sections that were not asked for are left out."""

    customer_id: UUID
    merged_into: UUID | None
    profile: SectionBody = None
    feedback: SectionBody = None
    loyalty: SectionBody = None
    scoring: SectionBody = None
    meta: ViewState


class WantedViews(Schema):
    """Whose views, in the order wanted; an id given twice is answered once."""

    ids: list[UUID] = Field(min_length=1, max_length=BATCH_LIMIT)
    sections: list[SectionName] | None = Field(None, min_length=1, description="All when left out.")


class Views(BaseModel):
    """The views in the order asked for; ids of nobody are in `unknown`."""

    items: list[View]
    unknown: list[UUID]


class JourneyLine(BaseModel):
    """One thing that happened. `summary` depends on `type` and stands without asking elsewhere."""

    id: str
    type: str
    occurred_at: AwareDatetime
    recorded_at: AwareDatetime
    summary: dict[str, Any]


class RebuildOutcome(BaseModel):
    """What one service said to publishing its sections anew; `marked` customers will come."""

    status: Literal["ok", "unavailable"]
    marked: int


class Rebuild(BaseModel):
    """A rebuild that has begun: the snapshots arrive as events, beside live traffic."""

    services: dict[SectionName, RebuildOutcome]


class Difference(BaseModel):
    """A section whose stored body is not what its service says now."""

    customer_id: UUID
    section: SectionName
    stored_version: int | None


class Verification(BaseModel):
    """One page of customers compared with the services."""

    checked: int = Field(description="Customers compared.")
    differences: list[Difference]
    unavailable: list[SectionName] = Field(description="Services that did not answer; not compared.")
    next_cursor: str | None
