"""The CloudEvents 1.0 envelope and the base of every event's data.

`type` is noun.past-tense-verb, `subject` the customer's id when there is one, `dataschema` carries the
version, `traceparent` is the W3C trace context extension.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict

REGISTRY: "dict[tuple[str, int], type[EventData]]" = {}


class UnknownEvent(ValueError):
    """The envelope is not CloudEvents, or names a type and version this code does not know."""


class EventData(BaseModel):
    """What an event says. Frozen; unknown fields are ignored, so that producers may add optional ones."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    producer: ClassVar[str]
    schema_version: ClassVar[int] = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "type" in cls.__dict__:
            REGISTRY[cls.type, cls.schema_version] = cls

    @classmethod
    def producers(cls) -> tuple[str, ...]:
        """The parts that say this: one, for most."""
        return (cls.producer,)

    @property
    def source(self) -> str:
        """The part that says it."""
        return self.producer

    @property
    def subject(self) -> UUID | None:
        """The customer the event is about, if it is about exactly one."""
        return getattr(self, "customer_id", None)


DataT_co = TypeVar("DataT_co", bound=EventData, covariant=True)


@dataclass(frozen=True, slots=True)
class Event(Generic[DataT_co]):
    """One event as a reaction sees it."""

    id: UUID
    type: str
    source: str
    time: datetime
    subject: str | None
    traceparent: str | None
    data: DataT_co


def dataschema(kind: str, version: int) -> str:
    """The relative reference of the published JSON Schema of an event's data."""
    return f"/schemas/{kind}.v{version}.json"


def encode(data: EventData, *, event_id: UUID, time: datetime, traceparent: str | None) -> str:
    """The envelope as JSON text, ready to be published."""
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": f"/{data.source}",
        "type": data.type,
        "time": time,
        "datacontenttype": "application/json",
        "dataschema": dataschema(data.type, data.schema_version),
    }
    if data.subject is not None:
        envelope["subject"] = str(data.subject)
    if traceparent is not None:
        envelope["traceparent"] = traceparent
    envelope["data"] = data.model_dump(mode="json")
    return orjson.dumps(envelope, option=orjson.OPT_UTC_Z).decode()


def decode(body: bytes | str) -> Event[EventData]:
    """Read an envelope.

    Raises:
        UnknownEvent: not an envelope, or no such type and version here.
        pydantic.ValidationError: the data does not fit its contract.
    """
    try:
        raw = orjson.loads(body)
        kind = raw["type"]
        version = int(raw["dataschema"].rsplit(".v", 1)[1].removesuffix(".json"))
        model = REGISTRY[kind, version]
        return Event(
            id=UUID(raw["id"]),
            type=kind,
            source=raw["source"],
            time=datetime.fromisoformat(raw["time"]),
            subject=raw.get("subject"),
            traceparent=raw.get("traceparent"),
            data=model.model_validate(raw["data"]),
        )
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UnknownEvent(f"not an event this part knows: {type(error).__name__}") from error


def event_types(matches: Callable[[type[EventData]], bool] = lambda _: True) -> list[type[EventData]]:
    """Every known event, sorted by type and version."""
    return [model for _, model in sorted(REGISTRY.items()) if matches(model)]
