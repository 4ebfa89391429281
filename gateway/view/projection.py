"""The projection: section events become rows of the view.

Snapshots come in any order and any number of times. The highest version wins, and a later version reads the
same or newer state (shared/messaging/sections.py), so the view can only move forwards.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from gateway.view import store
from gateway.view.identities import handles_of
from shared.contracts import Event
from shared.contracts.sections import (
    FeedbackSection,
    LoyaltySection,
    ProfileSection,
    ScoringSection,
    SectionSnapshot,
)
from shared.messaging.reactions import Reactions

reactions = Reactions("gateway.view", plain=True, emits=False)


@reactions.on_batch(ProfileSection, FeedbackSection, LoyaltySection, ScoringSection)
async def project_sections(connection: asyncpg.Connection, events: list[Event[SectionSnapshot]]) -> None:
    """Keep the newest snapshot of each customer and section, and whose the handles are."""
    newest = newest_of(event.data for event in events)
    applied = await store.apply(
        connection,
        [
            store.Snapshot(customer_id, section, data.version, data.as_of, canonical(data.body))
            for (customer_id, section), data in newest.items()
        ],
    )
    held = {
        customer_id: handles_of(newest[customer_id, section].body)
        for customer_id, section in applied
        if section == "profile"
    }
    if held:
        await store.replace_handles(connection, held)


def newest_of(snapshots: Iterable[SectionSnapshot]) -> dict[tuple[UUID, str], SectionSnapshot]:
    """The snapshot with the highest version of each customer and section."""
    newest: dict[tuple[UUID, str], SectionSnapshot] = {}
    for snapshot in snapshots:
        key = (snapshot.customer_id, snapshot.producer)
        if key not in newest or newest[key].version < snapshot.version:
            newest[key] = snapshot
    return newest


def canonical(body: dict[str, Any] | None) -> str | None:
    """A section's body as the view keeps it: compact JSON, the keys in the producer's order."""
    return None if body is None else orjson.dumps(body).decode()
