"""What scoring does when something happens elsewhere: write it down, and bring facts and scores up to date.

All events that arrive together are dealt with together, so that a bulk import costs a few statements for
hundreds of purchases. A purchase's customers have new scores when the transaction commits.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import asyncpg

from services.scoring import due
from services.scoring.facts import families, happened, told
from services.scoring.facts import store as facts
from services.scoring.recommendations.store import note_changes as note_recommendation_changes
from services.scoring.settings import ScoringSettings
from services.scoring.value.service import refresh
from shared.clock import utc_now
from shared.contracts import Event, EventData, feedback, loyalty
from shared.contracts.feedback import SurveyAnswered, TicketEvent
from shared.contracts.loyalty import PointsEvent, ReferralCompleted, TierChanged
from shared.contracts.profile import (
    ConsentChanged,
    CustomerErased,
    CustomerMerged,
    CustomerRegistered,
    CustomerUnmerged,
    CustomerUpdated,
    PurchaseRecorded,
    PurchaseRefunded,
)
from shared.messaging.reactions import Reactions

RECORD_LIMIT = 5_000  # purchases, or others of one kind, per INSERT

HEARD: tuple[type[EventData], ...] = (
    CustomerRegistered,
    CustomerUpdated,
    CustomerMerged,
    CustomerUnmerged,
    CustomerErased,
    ConsentChanged,
    PurchaseRecorded,
    PurchaseRefunded,
    feedback.TicketOpened,
    feedback.TicketLinked,
    feedback.TicketUpdated,
    feedback.TicketResolved,
    feedback.TicketReopened,
    feedback.TicketBreached,
    SurveyAnswered,
    ReferralCompleted,
    TierChanged,
    loyalty.PointsEarned,
    loyalty.PointsRedeemed,
    loyalty.PointsReversed,
    loyalty.PointsExpired,
)


def reactions_for(settings: ScoringSettings) -> Reactions:
    """The reactions of a service with these settings."""
    reactions = Reactions("scoring.reactions", plain=True)

    @reactions.on_batch(*HEARD)
    async def on_something(connection: asyncpg.Connection, events: list[Event[Any]]) -> None:
        await react(connection, events, settings)

    return reactions


async def react(
    connection: asyncpg.Connection, events: Sequence[Event[Any]], settings: ScoringSettings
) -> None:
    """Write down what happened, then derive and score the customers it happened to, once each."""
    related = [e for e in events if isinstance(e.data, CustomerMerged | CustomerUnmerged | CustomerErased)]
    await families.hold(connection, alone=bool(related))
    touched = await families.settle(connection, related) if related else set()
    said = _by_kind(events)
    touched |= await _record(connection, said)
    changed = await refresh(
        connection,
        touched,
        settings=settings,
        observed=settings.observed(utc_now()),
        reasons=sorted({event.type for event in events}),
    )
    purchases, refunds = said[PurchaseRecorded], said[PurchaseRefunded]
    if related or (changed and (purchases or refunds)):
        await facts.note_change(connection)
        await note_recommendation_changes(connection, sum(len(p.lines) for p in purchases) + len(refunds))
    await due.note(connection, due.BY_EVENTS, sorted(touched))


def _by_kind(events: Sequence[Event[Any]]) -> defaultdict[type, list[Any]]:
    """What happened, under the kind that it is written down as."""
    said: defaultdict[type, list[Any]] = defaultdict(list)
    for event in events:
        match event.data:
            case PurchaseRecorded(items=items) | PurchaseRefunded(items=items):
                said[type(event.data)] += items
            case SurveyAnswered() | ReferralCompleted():
                said[type(event.data)].append(event.data)
            case TicketEvent():
                said[TicketEvent].append(event)
            case CustomerRegistered():
                said[CustomerRegistered].append(event.data)
                said[CustomerUpdated].append(event)
            case CustomerUpdated() | ConsentChanged():
                said[type(event.data)].append(event)
            case TierChanged() | PointsEvent():
                said[PointsEvent].append(event)
    return said


# How each kind is written down; in this order, which is the same for every writer.
_WRITES: dict[type, Callable[..., Awaitable[set[UUID]]]] = {
    PurchaseRecorded: happened.record_purchases,
    PurchaseRefunded: happened.record_refunds,
    TicketEvent: happened.record_tickets,
    SurveyAnswered: happened.record_answers,
    ReferralCompleted: happened.record_referrals,
    CustomerRegistered: happened.register,
    CustomerUpdated: told.record_attributes,
    ConsentChanged: told.record_consents,
    PointsEvent: told.record_standings,
}


async def _record(connection: asyncpg.Connection, said: Mapping[type, list[Any]]) -> set[UUID]:
    """Write down what happened, a statement or two for each kind and chunk; returns to whom."""
    touched: set[UUID] = set()
    for kind, write in _WRITES.items():
        rows = iter(said.get(kind, ()))
        while some := list(islice(rows, RECORD_LIMIT)):
            touched |= await write(connection, some)
    return touched
