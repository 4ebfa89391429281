"""The feedback service running on a real database, and what goes in and out of it by events."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from services.feedback.app import create_app
from services.feedback.settings import FeedbackSettings
from shared.contracts import Event, EventData, decode, encode
from shared.contracts.gateway import FeedbackReceived
from shared.contracts.handles import Handle
from shared.contracts.profile import IdentityResolved, Reference
from shared.messaging.bus import Outgoing
from shared.messaging.local import LocalBus
from tests.conftest import MakeDatabase
from tests.support.apps import eventually, running

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)

DataT = TypeVar("DataT", bound=EventData)


@dataclass
class Feedback:
    """The running service: its API, its database, and the bus it hangs on."""

    app: FastAPI
    client: httpx.AsyncClient
    bus: LocalBus
    heard: list[Event[EventData]] = field(default_factory=list)

    async def hear(self, *data: EventData, time: datetime = NOW) -> None:
        """Deliver events from elsewhere; returns once the reactions have committed."""
        batch = []
        for item in data:
            event_id = uuid4()
            batch.append(
                Outgoing(event_id, item.type, encode(item, event_id=event_id, time=time, traceparent=None))
            )
        assert await self.bus.publish(batch) == {outgoing.id for outgoing in batch}

    async def said(self, kind: type[DataT], count: int = 1) -> list[DataT]:
        """Wait until the service has published so many events of a type, and no more."""

        def found() -> list[Any]:
            return [event.data for event in self.heard if isinstance(event.data, kind)]

        await eventually(lambda: len(found()) >= count)
        await self.quiet()
        assert len(found()) == count, [data.type for data in found()]
        return found()

    async def quiet(self) -> None:
        """Wait until everything emitted is published."""

        async def empty() -> bool:
            return not await self.sql(
                "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM section_marks)"
            )

        await eventually(empty)
        await asyncio.sleep(0)

    async def sql(self, query: str, *arguments: Any) -> Any:
        """One value from the database."""
        return await self.app.state.database.pool.fetchval(query, *arguments)

    async def section(self, customer_id: UUID) -> dict[str, Any]:
        """The customer's section as it stands."""
        answer = await self.client.get(f"/internal/sections/{customer_id}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def open(self, **body: Any) -> dict[str, Any]:
        """Open a ticket over the API."""
        answer = await self.client.post(
            "/v1/tickets",
            json={"kind": "complaint", "text": "The parcel never arrived"} | body,
            headers={"Idempotency-Key": uuid4().hex},
        )
        assert answer.status_code == 201, answer.text
        ticket: dict[str, Any] = answer.json()
        return ticket

    async def ticket(self, ticket_id: str) -> dict[str, Any]:
        """A ticket with everything about it."""
        answer = await self.client.get(f"/v1/tickets/{ticket_id}")
        assert answer.status_code == 200, answer.text
        ticket: dict[str, Any] = answer.json()
        return ticket


@pytest.fixture
async def feedback(fresh: MakeDatabase) -> AsyncIterator[Feedback]:
    """A service of the test's own."""
    bus = LocalBus()
    app = create_app(await fresh(FeedbackSettings, "services.feedback"), bus=bus)
    await bus.start()
    async with running(app) as client:
        running_feedback = Feedback(app, client, bus)
        kinds = [f"ticket.{what}" for what in ("opened", "linked", "updated", "resolved", "reopened")] + [
            "survey.answered",
            "section.feedback",
        ]
        bus.listen(kinds, lambda envelope: running_feedback.heard.append(decode(envelope)))
        yield running_feedback
    await bus.close()


def received(**changes: Any) -> FeedbackReceived:
    """A complaint from a partner, as the gateway tells of it."""
    return FeedbackReceived(
        **{
            "receipt_id": uuid4(),
            "partner": "taobao",
            "source_id": f"F-{uuid4()}",
            "channel": "review",
            "kind": "complaint",
            "contact": (Handle(kind="email", value="lilei@example.com"),),
            "contact_name": "李雷",
            "text": "快递把包裹弄丢了,客服一直不回复",
            "rating": 1,
            "occurred_at": NOW,
        }
        | changes
    )


def resolved(
    ticket_id: UUID, customer_id: UUID, *, kind: str = "ticket", confidence: float = 1.0
) -> IdentityResolved:
    """Profile's word that a ticket is this customer's."""
    return IdentityResolved(
        ref=Reference(kind=kind, id=ticket_id),  # type: ignore[arg-type]
        handles=(),
        customer_id=customer_id,
        rule="email",
        confidence=confidence,
    )
