"""Events of the profile service."""

from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from shared.contracts.envelope import EventData
from shared.contracts.handles import Activity, Frozen, Handle, Purchase, Refund

BATCH_LIMIT = 500


class ProfileEvent(EventData):
    producer: ClassVar[str] = "profile"


class CustomerRegistered(ProfileEvent):
    """A customer exists from now on. `attributes` are the chosen values."""

    type: ClassVar[str] = "customer.registered"

    customer_id: UUID
    attributes: dict[str, Any] = {}
    registered_at: AwareDatetime


class CustomerUpdated(ProfileEvent):
    """Chosen values of a customer changed; `attributes` holds the changed ones only."""

    type: ClassVar[str] = "customer.updated"

    customer_id: UUID
    attributes: dict[str, Any]


class CustomerMerged(ProfileEvent):
    """Two customers are one: what is known of `merged_id` belongs to `survivor_id` from now on."""

    type: ClassVar[str] = "customer.merged"

    survivor_id: UUID
    merged_id: UUID
    merge_id: UUID

    @property
    def customer_id(self) -> UUID:
        """Whose journey it belongs to."""
        return self.survivor_id


class CustomerUnmerged(ProfileEvent):
    """A merge was undone: the two are two again. It may come before its merge."""

    type: ClassVar[str] = "customer.unmerged"

    survivor_id: UUID
    merged_id: UUID
    merge_id: UUID

    @property
    def customer_id(self) -> UUID:
        """Whose journey it belongs to."""
        return self.survivor_id


class CustomerErased(ProfileEvent):
    """Everything personal of a customer is to be forgotten; each part answers with `erasure.completed`."""

    type: ClassVar[str] = "customer.erased"

    customer_id: UUID
    erasure_id: UUID


class Reference(Frozen):
    """What asked for a resolution."""

    kind: Literal["ticket", "receipt", "survey_answer"]
    id: UUID


class IdentityResolved(ProfileEvent):
    """The handles of a ticket or receipt belong to this customer. `confidence` from 0 to 1."""

    type: ClassVar[str] = "identity.resolved"

    ref: Reference
    handles: tuple[Handle, ...]
    customer_id: UUID
    rule: str
    confidence: float


class ConsentChanged(ProfileEvent):
    """A customer's will about one purpose and channel."""

    type: ClassVar[str] = "consent.changed"

    customer_id: UUID
    purpose: str
    channel: str
    status: Literal["granted", "denied", "withdrawn"]
    evidence: dict[str, Any] = {}
    occurred_at: AwareDatetime


class ActivityRecorded(ProfileEvent):
    """Customers did things; one event carries up to BATCH_LIMIT of them."""

    type: ClassVar[str] = "activity.recorded"

    items: tuple[Activity, ...] = Field(min_length=1, max_length=BATCH_LIMIT)


class PurchaseRecorded(ProfileEvent):
    """Customers bought; one event carries up to BATCH_LIMIT purchases."""

    type: ClassVar[str] = "purchase.recorded"

    items: tuple[Purchase, ...] = Field(min_length=1, max_length=BATCH_LIMIT)


class PurchaseRefunded(ProfileEvent):
    """Purchases were given back, in part or whole; one event carries up to BATCH_LIMIT refunds."""

    type: ClassVar[str] = "purchase.refunded"

    items: tuple[Refund, ...] = Field(min_length=1, max_length=BATCH_LIMIT)
