"""RabbitMQ, through aio-pika; the messages themselves go as frames past most of it (frames.py).

One durable topic exchange, one quorum queue per consumer group, a dead-letter queue for each. Every
process declares the whole topology (shared/contracts/subscriptions.py), so that no event is published
before the queues of those who start later exist. The connection is our own loop, not a "robust" one: a lost
connection ends everything that hung on it, and all is declared and consumed anew.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import cast
from uuid import UUID

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, DeliveryError
from aiormq.abc import ChannelFrame, DeliveredMessage

from shared.contracts.subscriptions import SUBSCRIPTIONS
from shared.messaging import failpoints
from shared.messaging.bus import BusAway, Deliver, Listener, Outgoing
from shared.messaging.frames import Deliveries, message
from shared.telemetry import logger, safe_error

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
DECLARE_TIMEOUT_S = 20.0
CONFIRM_TIMEOUT_S = 3.0
HEARTBEAT_S = 10
DELIVERY_LIMIT = 20
RECONNECT_MAX_S = 2.0

# What a dead connection raises, from the socket up to the channel.
BROKEN = (AMQPError, OSError, TimeoutError, RuntimeError, asyncio.InvalidStateError)


class RabbitBus:
    """The real transport. Start it once per process."""

    def __init__(self, url: str, *, prefix: str = "c360", client: str = "c360") -> None:
        self._url = url
        self._prefix = prefix
        self._client = client
        self._log = logger(part="rabbit", client=client)
        self._subscribers: dict[str, tuple[Deliver, int]] = {}
        self._listeners: list[tuple[frozenset[str], Listener]] = []
        self._publisher: aiormq.Channel | None = None
        self._abandon: Callable[..., None] = lambda *_: None
        self._ready = asyncio.Event()
        self._connections = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def connected(self) -> bool:
        return self._ready.is_set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._keep_connected(), name=f"rabbit {self._client}")

    async def close(self) -> None:
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

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
        channel = self._publisher
        if channel is None or not self._ready.is_set():
            raise BusAway("RabbitMQ is not connected")
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                confirmations = await self._send(channel, batch)
        except BROKEN as error:
            self._abandon()
            raise BusAway("RabbitMQ went away") from error
        try:
            await self._confirmed(confirmations)
        finally:
            for event, confirmation in zip(batch, confirmations, strict=True):
                confirmation.cancel()
                channel.message_id_delivery_tag.pop(str(event.id), None)
        safe = set()
        failure: BaseException | None = None
        for event, confirmation in zip(batch, confirmations, strict=True):
            outcome = asyncio.CancelledError() if confirmation.cancelled() else confirmation.exception()
            if outcome is None:
                safe.add(event.id)
            elif not isinstance(outcome, DeliveryError):  # unroutable, or refused by a full queue: it waits
                failure = outcome
        if failure is not None and not safe:
            raise BusAway("RabbitMQ did not confirm") from failure
        return safe

    async def _send(self, channel: aiormq.Channel, batch: Sequence[Outgoing]) -> list[asyncio.Future[object]]:
        """Hand a batch to the connection as one piece of bytes; returns what each confirmation settles.

        aiormq's own `basic_publish` is a task, a lock and a dozen objects for each message.
        """
        messages = b"".join(
            message(event, self._events, channel.number, channel.max_content_size) for event in batch
        )
        async with channel.lock:
            await channel.write_queue.put(ChannelFrame(messages, should_close=False))
            # Nothing is awaited from here on: no confirmation comes before it is expected.
            confirmations = []
            for event in batch:
                channel.delivery_tag += 1
                confirmations.append(channel.create_future())
                channel.confirmations[channel.delivery_tag] = confirmations[-1]
                channel.message_id_delivery_tag[str(event.id)] = channel.delivery_tag
        return confirmations

    async def _confirmed(self, confirmations: Sequence[asyncio.Future[object]]) -> None:
        """Wait while confirmations come, however slowly a busy broker sends them.

        A channel that used a quorum queue before its leader stood (after a restart of the broker) may never
        confirm; a new connection does. So one that has confirmed nothing for CONFIRM_TIMEOUT_S is given up.
        """
        waiting: set[asyncio.Future[object]] = set(confirmations)
        while waiting:
            done, waiting = await asyncio.wait(waiting, timeout=CONFIRM_TIMEOUT_S)
            if not done:
                self._abandon()
                return

    async def _keep_connected(self) -> None:
        pause_s = 0.1
        while not self._closing:
            connected_at = self._connections
            try:
                await self._run_connection()
            except (*BROKEN, ExceptionGroup) as error:
                if self._connections > connected_at:
                    pause_s = 0.1
                self._log.warning("RabbitMQ away, reconnecting", pause_s=pause_s, **safe_error(error))
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(pause_s * 2, RECONNECT_MAX_S)

    async def _run_connection(self) -> None:
        """One connection from its first to its last moment; raises when it breaks."""
        connection = await asyncio.wait_for(
            aio_pika.connect(
                self._url, heartbeat=HEARTBEAT_S, client_properties={"connection_name": self._client}
            ),
            CONNECT_TIMEOUT_S,
        )
        lost = asyncio.get_running_loop().create_future()

        def on_lost(*_: object) -> None:
            if not lost.done():
                lost.set_exception(ConnectionResetError("connection or channel closed"))

        connection.close_callbacks.add(on_lost)
        self._abandon = on_lost
        try:
            async with asyncio.timeout(DECLARE_TIMEOUT_S):
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                channel.close_callbacks.add(on_lost)
                await self._declare(channel)
                self._publisher = cast(aiormq.Channel, await channel.get_underlay_channel())
            self._ready.set()
            self._connections += 1
            while True:
                self._changed.clear()
                await self._serve(connection, lost, on_lost)
        finally:
            self._publisher = None
            self._ready.clear()
            lost.cancel()
            with suppress(*BROKEN):
                await asyncio.wait_for(connection.close(), CLOSE_TIMEOUT_S)

    async def _serve(
        self,
        connection: aio_pika.abc.AbstractConnection,
        lost: asyncio.Future[None],
        on_lost: Callable[..., None],
    ) -> None:
        """Consume for the present subscribers until the connection is lost or the subscribers change."""
        async with asyncio.TaskGroup() as workers:
            running = [
                workers.create_task(self._consume(connection, group, deliver, size, on_lost))
                for group, (deliver, size) in self._subscribers.items()
            ]
            if self._listeners:
                running.append(workers.create_task(self._listen(connection, on_lost)))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait([lost, changed, *running], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
            finally:
                changed.cancel()
                for task in running:
                    task.cancel()
        if lost.done():
            lost.result()

    async def _consume(
        self,
        connection: aio_pika.abc.AbstractConnection,
        group: str,
        deliver: Deliver,
        size: int,
        on_lost: Callable[..., None],
    ) -> None:
        """Take what has arrived, up to `size`, deal with it as one batch, acknowledge it as one."""
        async with _watched_channel(connection, on_lost) as watched:
            await watched.set_qos(prefetch_count=size)
            channel = cast(aiormq.Channel, await watched.get_underlay_channel())
            arrived = Deliveries.of(channel)
            await channel.basic_consume(self._queue(group), _nothing, consumer_tag=group)
            try:
                while True:
                    messages = await arrived.take(size)
                    await deliver([body for _, body in messages])
                    failpoints.reached("consumer.before_ack")
                    await channel.basic_ack(messages[-1][0], multiple=True)
            finally:
                with suppress(*BROKEN):
                    await asyncio.wait_for(channel.basic_cancel(group), 2)

    async def _listen(
        self, connection: aio_pika.abc.AbstractConnection, on_lost: Callable[..., None]
    ) -> None:
        """Live notifications: a queue of this process alone, gone with it."""
        async with _watched_channel(connection, on_lost) as channel:
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


async def _nothing(_: DeliveredMessage) -> None:
    """What aiormq would run a task of for each message; Deliveries takes them first."""


@asynccontextmanager
async def _watched_channel(
    connection: aio_pika.abc.AbstractConnection, on_lost: Callable[..., None]
) -> AsyncIterator[AbstractChannel]:
    """A channel whose loss is the connection's; closing it ourselves is not a loss."""
    async with connection.channel(publisher_confirms=False) as channel:
        channel.close_callbacks.add(on_lost)
        try:
            yield channel
        finally:
            channel.close_callbacks.discard(on_lost)
