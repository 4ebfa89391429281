"""What the profile's tests share: bodies that callers send, and the service as others see it."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import orjson
from fastapi import FastAPI

from shared.clock import utc_now
from shared.contracts import Event, EventData, encode
from shared.ids import new_id
from shared.messaging.bus import Outgoing
from shared.messaging.local import LocalBus
from tests.support.apps import eventually

PURCHASE = {
    "customer": {"external_id": {"source": "shop", "id": "C-17"}},
    "source": "shop",
    "source_id": "O-1001",
    "occurred_at": "2026-03-01T10:00:00Z",
    "currency": "CNY",
    "amount": 12900,
    "lines": [{"sku": "A1", "category": "kitchen", "quantity": 1, "amount": 12900, "cost": 8000}],
}
LI_LEI = {
    "name": "李雷",
    "email": "lilei@example.com",
    "phone": "+8613800138000",
    "external_ids": {"shop": "C-17"},
    "attributes": {"plan": "pro"},
}


@dataclass
class Profile:
    """The service as its callers and the other services see it."""

    app: FastAPI
    client: httpx.AsyncClient
    bus: LocalBus
    heard: list[Event[EventData]] = field(default_factory=list)

    @property
    def pool(self) -> asyncpg.Pool:
        return self.app.state.database.pool

    async def events(self, kind: str, count: int = 1) -> list[Any]:
        """The data of the events of a type, once there are `count` of them."""
        await eventually(lambda: self._count(kind) >= count)
        return [event.data for event in self.heard if event.type == kind]

    async def none_waiting(self) -> None:
        """Wait until everything that was emitted has been told."""

        async def told() -> bool:
            waiting = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM section_marks)"
            return bool(await self.pool.fetchval(waiting) == 0)

        await eventually(told)

    async def send(self, *events: EventData) -> None:
        """Have something happen elsewhere; returns when the profile has dealt with it."""
        outgoing = []
        for data in events:
            event_id = new_id()
            envelope = encode(data, event_id=event_id, time=utc_now(), traceparent=None)
            outgoing.append(Outgoing(event_id, data.type, envelope))
        assert await self.bus.publish(outgoing) == {event.id for event in outgoing}

    async def section(self, customer_id: UUID | str) -> dict[str, Any]:
        """The profile section as it stands."""
        return dict(orjson.loads((await self.client.get(f"/internal/sections/{customer_id}")).content))

    async def register(self, **body: Any) -> str:
        """A new customer's id."""
        answer = await self.client.post("/v1/customers", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def customers(self) -> int:
        return int(await self.pool.fetchval("SELECT count(*) FROM customers"))

    def _count(self, kind: str) -> int:
        return sum(event.type == kind for event in self.heard)


async def together(*requests: Awaitable[httpx.Response]) -> list[httpx.Response]:
    """Answers of requests that run at the same time."""
    return list(await asyncio.gather(*requests))
