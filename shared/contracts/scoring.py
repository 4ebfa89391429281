"""Events of the scoring service."""

from typing import ClassVar, Literal
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


class SegmentChanged(EventData):
    """A customer came into segments or left them. `kind` says how the segments are made."""

    type: ClassVar[str] = "segment.changed"
    producer: ClassVar[str] = "scoring"

    customer_id: UUID
    kind: Literal["rfm", "cluster", "rule"]
    entered: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    as_of: AwareDatetime


class ChurnRiskRaised(EventData):
    """A customer's risk of leaving rose above the line; told once, until it has fallen well below it."""

    type: ClassVar[str] = "churn.risk_raised"
    producer: ClassVar[str] = "scoring"

    customer_id: UUID
    model_version: str
    risk: float
    threshold: float
    reasons: tuple[str, ...]
    as_of: AwareDatetime


class ActionRecommended(EventData):
    """What to do next for a customer. `arm` says whether they are treated or held out of it."""

    type: ClassVar[str] = "action.recommended"
    producer: ClassVar[str] = "scoring"

    customer_id: UUID
    action: str
    channel: str | None = None
    offer: str | None = None
    arm: Literal["treated", "hold_out"] = "treated"
    reasons: tuple[str, ...] = ()
    expires_at: AwareDatetime


class AlertRaised(EventData):
    """Something is not as it is expected to be. Numbers in the unit that `what` says."""

    type: ClassVar[str] = "alert.raised"
    producer: ClassVar[str] = "scoring"

    what: str
    measured: float
    expected: float
    since: AwareDatetime
