"""Shapes that several events share."""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

HandleKind = Literal["email", "phone", "external_id"]


class Frozen(BaseModel):
    """A value inside an event."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Handle(Frozen):
    """Something a customer can be recognised by, as it was given; profile normalises it.

    `source` names the system of an external id and is empty for the others.
    """

    kind: HandleKind
    value: str
    source: str = ""


class LineItem(Frozen):
    """One line of a purchase. Amounts in minor units; `cost` is what the line cost the shop."""

    sku: str
    category: str | None = None
    quantity: int = 1
    amount: int
    cost: int | None = None


class Activity(Frozen):
    """Something a customer did at a touchpoint."""

    activity_id: UUID
    customer_id: UUID
    kind: str
    touchpoint: str | None = None
    channel: str | None = None
    stage: str | None = None
    occurred_at: AwareDatetime
    details: dict[str, Any] = {}


class Purchase(Frozen):
    """A purchase; `amount` in minor units of `currency`."""

    purchase_id: UUID
    customer_id: UUID
    source: str
    source_id: str
    amount: int
    currency: str
    lines: tuple[LineItem, ...] = ()
    touchpoint: str | None = None
    channel: str | None = None
    occurred_at: AwareDatetime


class Refund(Frozen):
    """Part or all of a purchase given back; `amount` in minor units, `purchase_amount` what was paid."""

    refund_id: UUID
    purchase_id: UUID
    customer_id: UUID
    amount: int
    purchase_amount: int
    currency: str
    occurred_at: AwareDatetime
    purchased_at: AwareDatetime
