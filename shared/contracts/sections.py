"""Section snapshots: what each service shows of a customer in the 360 view.

`body` is null when the service knows nothing of the customer (any more). `version` grows with every
snapshot of the same section: a version taken later reads the same or newer state.
"""

from typing import Any, ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from shared.contracts.envelope import EventData

SECTIONS = ("profile", "feedback", "loyalty", "scoring")


class SectionSnapshot(EventData):
    customer_id: UUID
    version: int
    as_of: AwareDatetime
    body: dict[str, Any] | None


class ProfileSection(SectionSnapshot):
    type: ClassVar[str] = "section.profile"
    producer: ClassVar[str] = "profile"


class FeedbackSection(SectionSnapshot):
    type: ClassVar[str] = "section.feedback"
    producer: ClassVar[str] = "feedback"


class LoyaltySection(SectionSnapshot):
    type: ClassVar[str] = "section.loyalty"
    producer: ClassVar[str] = "loyalty"


class ScoringSection(SectionSnapshot):
    type: ClassVar[str] = "section.scoring"
    producer: ClassVar[str] = "scoring"
