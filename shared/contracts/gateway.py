"""Events of the gateway."""

from typing import Any, ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from shared.contracts.envelope import EventData
from shared.contracts.handles import Handle


class FeedbackReceived(EventData):
    """A partner's feedback was accepted and stored. `contact` may be empty; `raw` is what they sent."""

    type: ClassVar[str] = "feedback.received"
    producer: ClassVar[str] = "gateway"

    receipt_id: UUID
    partner: str
    source_id: str
    channel: str
    kind: str
    contact: tuple[Handle, ...] = ()
    contact_name: str | None = None
    text: str
    rating: float | None = None
    occurred_at: AwareDatetime
    raw: dict[str, Any] = {}
