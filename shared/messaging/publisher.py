"""Publishing with confirms: a batch goes as one piece of bytes, and each message of it has its own outcome.

aiormq's own `basic_publish` is a task, a lock and a dozen objects for each message. So the bytes go to the
connection's writer directly, and their delivery tags are counted and noted as aiormq would: it settles them
when the broker acknowledges, refuses or returns a message, or when the channel closes.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import aiormq
from aio_pika.exceptions import AMQPError, DeliveryError
from aiormq.abc import ChannelFrame

from shared.messaging.bus import BusAway, Outgoing
from shared.messaging.frames import message

CONFIRM_TIMEOUT_S = 3.0
PIECE_BYTES = 2**20  # at once to the connection, which has sent one before it gets the next

# What a dead connection raises, from the socket up to the channel.
BROKEN = (AMQPError, OSError, TimeoutError, RuntimeError, asyncio.InvalidStateError)

Confirmation = asyncio.Future[object]


class Publisher:
    """Publishes on one channel, opened with confirms and for returns that raise.

    Args:
        abandon: gives the connection up.
    """

    def __init__(self, channel: aiormq.Channel, exchange: str, abandon: Callable[[], None]) -> None:
        self._channel = channel
        self._exchange = exchange
        self._abandon = abandon

    async def publish(self, batch: Sequence[Outgoing]) -> set[UUID]:
        """As Bus.publish: the ids that the broker has confirmed and did not return."""
        if await self._blocked():
            raise BusAway("RabbitMQ is short of memory or disk and takes nothing")
        confirmations: list[Confirmation] = []
        try:
            await self._send(batch, confirmations)
            await self._confirmed(confirmations)
        except BROKEN as error:
            if not await self._blocked():
                self._abandon()
            raise BusAway("RabbitMQ went away") from error
        finally:
            for event, confirmation in zip(batch, confirmations, strict=False):
                confirmation.cancel()
                self._channel.message_id_delivery_tag.pop(str(event.id), None)
        safe, held = set[UUID](), set[UUID]()
        failure: BaseException | None = None
        for event, confirmation in zip(batch, confirmations, strict=True):
            outcome = asyncio.CancelledError() if confirmation.cancelled() else confirmation.exception()
            (safe if outcome is None else held).add(event.id)
            if outcome is not None and not isinstance(outcome, DeliveryError):
                failure = outcome  # else it is unroutable, or refused by a full queue: it waits
        if failure is not None and not safe:
            raise BusAway("RabbitMQ did not confirm") from failure
        return safe - held

    async def _send(self, batch: Sequence[Outgoing], confirmations: list[Confirmation]) -> None:
        """Hand a batch to the connection, piece by piece; adds what each message's confirmation settles."""
        channel = self._channel
        drained: asyncio.Future[None] | None = None
        async with channel.lock:
            for piece, events in self._pieces(batch):
                if drained is not None:
                    await self._drained(drained)
                drained = channel.create_future()
                async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                    await channel.write_queue.put(
                        ChannelFrame(piece, should_close=False, drain_future=drained)
                    )
                # Nothing is awaited after `put`: no confirmation comes before it is expected.
                for event in events:
                    channel.delivery_tag += 1
                    confirmations.append(channel.create_future())
                    channel.confirmations[channel.delivery_tag] = confirmations[-1]
                    channel.message_id_delivery_tag[str(event.id)] = channel.delivery_tag

    async def _drained(self, piece: asyncio.Future[None]) -> None:
        await asyncio.wait([piece], timeout=CONFIRM_TIMEOUT_S)  # aiormq may have it raise CancelledError
        if not piece.done() or piece.exception() is not None:
            raise ConnectionResetError("the connection takes nothing more")

    def _pieces(self, batch: Sequence[Outgoing]) -> Iterator[tuple[bytes, Sequence[Outgoing]]]:
        """The batch's whole messages, joined until they are PIECE_BYTES; one of them may go beyond."""
        channel, start, size = self._channel, 0, 0
        messages: list[bytes] = []
        for number, event in enumerate(batch, 1):
            messages.append(message(event, self._exchange, channel.number, channel.max_content_size))
            size += len(messages[-1])
            if size >= PIECE_BYTES or number == len(batch):
                yield b"".join(messages), batch[start:number]
                messages, start, size = [], number, 0

    async def _confirmed(self, confirmations: Sequence[Confirmation]) -> None:
        """Wait while confirmations come, however slowly a busy broker sends them.

        A channel that used a quorum queue before its leader stood (after a restart of the broker) may never
        confirm; a new connection does. So one that has confirmed nothing for CONFIRM_TIMEOUT_S is given up,
        unless the broker has said why: a new connection would be blocked as well, and each would leave its
        messages there once more.
        """
        waiting: set[Confirmation] = set(confirmations)
        while waiting:
            done, waiting = await asyncio.wait(waiting, timeout=CONFIRM_TIMEOUT_S)
            if not done:
                if not await self._blocked():
                    self._abandon()
                return

    async def _blocked(self) -> bool:
        """Whether the broker has said that it reads nothing more from who publishes (connection.blocked)."""
        try:
            async with asyncio.timeout(0):
                await self._channel.connection.ready()
        except TimeoutError:
            return True
        return False
