"""Events of the feedback service."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime

from shared.contracts.envelope import EventData
from shared.contracts.handles import Handle


class FeedbackEvent(EventData):
    producer: ClassVar[str] = "feedback"


class TicketEvent(FeedbackEvent):
    """A ticket as it stands. `mood` from -1 to 1; `customer_id` is null until the ticket is linked."""

    ticket_id: UUID
    customer_id: UUID | None = None
    kind: str
    category: str
    severity: str
    mood: float
    status: str
    department: str | None = None
    channel: str
    occurred_at: AwareDatetime


class TicketOpened(TicketEvent):
    """Feedback became a ticket. `contact` are the handles to resolve when there is no customer yet."""

    type: ClassVar[str] = "ticket.opened"

    contact: tuple[Handle, ...] = ()
    contact_name: str | None = None
    receipt_id: UUID | None = None


class TicketLinked(TicketEvent):
    """The ticket's customer is known now."""

    type: ClassVar[str] = "ticket.linked"


class TicketUpdated(TicketEvent):
    """The ticket changed: status, assignee, department or reading."""

    type: ClassVar[str] = "ticket.updated"


class TicketResolved(TicketEvent):
    """The ticket is resolved."""

    type: ClassVar[str] = "ticket.resolved"


class TicketReopened(TicketEvent):
    """A resolved ticket is open again."""

    type: ClassVar[str] = "ticket.reopened"


class TicketBreached(TicketEvent):
    """What was promised about the ticket was not kept: it was answered or resolved too late."""

    type: ClassVar[str] = "ticket.breached"


class SurveyAnswered(FeedbackEvent):
    """A customer answered a survey. NPS 0 to 10, CSAT 1 to 5, CES 1 to 7."""

    type: ClassVar[str] = "survey.answered"

    answer_id: UUID
    customer_id: UUID
    survey: str
    kind: Literal["nps", "csat", "ces"]
    score: int
    touchpoint: str | None = None
    occurred_at: AwareDatetime
