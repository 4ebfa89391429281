"""What goes over the wire, against a peer that confirms, returns, delivers and ends when the test says."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.heartbeat import Heartbeat

from shared import telemetry
from shared.messaging import publisher
from shared.messaging.bus import BusAway, Outgoing
from shared.messaging.rabbit import RabbitBus
from tests.support.apps import eventually
from tests.support.peer import Peer, Session, delivered, peer

Ack, Nack = commands.Basic.Ack, commands.Basic.Nack
GROUP = "profile.reactions"
CAREFUL = f"{GROUP}.careful"


@asynccontextmanager
async def connected(at: Peer) -> AsyncIterator[RabbitBus]:
    bus = RabbitBus(at.url)
    await bus.start()
    try:
        await eventually(lambda: bus.connected)
        yield bus
    finally:
        await bus.close()


def events(count: int, body: str = "{}") -> list[Outgoing]:
    return [Outgoing(uuid4(), "ticket.opened", body) for _ in range(count)]


def numbers(batch: Sequence[Outgoing], ids: set[UUID]) -> list[int]:
    """Which of a batch these are, counted from 1."""
    return [number for number, event in enumerate(batch, 1) if event.id in ids]


async def arrived(at: Peer, count: int) -> Session:
    """The publishing connection, once it has read so many messages."""
    await eventually(lambda: at.publisher and len(at.publisher.published) == count)
    assert at.publisher is not None
    return at.publisher


async def until_taken(bus: RabbitBus, batch: list[Outgoing]) -> set[UUID]:
    while True:
        try:
            return await bus.publish(batch)
        except BusAway:
            await asyncio.sleep(0.01)


def back(session: Session, tag: int) -> list[Any]:
    """The frames by which a message comes back that no queue takes."""
    message = session.published[tag - 1]
    returned = commands.Basic.Return(312, "NO_ROUTE", message.method.exchange, message.method.routing_key)
    return [returned, message.header, ContentBody(message.body)]


async def test_each_message_has_the_outcome_that_the_broker_gave_it() -> None:
    async with peer() as at, connected(at) as bus:
        batch = events(10)
        publishing = asyncio.create_task(bus.publish(batch))
        session = await arrived(at, 10)
        session.send(1, Ack(3, multiple=True), *back(session, 4), Nack(6, multiple=True))
        session.send(1, Ack(8), Ack(10, multiple=True))
        # 4 came back and is refused with 5 and 6.
        assert numbers(batch, await publishing) == [1, 2, 3, 7, 8, 9, 10]


async def test_a_message_that_comes_back_is_not_safe_though_it_is_acknowledged() -> None:
    async with peer() as at, connected(at) as bus:
        batch = events(3)
        publishing = asyncio.create_task(bus.publish(batch))
        session = await arrived(at, 3)
        session.send(1, *back(session, 2), Ack(3, multiple=True))
        assert numbers(batch, await publishing) == [1, 3]


@pytest.mark.parametrize("how", ["channel", "connection", "socket"])
async def test_what_was_confirmed_before_the_end_is_safe_and_the_rest_goes_again(how: str) -> None:
    async with peer() as at, connected(at) as bus:
        batch = events(5)
        publishing = asyncio.create_task(bus.publish(batch))
        session = await arrived(at, 5)
        session.send(1, Ack(2, multiple=True))
        if how == "channel":
            session.send(1, commands.Channel.Close(404, "NOT_FOUND", 60, 40))
        elif how == "connection":
            session.send(0, commands.Connection.Close(320, "CONNECTION_FORCED", 0, 0))
        else:
            session.writer.close()
        assert numbers(batch, await publishing) == [1, 2]
        again = asyncio.create_task(until_taken(bus, batch[2:]))
        await eventually(lambda: at.publisher is not session and len(at.publisher.published) == 3)
        at.publisher.send(1, Ack(3, multiple=True))
        assert numbers(batch, await again) == [3, 4, 5]


async def test_a_batch_that_nobody_confirms_is_given_up_with_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publisher, "CONFIRM_TIMEOUT_S", 0.1)
    async with peer() as at, connected(at) as bus:
        consuming = [session for session in at.sessions if session.consumers]
        with pytest.raises(BusAway):
            await bus.publish(events(3))
        await eventually(lambda: len(at.sessions) == 3 and bus.connected)
        assert [session for session in at.sessions if session.consumers] == consuming


async def test_a_broker_that_confirms_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "CONFIRM_TIMEOUT_S", 0.5)
    async with peer() as at, connected(at) as bus:
        batch = events(20)
        publishing = asyncio.create_task(bus.publish(batch))
        session = await arrived(at, 20)
        for number in range(1, 21):
            await asyncio.sleep(0.05)
            session.send(1, Ack(number))
        assert len(await publishing) == 20
        assert len(at.sessions) == 2


async def test_late_confirmations_of_a_cancelled_batch_are_not_taken_for_the_next_ones() -> None:
    async with peer() as at, connected(at) as bus:
        first = asyncio.create_task(bus.publish(events(3)))
        await arrived(at, 3)
        first.cancel()
        batch = events(2)
        second = asyncio.create_task(bus.publish(batch))
        session = await arrived(at, 5)
        session.send(1, *back(session, 1), Ack(3, multiple=True), Nack(4), Ack(5))
        assert numbers(batch, await second) == [2]


async def test_a_message_that_comes_back_late_is_logged_without_its_body() -> None:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(telemetry._JsonFormatter())
    logging.getLogger("aiormq.channel").addHandler(handler)
    try:
        async with peer() as at, connected(at) as bus:
            publishing = asyncio.create_task(bus.publish(events(1, '{"email":"lilei@example.com"}')))
            session = await arrived(at, 1)
            publishing.cancel()
            await asyncio.wait([publishing])
            session.send(1, *back(session, 1), Ack(1))
            await eventually(lines.getvalue)
    finally:
        logging.getLogger("aiormq.channel").removeHandler(handler)
    assert "Unhandled message" in lines.getvalue()
    assert "lilei" not in lines.getvalue()


async def test_frames_keep_to_the_agreed_size_whoever_writes_beside() -> None:
    async with peer(frame_max=4096) as at, connected(at) as bus:
        sizes = (0, 1, 4087, 4088, 4089, 8176, 8177, 50_000)
        bodies = ["é" * (size // 2) + "x" * (size % 2) for size in sizes]
        batches = [[Outgoing(uuid4(), "ticket.opened", body) for body in bodies] for _ in range(5)]
        publishing = [asyncio.create_task(bus.publish(batch)) for batch in batches]
        for _ in range(5):
            stop = bus.listen(["ticket.opened"], lambda _: None)  # consumes anew, on the other connection
            bus.subscribe(GROUP, _ignore, batch=1)
            await asyncio.sleep(0)
            stop()
        session = await arrived(at, 40)
        session.send(1, Ack(40, multiple=True))
        assert [len(safe) for safe in await asyncio.gather(*publishing)] == [8] * 5
        sent = {str(event.id): event for batch in batches for event in batch}
        for one in session.published:
            event = sent.pop(one.header.properties.message_id)
            assert one.body.decode() == event.envelope
            assert (one.method.exchange, one.method.routing_key) == ("c360.events", event.type)
            assert (one.method.mandatory, one.header.properties.delivery_mode) == (True, 2)
        assert not sent


async def test_a_large_batch_goes_in_pieces_as_the_connection_takes_them() -> None:
    async with peer() as at, connected(at) as bus:
        batch = events(64, "x" * 500_000)
        at.sessions[0].reading.clear()
        at.sessions[1].reading.clear()
        publishing = asyncio.create_task(bus.publish(batch))
        await asyncio.sleep(0.3)
        channel = bus._publisher._channel  # type: ignore[union-attr]
        assert channel.delivery_tag * 500_000 < 8 * publisher.PIECE_BYTES
        at.sessions[0].reading.set()
        at.sessions[1].reading.set()
        session = await arrived(at, 64)
        session.send(1, Ack(64, multiple=True))
        assert len(await publishing) == 64


async def test_a_connection_lost_half_way_through_a_batch_is_away() -> None:
    async with peer() as at, connected(at) as bus:
        for session in at.sessions:
            session.reading.clear()
        large = asyncio.create_task(bus.publish(events(64, "x" * 500_000)))
        await asyncio.sleep(0.1)
        for session in list(at.sessions):
            session.writer.transport.abort()
        with pytest.raises(BusAway):
            await large
        await eventually(lambda: bus.connected)


@pytest.mark.parametrize("how", ["cancelled", "blocked"])
async def test_a_batch_left_half_way_leaves_whole_messages_and_a_channel_that_counts_on(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "CONFIRM_TIMEOUT_S", 0.3)
    async with peer() as at, connected(at) as bus:
        for session in at.sessions:
            session.reading.clear()
        large = asyncio.create_task(bus.publish(events(64, "x" * 500_000)))
        await asyncio.sleep(0.1)
        if how == "cancelled":
            large.cancel()
        else:
            for session in at.sessions:
                session.send(0, commands.Connection.Blocked("low on memory"))
            with pytest.raises(BusAway):
                await large
        batch = events(2)
        small = asyncio.create_task(until_taken(bus, batch))
        for session in at.sessions:
            session.reading.set()
            session.send(0, commands.Connection.Unblocked())
        last = {str(event.id) for event in batch}
        await eventually(lambda: at.publisher and len(at.publisher.published) > 2)

        def both() -> bool:
            came = {one.header.properties.message_id for one in at.publisher.published}  # type: ignore[union-attr]
            return last <= came

        await eventually(both)
        session = at.publisher  # type: ignore[assignment]
        assert (len(session.published) < 64, len(at.sessions)) == (True, 2)
        session.send(1, Ack(len(session.published), multiple=True))
        assert numbers(batch, await small) == [1, 2]


async def test_a_broker_that_takes_nothing_is_not_left_nor_sent_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "CONFIRM_TIMEOUT_S", 0.1)
    async with peer() as at, connected(at) as bus:
        batch = events(2)
        publishing = asyncio.create_task(bus.publish(batch))
        session = await arrived(at, 2)
        session.send(0, commands.Connection.Blocked("low on memory"))
        for attempt in (publishing, bus.publish(batch), bus.publish(batch)):
            with pytest.raises(BusAway):
                await attempt
        assert (len(session.published), len(at.sessions), bus.connected) == (2, 2, True)
        session.send(1, Ack(2, multiple=True))
        session.send(0, commands.Connection.Unblocked())
        again = asyncio.create_task(until_taken(bus, batch))
        await arrived(at, 4)
        session.send(1, Ack(4, multiple=True))
        assert numbers(batch, await again) == [1, 2]


async def _ignore(_: Sequence[bytes]) -> None:
    pass


class Inbox:
    """Takes what is delivered, batch by batch; holds on while `held`."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.free = asyncio.Event()
        self.free.set()

    async def deliver(self, bodies: Sequence[bytes]) -> None:
        self.batches.append(list(bodies))
        await self.free.wait()


