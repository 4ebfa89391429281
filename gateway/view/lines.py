"""What each event says on the customer's journey: one line for each thing that happened. Pure.

A line can be read without asking another service, and names no personal data that the event does not need to
make sense: of changed attributes the names, of contacts nothing.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from shared.contracts import Event, EventData
from shared.contracts.feedback import TicketEvent
from shared.contracts.handles import Purchase
from shared.contracts.profile import CustomerRegistered, CustomerUpdated, IdentityResolved

SUMMARY_LIMIT_BYTES = 4_000
SHORT_VALUE_BYTES = 200  # what is kept of a summary that is too long

# What a line shows of an event of this type, or of one item of it.
_TICKET = ("ticket_id", "kind", "category", "severity", "mood", "status", "department", "channel")
_POINTS = ("transfer_id", "points", "balance", "reason")
_SHOWN: dict[str, tuple[str, ...]] = {
    "customer.merged": ("merged_id", "merge_id"),
    "customer.unmerged": ("merged_id", "merge_id"),
    "identity.resolved": ("ref", "rule", "confidence"),
    "consent.changed": ("purpose", "channel", "status"),
    "activity.recorded": ("activity_id", "kind", "touchpoint", "channel", "stage", "details"),
    "purchase.recorded": (
        "purchase_id",
        "source",
        "source_id",
        "amount",
        "currency",
        "touchpoint",
        "channel",
    ),
    "purchase.refunded": ("refund_id", "purchase_id", "amount", "purchase_amount", "currency"),
    "ticket.opened": _TICKET,
    "ticket.linked": _TICKET,
    "ticket.updated": _TICKET,
    "ticket.resolved": _TICKET,
    "ticket.reopened": _TICKET,
    "ticket.breached": _TICKET,
    "survey.answered": ("answer_id", "survey", "kind", "score", "touchpoint"),
    "points.earned": (*_POINTS, "pending_until"),
    "points.redeemed": _POINTS,
    "points.reversed": _POINTS,
    "points.expired": _POINTS,
    "points.expiring": ("points", "balance", "expires_at"),
    "tier.changed": ("from_tier", "to_tier", "qualifying"),
    "referral.completed": ("referral_id", "points"),
    "badge.awarded": ("badge", "challenge"),
    "reward.redeemed": ("redemption_id", "reward_id", "reward", "kind", "quantity", "points"),
    "coupon.issued": ("campaign_id", "campaign", "ends_at"),
    "churn.risk_raised": ("model_version", "as_of", "risk", "threshold", "reasons"),
    "action.recommended": ("action", "channel", "offer", "arm", "reasons", "expires_at"),
    "score.updated": ("model_version", "as_of", "values", "reasons"),
    "segment.changed": ("kind", "entered", "left", "as_of"),
}
# Types whose `occurred_at` is the time of what the line tells; for the others it is the event's own time
# (a ticket carries the time of its first feedback through all its later events).
_TIMED = {
    "consent.changed",
    "activity.recorded",
    "purchase.recorded",
    "purchase.refunded",
    "ticket.opened",
    "survey.answered",
    "points.earned",
    "points.redeemed",
    "points.reversed",
    "points.expired",
    "tier.changed",
    "referral.completed",
    "badge.awarded",
    "reward.redeemed",
    "coupon.issued",
}


class Line(NamedTuple):
    """One line. `item` counts the items of one event; `customer_id` is None while a ticket has none."""

    customer_id: UUID | None
    ticket_id: UUID | None
    event_id: UUID
    item: int
    type: str
    occurred_at: datetime
    recorded_at: datetime
    summary: str


def lines_of(event: Event[EventData]) -> Iterator[Line]:
    """The lines of one event, in the order of its items."""
    items = getattr(event.data, "items", None)
    for index, item in enumerate((event.data,) if items is None else items):
        yield Line(
            item.customer_id,
            item.ticket_id if isinstance(item, TicketEvent) else None,
            event.id,
            index,
            event.type,
            _occurred_at(event, item),
            event.time,
            _summary(event.type, item),
        )


def ticket_owners(events: Iterable[Event[EventData]]) -> dict[UUID, UUID | None]:
    """Whose the tickets are that these events speak of; None where none of them says it."""
    owners: dict[UUID, UUID | None] = {}
    for event in events:
        data = event.data
        if isinstance(data, TicketEvent):
            owners[data.ticket_id] = data.customer_id or owners.get(data.ticket_id)
        elif isinstance(data, IdentityResolved) and data.ref.kind == "ticket":
            owners[data.ref.id] = data.customer_id
    return owners


def line_id(event_id: UUID, item: int) -> str:
    """The public id of a line: the event's id, and the item's place in it after the first."""
    return f"{event_id}.{item}" if item else str(event_id)


def _occurred_at(event: Event[EventData], item: Any) -> datetime:
    if isinstance(item, CustomerRegistered):
        return item.registered_at
    return item.occurred_at if event.type in _TIMED else event.time


def _summary(kind: str, item: Any) -> str:
    said = {name: value for name in _SHOWN.get(kind, ()) if (value := getattr(item, name)) is not None}
    if isinstance(item, CustomerRegistered | CustomerUpdated):
        said["attributes"] = sorted(item.attributes)
    elif isinstance(item, IdentityResolved):
        said["handles"] = sorted({handle.kind for handle in item.handles})
    elif isinstance(item, Purchase):
        said["lines"] = len(item.lines)
        said["categories"] = sorted({line.category for line in item.lines if line.category})
    written = _dumps(said)
    if len(written) > SUMMARY_LIMIT_BYTES:
        short = {
            name: value for name, value in said.items() if len(_dumps(value)) <= SUMMARY_LIMIT_BYTES / 10
        }
        written = _dumps(short | {"shortened": True})
    return written.decode()


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json")
