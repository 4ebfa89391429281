"""Mixed load that keeps a ledger of what was accepted.

Each piece of work has an id of its own and is sent again, with the same id, until it is accepted: a caller
whose answer was lost in a crash cannot know whether its work took effect, so it repeats. What is compared in
the end is exactly what got a 2xx.
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

from tests.support.system import Partner, System, feedback

PAUSE_S = 0.2
GIVE_UP_S = 120.0
POINTS = 1


@dataclass(slots=True)
class Accepted:
    """What the system said yes to."""

    receipts: set[str] = field(default_factory=set)
    purchases: set[str] = field(default_factory=set)
    transfers: dict[str, str] = field(default_factory=dict)  # Idempotency-Key -> transfer
    repeats: int = 0
    refused: list[str] = field(default_factory=list)


class Load:
    """Webhooks, purchases and redemptions over some customers, at a rate.

    Args:
        rate: pieces of work a second, over all kinds.
    """

    def __init__(self, system: System, *, customers: int, rate: float, seed: int) -> None:
        self._system = system
        self._wanted = customers
        self._rate = rate
        self._random = random.Random(seed)
        self._client = system.client()
        self._partner: Partner | None = None
        self.customers: list[tuple[str, str]] = []
        self.accepted = Accepted()

    async def prepare(self) -> None:
        """The partner, and customers with enough points to spend."""
        self._partner = await Partner.create(self._client, f"chaos-{uuid4().hex[:8]}")
        for number in range(self._wanted):
            email = f"chaos{number}-{uuid4().hex[:6]}@example.com"
            answer = await self._client.post("/v1/customers", json={"name": f"客户{number}", "email": email})
            assert answer.status_code == 201, answer.text
            self.customers.append((answer.json()["id"], email))

    async def run(self, duration_s: float) -> None:
        """Start work at the rate for the duration, then wait until all of it is accepted."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        work = itertools.cycle([self._webhook, self._purchase, self._webhook, self._purchase, self._redeem])
        async with asyncio.TaskGroup() as group:
            for number, kind in enumerate(work):
                due = started + number / self._rate
                if due > started + duration_s:
                    break
                await asyncio.sleep(max(0.0, due - loop.time()))
                customer_id, email = self._random.choice(self.customers)
                group.create_task(kind(customer_id, email))

    async def close(self) -> None:
        await self._client.aclose()

    async def _webhook(self, _: str, email: str) -> None:
        assert self._partner is not None
        partner, webhook_id = self._partner, f"msg_{uuid4().hex}"
        data = feedback(contact={"email": email})
        answer = await self._until_accepted(lambda: partner.post(data, webhook_id), (200, 202))
        if answer is not None:
            self.accepted.receipts.add(answer.json()["receipt_id"])

    async def _purchase(self, customer_id: str, _: str) -> None:
        body = {
            "customer": {"id": customer_id},
            "source": "chaos",
            "source_id": uuid4().hex,
            "occurred_at": "2026-03-01T10:00:00Z",
            "currency": "CNY",
            "amount": 10_000,
        }
        answer = await self._until_accepted(lambda: self._client.post("/v1/purchases", json=body), (200, 201))
        if answer is not None:
            self.accepted.purchases.add(answer.json()["id"])

    async def _redeem(self, customer_id: str, _: str) -> None:
        key = uuid4().hex
        path, body = f"/v1/loyalty/{customer_id}/redemptions", {"points": POINTS, "reason": "chaos"}
        answer = await self._until_accepted(
            lambda: self._client.post(path, json=body, headers={"Idempotency-Key": key}), (201, 409)
        )
        if answer is not None and answer.status_code == 201:
            self.accepted.transfers[key] = answer.json()["transfer_id"]

    async def _until_accepted(
        self, send: Callable[[], Awaitable[httpx.Response]], good: tuple[int, ...]
    ) -> httpx.Response | None:
        deadline = asyncio.get_running_loop().time() + GIVE_UP_S
        while asyncio.get_running_loop().time() < deadline:
            try:
                answer = await send()
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code in good:
                return answer
            if answer is not None and answer.status_code not in (429, 500, 502, 503, 504):
                self.accepted.refused.append(f"{answer.status_code} {answer.text[:300]}")
                return None
            if answer is not None and answer.status_code == 500:
                self.accepted.refused.append(f"500 {answer.text[:300]}")
            self.accepted.repeats += 1
            await asyncio.sleep(PAUSE_S)
        self.accepted.refused.append("never accepted")
        return None
