"""P5's clock: webhooks at a steady rate, and when each is in the view. `python -m infra.bench.visible JSON`.

A poller asks the view's table, by primary key, for the customers whose webhook is not visible yet. So a time
includes up to one POLL_S and one query more than the view took.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg

from infra.bench.beside import answer

POLL_S = 0.002
GIVE_UP_S = 30.0
CONNECTIONS = 64
_VERSIONS = """
    SELECT customer_id, version FROM view_sections
    WHERE section = 'feedback' AND customer_id = ANY($1::uuid[])
"""


class Clock:
    """Which webhooks are on their way, and how long those took that arrived."""

    def __init__(self, known: dict[UUID, int]) -> None:
        self.known = known
        self.accepted_at: dict[UUID, float] = {}
        self.waiting: set[UUID] = set()
        self.visible_at: dict[UUID, float] = {}
        self.refused: list[str] = []

    async def send(self, session: aiohttp.ClientSession, path: str, webhook: dict[str, Any]) -> None:
        """Post one webhook; from its 202 on its time runs."""
        customer = UUID(webhook["customer"])
        self.waiting.add(customer)
        async with session.post(path, data=webhook["body"].encode(), headers=webhook["headers"]) as said:
            if said.status != 202:
                self.refused.append(f"{said.status} {(await said.text())[:200]}")
                self.waiting.discard(customer)
        self.accepted_at[customer] = time.perf_counter()

    async def watch(self, view: asyncpg.Connection, until_s: float) -> None:
        """Note what becomes visible, until nothing is waited for any more or the time is over."""
        versions = await view.prepare(_VERSIONS)
        while time.perf_counter() < until_s:
            if self.waiting:
                rows = await versions.fetch(list(self.waiting))
                now = time.perf_counter()
                for row in rows:
                    if row["version"] > self.known[row["customer_id"]]:
                        self.visible_at[row["customer_id"]] = now
                        self.waiting.discard(row["customer_id"])
            elif len(self.visible_at) + len(self.refused) == len(self.known):
                return
            await asyncio.sleep(POLL_S)


async def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """Send every webhook of the file once, `rate` a second; the times from accepted to visible."""
    webhooks = _read(arguments["webhooks"])
    view = await asyncpg.connect(arguments["dsn"])
    rows = await view.fetch(_VERSIONS, [webhook["customer"] for webhook in webhooks])
    never_seen = {UUID(webhook["customer"]): 0 for webhook in webhooks}
    clock = Clock(never_seen | {UUID(str(row["customer_id"])): row["version"] for row in rows})
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with (
        aiohttp.ClientSession(arguments["gateway"], connector=connector) as session,
        asyncio.TaskGroup() as tasks,
    ):
        started = time.perf_counter()
        tasks.create_task(clock.watch(view, started + len(webhooks) / arguments["rate"] + GIVE_UP_S))
        for number, webhook in enumerate(webhooks):
            await asyncio.sleep(max(0.0, started + number / arguments["rate"] - time.perf_counter()))
            tasks.create_task(clock.send(session, arguments["path"], webhook))
        sent_s = time.perf_counter() - started
    await view.close()
    times_ms = [
        max(0.0, at - clock.accepted_at[customer]) * 1000 for customer, at in clock.visible_at.items()
    ]
    return {"times_ms": times_ms, "refused": clock.refused, "sent_per_s": len(webhooks) / sent_s}


def _read(file: str) -> list[dict[str, Any]]:
    webhooks: list[dict[str, Any]] = json.loads(Path(file).read_text(encoding="utf-8"))
    return webhooks


if __name__ == "__main__":
    answer(main)