@asynccontextmanager
async def consuming(at: Peer, inbox: Inbox, size: int = 10) -> AsyncIterator[tuple[RabbitBus, Session]]:
    """A bus whose one group consumes from the peer once nothing comes again, and on which session."""
    async with connected(at) as bus:
        bus.subscribe(GROUP, inbox.deliver, batch=size)
        session = await eventually(lambda: at.consumer)
        session.deliver(CAREFUL, 1, b"not again")
        await eventually(lambda: GROUP in session.consumers)
        inbox.batches.clear()
        session.acknowledged.clear()
        yield bus, session


async def test_messages_come_whole_and_in_order_and_the_last_of_a_batch_is_acknowledged_for_all() -> None:
    inbox = Inbox()
    async with peer() as at, consuming(at, inbox, size=3) as (_, session):
        inbox.free.clear()
        channel = session.consumers[GROUP]
        session.deliver(GROUP, 1, b"1")
        await eventually(lambda: inbox.batches)
        frames = [frame for tag in (2, 3, 4, 5) for frame in delivered(GROUP, tag, b"%d" % tag, b"", b"+")]
        for frame in (frame for frame in frames if getattr(frame, "value", None) != b""):
            session.send(channel, frame)
            session.send(0, Heartbeat())  # another channel's frames may come in between
            await asyncio.sleep(0)
        session.deliver(GROUP, 6)
        inbox.free.set()
        await eventually(lambda: len(session.acknowledged) == 3)
        assert inbox.batches == [[b"1"], [b"2+", b"3+", b"4+"], [b"5+", b""]]
        assert [(ack.delivery_tag, ack.multiple) for ack in session.acknowledged] == [
            (1, True),
            (4, True),
            (6, True),
        ]


