"""RabbitMQ, through aio-pika; the messages themselves go as frames past most of it (frames.py, publisher.py).

One durable topic exchange, one quorum queue per consumer group, a dead-letter queue for each. Every
process declares the whole topology (shared/contracts/subscriptions.py), so that no event is published
before the queues of those who start later exist. A connection is our own loop, not a "robust" one: a lost
connection ends everything that hung on it, and all is declared and consumed anew. There are two: a broker
short of memory or disk reads nothing more from a connection that publishes, so acknowledgements, which make
room again, need another.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import cast
from uuid import UUID

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.abc import DeliveredMessage

from shared.contracts.subscriptions import SUBSCRIPTIONS
from shared.messaging import failpoints
from shared.messaging.bus import BusAway, Deliver, Listener, Outgoing
from shared.messaging.frames import Deliveries
from shared.messaging.publisher import Publisher
from shared.telemetry import logger, safe_error

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
DECLARE_TIMEOUT_S = 20.0
DRAIN_TIMEOUT_S = 5.0
HEARTBEAT_S = 10
DELIVERY_LIMIT = 20
RECONNECT_MIN_S = 0.1
RECONNECT_MAX_S = 2.0

Use = Callable[["Link", AbstractChannel], Awaitable[None]]


class RabbitBus:
    """The real transport. Start it once per process."""

    def __init__(self, url: str, *, prefix: str = "c360", client: str = "c360") -> None:
        self._url = url
        self._prefix = prefix
        self._client = client
        self._log = logger(part="rabbit", client=client)
        self._subscribers: dict[str, tuple[Deliver, int]] = {}
        self._listeners: list[tuple[frozenset[str], Listener]] = []
        self._publisher: Publisher | None = None
        self._consuming = False
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def connected(self) -> bool:
        return self._publisher is not None and self._consuming

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._keep_connected(purpose, use), name=f"rabbit {self._client} {purpose}")
            for purpose, use in (("publishes", self._publish), ("consumes", self._deliver))
        ]

    async def close(self) -> None:
        self._closing = True
        self._changed.set()
        try:
            if self._consuming:
                await asyncio.wait(self._tasks[1:], timeout=DRAIN_TIMEOUT_S + CLOSE_TIMEOUT_S)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def subscribe(self, group: str, deliver: Deliver, *, batch: int) -> None:
        self._subscribers[group] = (deliver, batch)
        self._changed.set()

    def unsubscribe(self, group: str, deliver: Deliver) -> None:
        if self._subscribers.get(group, (None,))[0] == deliver:
            del self._subscribers[group]
            self._changed.set()

    def listen(self, types: Sequence[str], listener: Listener) -> Callable[[], None]:
        entry = (frozenset(types), listener)
        self._listeners.append(entry)
        self._changed.set()

        def stop() -> None:
            with suppress(ValueError):
                self._listeners.remove(entry)

        return stop

    async def publish(self, batch: Sequence[Outgoing]) -> set[UUID]:
        if self._publisher is None:
            raise BusAway("RabbitMQ is not connected")
        return await self._publisher.publish(batch)

    async def _keep_connected(self, purpose: str, use: Use) -> None:
        """A connection for one purpose, made anew whenever it breaks, until the bus is closed."""
        pause_s = RECONNECT_MIN_S
        while True:
            try:
                async with self._connection(purpose) as (link, channel):
                    pause_s = RECONNECT_MIN_S
                    await use(link, channel)
            except Exception as error:  # aiormq ends calls with a bare Exception when the broker hangs up
                self._log.warning(
                    "RabbitMQ away, reconnecting", purpose=purpose, pause_s=pause_s, **safe_error(error)
                )
            if self._closing:
                return
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(pause_s * 2, RECONNECT_MAX_S)

    @asynccontextmanager
    async def _connection(self, purpose: str) -> AsyncIterator[tuple["Link", AbstractChannel]]:
        """A connection with a channel that confirms, on a broker where the whole topology is declared."""
        connection = await asyncio.wait_for(
            aio_pika.connect(
                self._url,
                heartbeat=HEARTBEAT_S,
                client_properties={"connection_name": f"{self._client} {purpose}"},
            ),
            CONNECT_TIMEOUT_S,
        )
        link = Link(connection)
        try:
            async with asyncio.timeout(DECLARE_TIMEOUT_S):
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                channel.close_callbacks.add(link.lose)
                await self._declare(channel)
            yield link, channel
        finally:
            link.lost.cancel()
            await self._leave(connection)

    async def _leave(self, connection: AbstractConnection) -> None:
        """Close, but wait only so long: with a broker that reads nothing more, closing has no end."""
        closing = asyncio.create_task(connection.close())
        self._leaving.add(closing)
        closing.add_done_callback(self._left)
        await asyncio.wait([closing], timeout=CLOSE_TIMEOUT_S)

    def _left(self, closing: asyncio.Task[None]) -> None:
        self._leaving.discard(closing)
        if not closing.cancelled():
            closing.exception()  # it is closed, however

    async def _publish(self, link: "Link", channel: AbstractChannel) -> None:
        """Be there for `publish` until the connection is lost."""
        underlay = cast(aiormq.Channel, await channel.get_underlay_channel())
        self._publisher = Publisher(underlay, self._events, link.lose)
        try:
            await link.lost
        finally:
            self._publisher = None

    async def _deliver(self, link: "Link", _: AbstractChannel) -> None:
        """Consume for whoever subscribes until the connection is lost or the bus is closed."""
        self._consuming = True
        try:
            while not self._closing:
                self._changed.clear()
                await self._serve(link)
        finally:
            self._consuming = False

    async def _serve(self, link: "Link") -> None:
        """Consume for the present subscribers until the connection is lost or the subscribers change."""
        async with asyncio.TaskGroup() as workers:
            consumers: dict[asyncio.Task[None], Deliveries] = {}
            for group, (deliver, size) in self._subscribers.items():
                arrived = Deliveries()
                consumers[workers.create_task(self._consume(link, arrived, group, deliver, size))] = arrived
            running = list(consumers)
            if self._listeners:
                running.append(workers.create_task(self._listen(link)))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait([link.lost, changed, *running], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
                if consumers and not link.lost.done():
                    for arrived in consumers.values():
                        arrived.stop()
                    await asyncio.wait(consumers, timeout=DRAIN_TIMEOUT_S)
            finally:
                changed.cancel()
                for task in running:
                    task.cancel()
        if link.lost.done():
            link.lost.result()

    async def _consume(
        self, link: "Link", arrived: Deliveries, group: str, deliver: Deliver, size: int
    ) -> None:
        """Take what has arrived, up to `size`, deal with it as one batch, acknowledge it as one.

        What comes again may be what ended its consumer before, perhaps with the whole process. So at first
        one is taken at a time: what is taken beside it would be counted towards the delivery limit as well.
        """
        async with _watched_channel(link) as watched:
            channel = cast(aiormq.Channel, await watched.get_underlay_channel())
            arrived.begin(channel)
            # The first consumer stays beside the second: RabbitMQ 3.10 may close a channel that cancels one
            # of a quorum queue while messages are on their way (rabbitmq-server issues 3729 and 5927).
            for tag, most in ((f"{group}.careful", 1), (group, size)):
                await watched.set_qos(prefetch_count=most)
                await channel.basic_consume(self._queue(group), _nothing, consumer_tag=tag)
                while messages := await arrived.take(most):
                    await deliver([message.body for message in messages])
                    failpoints.reached("consumer.before_ack")
                    await channel.basic_ack(messages[-1].tag, multiple=True)
                    if tag != group and not messages[0].again:
                        break
                else:
                    return

    async def _listen(self, link: "Link") -> None:
        """Live notifications: a queue of this process alone, gone with it."""
        async with _watched_channel(link) as channel:
            queue = await channel.declare_queue(
                exclusive=True, auto_delete=True, arguments={"x-max-length": 10_000}
            )
            for kind in sorted({kind for types, _ in self._listeners for kind in types}):
                await queue.bind(self._events, kind)

            async def notify(message: AbstractIncomingMessage) -> None:
                for types, listener in list(self._listeners):
                    if message.routing_key in types:
                        listener(message.body)

            await queue.consume(notify, no_ack=True)
            await asyncio.Event().wait()

    async def _declare(self, channel: AbstractChannel) -> None:
        """The exchange, every group's queue with its bindings, and where poison ends."""
        events = await channel.declare_exchange(self._events, "topic", durable=True)
        dead = await channel.declare_exchange(f"{self._prefix}.dead", "direct", durable=True)
        for group, types in SUBSCRIPTIONS.items():
            name = self._queue(group)
            graveyard = await channel.declare_queue(
                f"{name}.dead", durable=True, arguments={"x-queue-type": "quorum"}
            )
            await graveyard.bind(dead, name)
            queue = await channel.declare_queue(
                name,
                durable=True,
                arguments={
                    "x-queue-type": "quorum",
                    "x-delivery-limit": DELIVERY_LIMIT,
                    "x-dead-letter-exchange": f"{self._prefix}.dead",
                    "x-dead-letter-routing-key": name,
                    "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                },
            )
            for kind in types:
                await queue.bind(events, kind)

    @property
    def _events(self) -> str:
        return f"{self._prefix}.events"

    def _queue(self, group: str) -> str:
        return group if self._prefix == "c360" else f"{self._prefix}.{group}"


class Link:
    """A connection, and whether it or something that hangs on it is lost."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.close_callbacks.add(self.lose)

    def lose(self, *_: object) -> None:
        """Give all of it up, to begin anew; called back by whatever may end."""
        if not self.lost.done():
            self.lost.set_exception(ConnectionResetError("connection, channel or consumer ended"))


async def _nothing(_: DeliveredMessage) -> None:
    """What aiormq would run a task of for each message; Deliveries takes them first."""


@asynccontextmanager
async def _watched_channel(link: Link) -> AsyncIterator[AbstractChannel]:
    """A channel whose loss is the connection's; closing it ourselves is not a loss.

    Nor may the broker end a consumer and leave the channel: it does so when the queue is deleted.
    """
    async with link.connection.channel(publisher_confirms=False) as channel:
        channel.close_callbacks.add(link.lose)
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(link.lose)
        try:
            yield channel
        finally:
            channel.close_callbacks.discard(link.lose)
