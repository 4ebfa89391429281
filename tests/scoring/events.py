"""Makes the events that scoring hears, and hands them over as the consumer would."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from services.scoring.reactions import react
from services.scoring.settings import ScoringSettings
from shared.contracts import Event, EventData
from shared.contracts.feedback import SurveyAnswered, TicketEvent, TicketOpened
from shared.contracts.handles import Purchase, Refund
from shared.contracts.profile import (
    CustomerMerged,
    CustomerRegistered,
    CustomerUnmerged,
    PurchaseRecorded,
    PurchaseRefunded,
)
from shared.database import Database
from shared.ids import new_id

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def day(number: float) -> datetime:
    """So many days after the start of the story."""
    return START + timedelta(days=number)


def event(data: EventData, at: datetime | None = None) -> Event[Any]:
    return Event(new_id(), data.type, f"/{data.producer}", at or START, None, None, data)


def purchase(customer: UUID, on: float, amount: int = 1000, currency: str = "CNY") -> Purchase:
    purchase_id = uuid4()
    return Purchase(
        purchase_id=purchase_id,
        customer_id=customer,
        source="shop",
        source_id=str(purchase_id),
        amount=amount,
        currency=currency,
        occurred_at=day(on),
    )


def refund(of: Purchase, amount: int | None = None, on: float = 0) -> Refund:
    return Refund(
        refund_id=uuid4(),
        purchase_id=of.purchase_id,
        customer_id=of.customer_id,
        amount=of.amount if amount is None else amount,
        purchase_amount=of.amount,
        currency=of.currency,
        occurred_at=day(on),
        purchased_at=of.occurred_at,
    )


def bought(*purchases: Purchase) -> Event[Any]:
    return event(PurchaseRecorded(items=purchases))


def given_back(*refunds: Refund) -> Event[Any]:
    return event(PurchaseRefunded(items=refunds))


def registered(customer: UUID, on: float = 0) -> Event[Any]:
    return event(CustomerRegistered(customer_id=customer, registered_at=day(on)))


def ticket(
    ticket_id: UUID,
    customer: UUID | None,
    *,
    told: float = 0,
    status: str = "open",
    kind: str = "complaint",
    mood: float = -0.5,
    what: type[TicketEvent] = TicketOpened,
) -> Event[Any]:
    data = what(
        ticket_id=ticket_id,
        customer_id=customer,
        kind=kind,
        category="delivery",
        severity="high",
        mood=mood,
        status=status,
        channel="review",
        occurred_at=START,
    )
    return event(data, day(told))


def answered(customer: UUID, score: int, *, kind: Any = "nps", on: float = 0) -> Event[Any]:
    data = SurveyAnswered(
        answer_id=uuid4(),
        customer_id=customer,
        survey=kind,
        kind=kind,
        score=score,
        occurred_at=day(on),
    )
    return event(data)


def merged(into: UUID, customer: UUID) -> Event[Any]:
    return event(CustomerMerged(survivor_id=into, merged_id=customer, merge_id=new_id()))


def unmerged(of: Event[Any]) -> Event[Any]:
    """The undoing of a merge."""
    return event(CustomerUnmerged(**of.data.model_dump()))


async def hear(database: Database, settings: ScoringSettings, *events: Event[Any]) -> None:
    """React to these events together, in one transaction."""
    async with database.pool.acquire() as connection, connection.transaction():
        await react(connection, list(events), settings)


async def table(database: Database, name: str) -> list[dict[str, Any]]:
    """All rows of a table, by customer."""
    rows: Sequence[Any] = await database.pool.fetch(f"SELECT * FROM {name} ORDER BY customer_id")  # noqa: S608
    return [dict(row) for row in rows]
