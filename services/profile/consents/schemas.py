"""What the consents' API takes and gives."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, computed_field

from services.profile.values import Document, LaterMoment, Moment, SourceName, Word
from shared.clock import utc_now
from shared.web.schemas import Schema

Status = Literal["granted", "denied", "withdrawn"]


class ConsentIn(Schema):
    """What a customer wants, for one purpose and channel; `any` stands for every channel."""

    status: Status
    channel: Word = "any"
    evidence: Document = Field({}, description="What was shown, where and when.")
    source: SourceName = "api"
    occurred_at: Moment | None = Field(None, description="When they said so; now, if left out.")
    expires_at: LaterMoment | None = None


class ConsentOut(BaseModel):
    """One expression of a customer's will."""

    id: UUID
    purpose: str
    channel: str
    status: Status
    evidence: dict[str, Any]
    source: str
    occurred_at: datetime
    expires_at: datetime | None
    recorded_at: datetime

    @computed_field  # type: ignore[prop-decorator]
    @property
    def granted_now(self) -> bool:
        """Whether it is a permission that has not expired."""
        return self.status == "granted" and (self.expires_at is None or self.expires_at > utc_now())
