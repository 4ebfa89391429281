"""The receipt of an erasure: each part that knew something of a customer says that it has forgotten it."""

from typing import ClassVar
from uuid import UUID

from shared.contracts.envelope import EventData

PARTS = ("profile", "feedback", "loyalty", "scoring", "gateway")


class ErasureCompleted(EventData):
    """A part has forgotten a customer; `counts` says how many rows of which kind."""

    type: ClassVar[str] = "erasure.completed"

    erasure_id: UUID
    service: str
    counts: dict[str, int]

    @classmethod
    def producers(cls) -> tuple[str, ...]:
        """Whichever part has forgotten."""
        return PARTS

    @property
    def source(self) -> str:
        """The part that has forgotten."""
        return self.service
