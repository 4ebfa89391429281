"""What a partner's feedback must say, and the event it becomes. Pure."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict

from shared.contracts.gateway import FeedbackReceived
from shared.contracts.handles import Handle
from shared.web.schemas import check_storable

DEFAULT_CHANNEL = "webhook"
DEFAULT_KIND = "review"
TEXT_MAX_CHARS = 20_000
REASON_MAX_CHARS = 1_000

EXAMPLE: JsonDict = {
    "type": "feedback.created",
    "timestamp": "2026-03-01T10:00:01Z",
    "data": {
        "source_id": "F-9",
        "channel": "review",
        "kind": "complaint",
        "rating": 1,
        "text": "快递把包裹弄丢了,客服一直不回复",
        "contact": {"email": "lilei@example.com"},
        "occurred_at": "2026-03-01T10:00:00Z",
    },
}

Word = Annotated[str, Field(min_length=1, max_length=64)]
Value = Annotated[str, Field(max_length=320)]


class Unusable(Exception):
    """A signed body that is no feedback; the reason names fields, never values."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason[:REASON_MAX_CHARS]


class Lenient(BaseModel):
    """What partners send: fields that we do not know are kept in the event's `raw`, numbers may be text."""

    model_config = ConfigDict(
        extra="ignore", str_strip_whitespace=True, coerce_numbers_to_str=True, allow_inf_nan=False
    )


class ExternalId(Lenient):
    """An id in the partner's or another system."""

    source: Word
    id: Annotated[str, Field(min_length=1, max_length=320)]


class Contact(Lenient):
    """Who said it, as far as the partner knows."""

    name: Annotated[str, Field(max_length=200)] | None = None
    email: Value | None = None
    phone: Value | None = None
    external_id: ExternalId | None = None
    external_ids: Annotated[dict[Word, Value], Field(max_length=20)] = {}


class Feedback(Lenient):
    """One piece of feedback."""

    source_id: Value | None = Field(None, description="The partner's own id; the webhook's id when left out.")
    channel: Word = DEFAULT_CHANNEL
    kind: Word = Field(DEFAULT_KIND, description="complaint, question, praise, suggestion, review or idea.")
    rating: float | None = Field(None, ge=-1_000, le=1_000)
    text: Annotated[str, Field(min_length=1, max_length=TEXT_MAX_CHARS)]
    contact: Contact | None = None
    occurred_at: AwareDatetime | None = Field(None, description="The body's timestamp when left out.")


class FeedbackWebhook(Lenient):
    """The body of a webhook, in the shape that Standard Webhooks recommend."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    type: Literal["feedback.created"]
    timestamp: AwareDatetime | None = None
    data: Feedback


def read_feedback(
    body: bytes, *, receipt_id: UUID, partner: str, webhook_id: str, now: datetime
) -> FeedbackReceived:
    """The event of a verified body.

    Raises:
        Unusable: the body is no feedback; says which field does not fit.
    """
    try:
        raw = orjson.loads(body)
        check_storable(raw)
        webhook = FeedbackWebhook.model_validate(raw)
        feedback = webhook.data
        occurred_at = (feedback.occurred_at or webhook.timestamp or now).astimezone(UTC)
    except orjson.JSONDecodeError as error:
        raise Unusable("the body is not valid JSON") from error
    except ValidationError as error:
        raise Unusable("; ".join(f"{_path(e['loc'])}: {e['type']}" for e in error.errors()[:10])) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise Unusable(f"the body cannot be stored: {error}") from error
    return FeedbackReceived(
        receipt_id=receipt_id,
        partner=partner,
        source_id=feedback.source_id or webhook_id,
        channel=feedback.channel,
        kind=feedback.kind,
        contact=tuple(_handles(feedback.contact)),
        contact_name=(feedback.contact and feedback.contact.name) or None,
        text=feedback.text,
        rating=feedback.rating,
        occurred_at=occurred_at,
        raw=raw["data"],
    )


def _handles(contact: Contact | None) -> list[Handle]:
    """The contact as handles, in the order in which they identify best."""
    if contact is None:
        return []
    handles = [Handle(kind="external_id", value=v, source=s) for s, v in contact.external_ids.items() if v]
    if contact.external_id is not None:
        given = Handle(kind="external_id", value=contact.external_id.id, source=contact.external_id.source)
        handles = [given, *(handle for handle in handles if handle != given)]
    if contact.email:
        handles.append(Handle(kind="email", value=contact.email))
    if contact.phone:
        handles.append(Handle(kind="phone", value=contact.phone))
    return handles


def _path(location: tuple[Any, ...]) -> str:
    return "/" + "/".join(str(part)[:64] for part in location)
