"""A broker that dies and comes back: what was accepted meanwhile arrives, once."""

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.messaging.rabbit import RabbitBus
from tests.conftest import MakeDatabase
from tests.support.apps import eventually, running
from tests.support.broker import killable_rabbit
from tests.support.probe.app import PACKAGE, ProbeSettings, create_app

pytestmark = pytest.mark.broker


async def test_events_accepted_while_the_broker_is_dead_arrive_after_it(
    fresh: MakeDatabase, tmp_path: Path
) -> None:
    settings = await fresh(ProbeSettings, PACKAGE, relay_poll_s=0.1)
    broker = killable_rabbit(tmp_path / "rabbit")
    await asyncio.to_thread(broker.start)
    bus = RabbitBus(broker.url, prefix="away")
    await bus.start()
    try:
        app = create_app(settings, bus)  # type: ignore[arg-type]
        async with running(app) as client:
            tickets = sorted(uuid4() for _ in range(30))

            async def heard() -> list[UUID]:
                rows = await app.state.database.pool.fetch("SELECT customer_id FROM heard ORDER BY 1")
                return [UUID(str(row["customer_id"])) for row in rows]

            await eventually(lambda: bus.connected, within_s=20)
            for number, ticket_id in enumerate(tickets):
                if number == 10:
                    await asyncio.to_thread(broker.kill)
                    await eventually(lambda: not bus.connected, within_s=30)
                assert (await client.post(f"/v1/tickets/{ticket_id}:open")).status_code == 200
            assert (await client.get("/readyz")).json()["dependencies"]["broker"] == "away"
            await asyncio.to_thread(broker.start)

            async def all_heard() -> bool:
                return await heard() == tickets

            await eventually(all_heard, within_s=40)
    finally:
        await bus.close()
        await asyncio.to_thread(broker.stop)
