"""What the activities' API takes and gives."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from services.profile.batches import MAX_ITEMS, Batch, DescribedAs
from services.profile.customers.schemas import CustomerRef
from services.profile.values import Document, Moment, SourceId, SourceName, Word
from shared.web.schemas import Schema


class ActivityIn(Schema):
    """Something a customer did. With a `source_id` it is recorded once, however often it is sent."""

    customer: CustomerRef
    kind: Word
    touchpoint: Word | None = None
    channel: Word | None = None
    stage: Word | None = Field(None, description="Of the journey, such as awareness or purchase.")
    occurred_at: Moment | None = Field(None, description="Now, if left out.")
    details: Document = {}
    source: SourceName = "api"
    source_id: SourceId | None = None


class ActivityBatch(Batch):
    """Up to 1000 activities, of any customers."""

    items: Annotated[list[Annotated[Any, DescribedAs(ActivityIn)]], Field(min_length=1, max_length=MAX_ITEMS)]


class ActivityOut(BaseModel):
    id: UUID
    customer_id: UUID
    source: str
    source_id: str | None
    kind: str
    touchpoint: str | None
    channel: str | None
    stage: str | None
    details: dict[str, Any]
    occurred_at: datetime
    recorded_at: datetime