async def test_what_comes_again_is_taken_alone_until_something_new_comes() -> None:
    inbox = Inbox()
    async with peer() as at, connected(at) as bus:
        bus.subscribe(GROUP, inbox.deliver, batch=10)
        session = await eventually(lambda: at.consumer)
        for tag, again in ((1, True), (2, True), (3, False)):
            assert session.prefetch == {CAREFUL: 1}
            session.deliver(CAREFUL, tag, b"%d" % tag, again=again)
            await eventually(lambda: len(session.acknowledged) == len(inbox.batches) == tag)  # noqa: B023
        await eventually(lambda: session.prefetch == {CAREFUL: 1, GROUP: 10})
        session.send(
            session.consumers[GROUP], *delivered(GROUP, 4, b"4"), *delivered(GROUP, 5, b"5", again=True)
        )
        await eventually(lambda: len(session.acknowledged) == 4)
        assert inbox.batches == [[b"1"], [b"2"], [b"3"], [b"4", b"5"]]


@pytest.mark.parametrize("how", ["channel", "socket", "cancelled"])
async def test_a_consumer_that_the_broker_ends_begins_anew(how: str) -> None:
    inbox = Inbox()
    async with peer() as at, consuming(at, inbox) as (bus, session):
        channel = session.consumers[GROUP]
        session.deliver(GROUP, 1, b"whole")
        await eventually(lambda: session.acknowledged)
        if how == "cancelled":
            session.send(channel, commands.Basic.Cancel(GROUP, nowait=True))
        else:
            session.deliver(GROUP, 2, b"hal", size=4)
            if how == "channel":
                session.send(channel, commands.Channel.Close(406, "PRECONDITION_FAILED", 60, 80))
            else:
                session.writer.close()
        await eventually(lambda: at.consumer and at.consumer is not session)
        at.consumer.deliver(CAREFUL, 1, b"half", b"+")  # type: ignore[union-attr]
        await eventually(lambda: at.consumer and at.consumer.acknowledged)
        assert inbox.batches == [[b"whole"], [b"half+"]]
        assert bus.connected


