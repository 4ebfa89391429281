"""What scoring does when something happens elsewhere: write it down, and bring facts and scores up to date.

All events that arrive together are dealt with together, so that a bulk import costs a few statements for
hundreds of purchases. A purchase's customers have new scores when the transaction commits.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import asyncpg

from services.scoring.actions import store as actions
from services.scoring.facts import store as facts
from services.scoring.recommendations.store import note_changes as note_recommendation_changes
from services.scoring.settings import ScoringSettings
from services.scoring.value.service import refresh
from services.scoring.value_index import store as value_index
from shared.clock import utc_now
from shared.contracts import Event
from shared.contracts.feedback import (
    SurveyAnswered,
    TicketEvent,
    TicketLinked,
    TicketOpened,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)
from shared.contracts.handles import Purchase, Refund
from shared.contracts.loyalty import ReferralCompleted
from shared.contracts.profile import CustomerRegistered, PurchaseRecorded, PurchaseRefunded
from shared.messaging.reactions import Reactions

RECORD_LIMIT = 5_000  # rows per INSERT


def reactions_for(settings: ScoringSettings) -> Reactions:
    """The reactions of a service with these settings."""
    reactions = Reactions("scoring.reactions", plain=True)

    @reactions.on_batch(
        CustomerRegistered,
        PurchaseRecorded,
        PurchaseRefunded,
        TicketOpened,
        TicketLinked,
        TicketUpdated,
        TicketResolved,
        TicketReopened,
        SurveyAnswered,
        ReferralCompleted,
    )
    async def on_something(connection: asyncpg.Connection, events: list[Event[Any]]) -> None:
        await react(connection, events, settings)

    return reactions


async def react(
    connection: asyncpg.Connection, events: Sequence[Event[Any]], settings: ScoringSettings
) -> None:
    """Write down what happened, then derive and score the customers it happened to, once each."""
    purchases: list[Purchase] = []
    refunds: list[Refund] = []
    tickets: list[Event[TicketEvent]] = []
    answers: list[SurveyAnswered] = []
    registrations: dict[UUID, CustomerRegistered] = {}
    for event in events:
        match event.data:
            case PurchaseRecorded(items=items):
                purchases += items
            case PurchaseRefunded(items=items):
                refunds += items
            case TicketEvent():
                tickets.append(event)
            case SurveyAnswered() as answer:
                answers.append(answer)
            case CustomerRegistered() as registered:
                registrations[registered.customer_id] = registered
    touched = set(registrations)
    touched |= await value_index.record_referrals(
        connection, [event.data for event in events if isinstance(event.data, ReferralCompleted)]
    )
    rows = iter(purchases)
    while some := list(islice(rows, RECORD_LIMIT)):
        touched |= await facts.record_purchases(connection, some)
    if refunds:
        touched |= await facts.record_refunds(connection, refunds)
    if tickets:
        touched |= await facts.record_tickets(connection, tickets)
    if answers:
        touched |= await facts.record_answers(connection, answers)
    changed = await refresh(
        connection,
        touched,
        settings=settings,
        observed=settings.observed(utc_now()),
        reasons=sorted({event.type for event in events}),
        registrations=registrations,
    )
    if changed and (purchases or refunds):
        await facts.note_change(connection)
        await note_recommendation_changes(connection, sum(len(p.lines) for p in purchases) + len(refunds))
    await value_index.note_due(connection, sorted(touched))
    await actions.note_due(connection, sorted(touched))
