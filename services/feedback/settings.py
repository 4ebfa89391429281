"""Settings of the feedback service, prefix C360_FEEDBACK_."""

from datetime import timedelta
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class FeedbackSettings(ServiceSettings):
    """What the feedback service needs to know."""

    model_config = SettingsConfigDict(env_prefix="C360_FEEDBACK_")

    name: ClassVar[str] = "feedback"

    reopen_days: float = Field(
        14, ge=0, le=3650, description="How long after its resolution a ticket may be reopened."
    )
    history_items: int = Field(
        200, ge=1, le=1000, description="Newest steps and messages shown with a ticket."
    )
    section_tickets: int = Field(5, ge=1, le=50, description="Tickets per list in the 360 view.")
    mood_days: int = Field(90, ge=1, le=3650, description="The span of the mood in the 360 view.")

    @property
    def reopen_within(self) -> timedelta:
        return timedelta(days=self.reopen_days)
