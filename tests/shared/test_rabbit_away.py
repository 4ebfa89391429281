"""A broker that dies and comes back, or is slow: what was accepted meanwhile arrives, once."""

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.messaging import rabbit
from shared.messaging.bus import BusAway, Outgoing
from shared.messaging.rabbit import RabbitBus
from tests.conftest import MakeDatabase
from tests.support.apps import eventually, running
from tests.support.broker import killable_rabbit
from tests.support.probe.app import PACKAGE, ProbeSettings, create_app

pytestmark = pytest.mark.broker


class Channel:
    """Confirms one message after the other, `every_s`; with None it never does."""

    number, max_content_size, delivery_tag = 1, 4096, 0

    def __init__(self, every_s: float | None) -> None:
        self._every_s = every_s
        self.lock = asyncio.Lock()
        self.write_queue = self
        self.confirmations: dict[int, asyncio.Future[object]] = {}
        self.message_id_delivery_tag: dict[str, int] = {}

    async def put(self, _: object) -> None:
        """What is to be sent: begin to confirm."""
        if self._every_s is not None:
            asyncio.get_running_loop().call_later(self._every_s, self._confirm, 1)

    def create_future(self) -> asyncio.Future[object]:
        return asyncio.get_running_loop().create_future()

    def _confirm(self, tag: int) -> None:
        self.confirmations.pop(tag).set_result("ack")
        if self.confirmations:
            asyncio.get_running_loop().call_later(self._every_s or 0, self._confirm, tag + 1)


async def publish(channel: Channel, count: int) -> tuple[set[UUID], list[bool]]:
    """What a bus on this channel reports safe of some messages, and whether it gave the connection up."""
    bus, given_up = RabbitBus("amqp://nowhere"), []
    bus._publisher, bus._abandon = channel, lambda *_: given_up.append(True)  # type: ignore[assignment]
    bus._ready.set()
    return await bus.publish([Outgoing(uuid4(), "ticket.opened", "{}") for _ in range(count)]), given_up


async def test_a_broker_that_confirms_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbit, "CONFIRM_TIMEOUT_S", 0.5)
    safe, given_up = await publish(Channel(every_s=0.05), 20)
    assert len(safe) == 20
    assert not given_up


async def test_a_channel_that_never_confirms_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbit, "CONFIRM_TIMEOUT_S", 0.05)
    with pytest.raises(BusAway):
        await publish(Channel(every_s=None), 3)


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
