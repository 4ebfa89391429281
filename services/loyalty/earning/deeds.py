"""What events tell that a member did, as deeds. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from services.loyalty.earning.rules import Deed, Part
from shared.contracts import Event
from shared.contracts.feedback import SurveyAnswered, TicketEvent
from shared.contracts.handles import Activity, Purchase
from shared.contracts.profile import ActivityRecorded, CustomerRegistered, PurchaseRecorded

DONE = frozenset({"resolved", "closed"})
MAX_TEXT = 200


def of_event(event: Event[Any], now: datetime) -> Iterator[Deed]:
    """The deeds that an event tells of; none for many."""
    match event.data:
        case PurchaseRecorded(items=purchases):
            for purchase in purchases:
                yield of_purchase(purchase, event.id, now)
        case ActivityRecorded(items=activities):
            for activity in activities:
                yield _of_activity(activity, event.id, now)
        case CustomerRegistered() as registered:
            # Named by what told it: the names of deeds are in the ledger for ever, customers' ids are not.
            at, customer_id = registered.registered_at, registered.customer_id
            yield Deed(event.id, "sign-up", customer_id, at, now, "Welcome", event.id)
        case SurveyAnswered() as answer:
            reason = f"Survey {answer.survey} answered"[:MAX_TEXT]
            at, customer_id = answer.occurred_at, answer.customer_id
            yield Deed(
                answer.answer_id, "survey", customer_id, at, now, reason, event.id, subject=answer.kind
            )
        case TicketEvent(customer_id=UUID() as customer_id) as ticket if ticket.status in DONE:
            reason, at = f"Feedback: {ticket.kind}"[:MAX_TEXT], ticket.occurred_at
            yield Deed(
                ticket.ticket_id,
                "feedback",
                customer_id,
                at,
                now,
                reason,
                event.id,
                subject=ticket.kind,
                channel=ticket.channel,
            )


def of_purchase(purchase: Purchase, event_id: UUID, now: datetime) -> Deed:
    """A purchase with its lines."""
    return Deed(
        purchase.purchase_id,
        "purchase",
        purchase.customer_id,
        purchase.occurred_at,
        now,
        f"Purchase {purchase.source_id} at {purchase.source}",
        event_id,
        purchase.amount,
        purchase.currency,
        tuple(Part(line.amount, line.category, line.sku) for line in purchase.lines),
        channel=purchase.channel,
    )


def _of_activity(activity: Activity, event_id: UUID, now: datetime) -> Deed:
    return Deed(
        activity.activity_id,
        "activity",
        activity.customer_id,
        activity.occurred_at,
        now,
        f"Activity {activity.kind}"[:MAX_TEXT],
        event_id,
        subject=activity.kind,
        channel=activity.channel,
    )