async def test_closing_lets_the_batch_in_hand_finish_and_takes_no_other() -> None:
    inbox = Inbox()
    async with peer() as at, consuming(at, inbox, size=2) as (bus, session):
        inbox.free.clear()
        session.deliver(GROUP, 1, b"in hand")
        await eventually(lambda: inbox.batches)
        session.deliver(GROUP, 2, b"waiting")
        closing = asyncio.create_task(bus.close())
        await asyncio.sleep(0.1)
        assert not session.acknowledged
        inbox.free.set()
        await closing
        assert inbox.batches == [[b"in hand"]]
        assert [ack.delivery_tag for ack in session.acknowledged] == [1]


async def test_closing_waits_only_so_long_for_a_batch_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.messaging.rabbit.DRAIN_TIMEOUT_S", 0.1)
    inbox = Inbox()
    async with peer() as at, consuming(at, inbox) as (bus, session):
        inbox.free.clear()
        session.deliver(GROUP, 1, b"never done")
        await eventually(lambda: inbox.batches)
        async with asyncio.timeout(3):
            await bus.close()
        assert not session.acknowledged


async def test_closing_does_not_wait_for_a_broker_that_reads_nothing() -> None:
    async with peer() as at, connected(at) as bus:
        for session in at.sessions:
            session.reading.clear()
        publishing = asyncio.create_task(bus.publish(events(64, "x" * 500_000)))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await bus.close()
        with pytest.raises(BusAway):
            await publishing


async def test_a_new_subscriber_interrupts_nobody() -> None:
    inbox = Inbox()
    async with peer() as at, consuming(at, inbox) as (bus, session):
        inbox.free.clear()
        session.deliver(GROUP, 1, b"in hand")
        await eventually(lambda: inbox.batches)
        bus.subscribe("scoring.reactions", _ignore, batch=1)
        await asyncio.sleep(0.05)
        inbox.free.set()
        await eventually(lambda: "scoring.reactions.careful" in session.consumers)
        assert [ack.delivery_tag for ack in session.acknowledged] == [1]
        assert at.consumer is session


async def test_a_broker_that_goes_at_any_moment_is_connected_to_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.messaging.rabbit.RECONNECT_MIN_S", 0.001)
    monkeypatch.setattr("shared.messaging.rabbit.RECONNECT_MAX_S", 0.001)
    async with peer() as at:
        at.patience = iter([number for number in range(1, 60) for _ in range(2)])
        async with connected(at) as bus:
            publishing = asyncio.create_task(bus.publish(events(1)))
            session = await arrived(at, 1)
            session.send(1, Ack(1))
            assert len(await publishing) == 1
