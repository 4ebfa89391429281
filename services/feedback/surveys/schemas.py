"""What the survey API takes and gives."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.feedback.surveys.rules import SurveyKind
from services.feedback.times import Moment
from shared.web.schemas import Schema

MAX_COMMENT_CHARACTERS = 20_000


class NewAnswer(Schema):
    """A customer's answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "0190a8a4-58c4-7d8e-9b1a-3f0e5a7c2d11",
                    "score": 9,
                    "comment": "Fast and friendly.",
                    "touchpoint": "delivery",
                }
            ]
        }
    )

    customer_id: UUID
    score: Annotated[
        int, Field(strict=True, ge=0, le=10, description="NPS 0 to 10, CSAT 1 to 5, CES 1 to 7.")
    ]
    comment: Annotated[str, Field(max_length=MAX_COMMENT_CHARACTERS)] | None = None
    touchpoint: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    channel: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    occurred_at: Moment | None = Field(None, description="When it was given; now when left out.")


class AnswerView(BaseModel):
    """An answer as it was kept."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    survey_id: str
    customer_id: UUID
    score: int
    comment: str | None
    mood: float | None = Field(description="Read from the comment, -1 to 1; null when it says nothing.")
    touchpoint: str | None
    channel: str | None
    occurred_at: datetime


class SurveyView(BaseModel):
    """A survey: its question by language, and its scale."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: SurveyKind
    title: str
    questions: dict[str, str]
    lowest: int
    highest: int


class IntervalView(BaseModel):
    """Where the true figure lies with this confidence."""

    model_config = ConfigDict(from_attributes=True)

    low: float
    high: float
    confidence: float
    method: str


class Results(BaseModel):
    """NPS from -100 to 100, CSAT as the percentage satisfied, CES as the mean from 1 to 7."""

    survey: str | None = Field(description="Null when all surveys of the kind are taken together.")
    kind: SurveyKind
    from_: datetime | None = Field(serialization_alias="from")
    to: datetime | None
    touchpoint: str | None
    answers: int
    score: float | None
    mean: float | None
    interval: IntervalView | None
    groups: dict[str, int]
    distribution: dict[str, int] = Field(description="How many answers gave each score.")
