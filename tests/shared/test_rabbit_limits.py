"""A broker of one's own with other limits: none on frames."""

from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import uuid4

import pytest

from infra.servers import Rabbit
from shared.messaging.bus import Outgoing
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


async def test_messages_of_any_size_arrive_where_frames_have_no_limit(bus: RabbitBus) -> None:
    batch = events("", "1", "2" * 131_064, "3" * 131_065, "4" * 1_000_000)
    arrived: list[bytes] = []

    async def deliver(bodies: Sequence[bytes]) -> None:
        arrived.extend(bodies)

    bus.subscribe(GROUP, deliver, batch=2)
    assert await bus.publish(batch) == {event.id for event in batch}
    await eventually(lambda: len(arrived) == len(batch))
    assert arrived == [event.envelope.encode() for event in batch]
