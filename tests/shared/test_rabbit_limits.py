"""A broker of one's own with other limits: none on frames, no memory left, a queue taken away."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import UUID, uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from infra.servers import Rabbit
from shared.messaging.bus import BusAway, Outgoing
from shared.messaging.rabbit import RabbitBus
from tests.support.apps import eventually
from tests.support.broker import killable_rabbit, own_prefix

pytestmark = pytest.mark.broker
GROUP = "profile.reactions"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    folder = tmp_path_factory.mktemp("rabbit")
    (folder / "rabbitmq.conf").write_text("frame_max = 0\n", encoding="ascii")
    with killable_rabbit(folder) as started:
        yield started


@pytest.fixture
async def bus(broker: Rabbit) -> AsyncIterator[RabbitBus]:
    made = RabbitBus(broker.url, prefix=own_prefix())
    await made.start()
    try:
        await eventually(lambda: made.connected)
        yield made
    finally:
        await made.close()


def events(*envelopes: str) -> list[Outgoing]:
    return [Outgoing(uuid4(), "ticket.opened", envelope) for envelope in envelopes]


async def until_taken(bus: RabbitBus, batch: list[Outgoing]) -> set[UUID]:
    """What is safe once the broker takes anything."""
    while True:
        try:
            return await bus.publish(batch)
        except BusAway:
            await asyncio.sleep(0.05)


async def test_messages_of_any_size_arrive_where_frames_have_no_limit(bus: RabbitBus) -> None:
    batch = events("", "1", "2" * 131_064, "3" * 131_065, "4" * 1_000_000)
    arrived: list[bytes] = []

    async def deliver(bodies: Sequence[bytes]) -> None:
        arrived.extend(bodies)

    bus.subscribe(GROUP, deliver, batch=2)
    assert await bus.publish(batch) == {event.id for event in batch}
    await eventually(lambda: len(arrived) == len(batch))
    assert arrived == [event.envelope.encode() for event in batch]


async def test_consumers_make_room_while_the_broker_takes_nothing_for_want_of_memory(
    bus: RabbitBus, broker: Rabbit
) -> None:
    arrived: list[bytes] = []
    free = asyncio.Event()

    async def deliver(bodies: Sequence[bytes]) -> None:
        await free.wait()
        arrived.extend(bodies)

    bus.subscribe(GROUP, deliver, batch=2)
    await bus.publish(events(*"0123456789"))
    await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "absolute", "1")
    batch = events("later")
    try:
        for _ in range(3):
            with pytest.raises(BusAway):
                await bus.publish(batch)
        free.set()
        await eventually(lambda: len(arrived) == 10)
    finally:
        await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "0.4")
    assert await until_taken(bus, batch) == {batch[0].id}
    await eventually(lambda: b"later" in arrived)
    assert sorted(set(arrived)) == [*(b"%d" % number for number in range(10)), b"later"]


async def test_a_queue_that_is_deleted_is_made_and_consumed_anew(bus: RabbitBus, broker: Rabbit) -> None:
    arrived: list[bytes] = []

    async def deliver(bodies: Sequence[bytes]) -> None:
        arrived.extend(bodies)

    bus.subscribe(GROUP, deliver, batch=2)
    await bus.publish(events("before"))
    await eventually(lambda: arrived)
    await asyncio.to_thread(broker.control, "delete_queue", bus._queue(GROUP))

    async def heard() -> bool:
        await until_taken(bus, events("after"))
        return b"after" in arrived

    await eventually(heard, every_s=0.1)


async def test_a_message_that_always_ends_its_consumer_is_set_aside_alone(
    broker: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.rabbit.DELIVERY_LIMIT", 3)
    monkeypatch.setattr("shared.messaging.rabbit.RECONNECT_MIN_S", 0.01)
    bus = RabbitBus(broker.url, prefix=own_prefix())
    arrived: list[bytes] = []

    async def deliver(bodies: Sequence[bytes]) -> None:
        if b"5" in bodies:
            raise RuntimeError("as a crash would")
        arrived.extend(bodies)

    await bus.start()
    try:
        await eventually(lambda: bus.connected)
        await bus.publish(events(*"0123456789"))
        bus.subscribe(GROUP, deliver, batch=10)
        await eventually(lambda: len(arrived) == 9, within_s=30)
        assert await set_aside(broker, f"{bus._queue(GROUP)}.dead") == [b"5"]
    finally:
        await bus.close()


async def set_aside(broker: Rabbit, queue: str) -> list[bytes]:
    """What the broker has moved to a group's dead-letter queue, once there is something."""
    async with await aio_pika.connect(broker.url) as connection, connection.channel() as channel:
        dead = await channel.get_queue(queue)

        async def next_one() -> AbstractIncomingMessage | None:
            return await dead.get(fail=False)

        bodies = [(await eventually(next_one)).body]
        while (message := await next_one()) is not None:
            bodies.append(message.body)
        return bodies
