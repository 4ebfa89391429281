"""Events of the scoring service."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from shared.contracts.envelope import EventData


class ScoreUpdated(EventData):
    """A customer's scores changed. Values are null where the facts or a model are missing."""

    type: ClassVar[str] = "score.updated"
    producer: ClassVar[str] = "scoring"

    customer_id: UUID
    model_version: str | None = None
    values: dict[str, float | int | str | None]
    reasons: tuple[str, ...] = ()
    as_of: AwareDatetime
