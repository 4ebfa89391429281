"""Events as other services would send them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.contracts import Event, EventData, sections
from shared.contracts.feedback import TicketEvent, TicketLinked, TicketOpened
from shared.contracts.handles import Handle, Purchase
from shared.contracts.profile import IdentityResolved, PurchaseRecorded, Reference
from shared.ids import new_id

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KINDS: dict[str, type[sections.SectionSnapshot]] = {
    "profile": sections.ProfileSection,
    "feedback": sections.FeedbackSection,
    "loyalty": sections.LoyaltySection,
    "scoring": sections.ScoringSection,
}


def event(data: EventData, *, event_id: UUID | None = None, time: datetime = NOON) -> Event[Any]:
    return Event(
        id=event_id or new_id(),
        type=data.type,
        source=f"/{data.producer}",
        time=time,
        subject=str(data.subject) if data.subject else None,
        traceparent=None,
        data=data,
    )


def section(
    name: str, customer_id: UUID, version: int, body: dict[str, Any] | None, *, as_of: datetime = NOON
) -> Event[Any]:
    return event(KINDS[name](customer_id=customer_id, version=version, as_of=as_of, body=body))


def profile_body(name: str = "李雷", *identities: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "identities": [
            {"kind": kind, "value": value, "source": source, "verified": False}
            for kind, value, source in identities
        ],
    }


def ticket(
    kind: type[TicketEvent], ticket_id: UUID, customer_id: UUID | None, *, minute: int = 0
) -> Event[Any]:
    contact = {"contact": (Handle(kind="email", value="secret@example.com"),)} if kind is TicketOpened else {}
    data = kind(
        ticket_id=ticket_id,
        customer_id=customer_id,
        kind="complaint",
        category="delivery",
        severity="high",
        mood=-0.5,
        status="open",
        channel="review",
        occurred_at=NOON,
        **contact,  # type: ignore[arg-type]
    )
    return event(data, time=NOON + timedelta(minutes=minute))


def linked(ticket_id: UUID, customer_id: UUID) -> Event[Any]:
    return ticket(TicketLinked, ticket_id, customer_id, minute=1)


def resolved(ticket_id: UUID, customer_id: UUID) -> Event[Any]:
    return event(
        IdentityResolved(
            ref=Reference(kind="ticket", id=ticket_id),
            handles=(Handle(kind="email", value="secret@example.com"),),
            customer_id=customer_id,
            rule="email",
            confidence=1.0,
        )
    )


def purchases(*customers: UUID, minute: int = 0) -> Event[Any]:
    items = tuple(
        Purchase(
            purchase_id=new_id(),
            customer_id=customer,
            source="shop",
            source_id=f"O-{index}",
            amount=1000 + index,
            currency="CNY",
            occurred_at=NOON + timedelta(minutes=minute, seconds=index),
        )
        for index, customer in enumerate(customers)
    )
    return event(PurchaseRecorded(items=items))
