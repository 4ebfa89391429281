"""What the key routes take and give."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gateway.edge.keys import Role
from shared.web.schemas import Schema

Name = Annotated[str, Field(min_length=1, max_length=100, description="What people call it.")]
PartnerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", examples=["taobao"])]


class NewKeyBody(Schema):
    """A key to make. `scopes` narrows or replaces what the role brings."""

    name: Name
    role: Role
    scopes: list[Annotated[str, Field(max_length=40)]] | None = Field(None, min_length=1, max_length=40)
    partner: PartnerName | None = Field(None, description="The partner whose receipts it may read.")
    expires_at: AwareDatetime | None = Field(None, description="When it stops to count; never when left out.")


class KeyView(BaseModel):
    """A key without its secret; `prefix` is the part people recognise it by."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    prefix: str
    name: str
    role: str
    scopes: list[str]
    partner: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class MadeKey(KeyView):
    """A key just made: the only time that `key` is shown."""

    key: str


class DeadLetter(BaseModel):
    """An event that a service could not deal with, without what it says."""

    model_config = ConfigDict(extra="allow")

    service: str
    id: UUID
    consumer: str
    event_id: UUID
    type: str
    status: str
    attempts: int
    error: str


class DeadLetters(BaseModel):
    """Dead letters of all services from the newest on; `unavailable` names services that did not answer."""

    items: list[DeadLetter]
    next_cursor: str | None
    unavailable: list[str]


class BackgroundJob(BaseModel):
    """What a part does by the clock. `last_error` is the kind of its last failure, null once it ran well."""

    service: str
    name: str
    last_run_at: datetime | None
    next_run_at: datetime
    last_error: str | None


class BackgroundJobs(BaseModel):
    """Background jobs of all parts; `unavailable` names those that did not answer."""

    items: list[BackgroundJob]
    next_cursor: str | None
    unavailable: list[str]
