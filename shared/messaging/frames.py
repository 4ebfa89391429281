"""Messages as frames of AMQP 0-9-1 (specification, 2.3.5 and 4.2): many out at once, many in at once.

aiormq carries the frames. Its own way out and in, with tasks and a dozen objects for each message, costs more
than all that the relay and the consumers do beside it.
"""

import asyncio
from collections import deque
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple, cast

import aiormq
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from shared.messaging.bus import Outgoing

PERSISTENT = 2
TYPES = 256  # of events, remembered for each channel number
_BODY = 3
_END = b"\xce"
_FRAME = Struct(">BHI")  # kind, channel, bytes that follow before the end
_SIZE = Struct(">Q")
_SIZE_AT = _FRAME.size + 4  # in the header's frame: after the class and the weight
_NO_ID = b"0" * 36  # as long as every event's id


def message(event: Outgoing, exchange: str, channel: int, most_in_frame: int) -> bytes:
    """An event on its way out: persistent and mandatory, routed by its type, named by its id.

    Args:
        most_in_frame: bytes of the body that one frame may carry; less than 1 when the broker sets no limit.
    """
    publish, before, after = _same_for_all(event.type, exchange, channel)
    body = event.envelope.encode()
    after = after.replace(_NO_ID, str(event.id).encode(), 1)
    parts = [publish, before, _SIZE.pack(len(body)), after]
    most = most_in_frame if most_in_frame > 0 else max(len(body), 1)
    for start in range(0, len(body), most):
        part = body[start : start + most]
        parts += [_FRAME.pack(_BODY, channel, len(part)), part, _END]
    return b"".join(parts)


@lru_cache(TYPES)
def _same_for_all(kind: str, exchange: str, channel: int) -> tuple[bytes, bytes, bytes]:
    """The method's frame, and the header's before and after the body's size, with a place for the id."""
    publish = commands.Basic.Publish(exchange=exchange, routing_key=kind, mandatory=True)
    properties = commands.Basic.Properties(
        content_type="application/cloudevents+json",
        delivery_mode=PERSISTENT,
        message_id=_NO_ID.decode(),
        message_type=kind,
    )
    header = frame.marshal(ContentHeader(properties=properties), channel)
    return frame.marshal(publish, channel), header[:_SIZE_AT], header[_SIZE_AT + _SIZE.size :]


class Delivery(NamedTuple):
    """A message that has arrived; `again` when it was delivered before and not acknowledged."""

    tag: int
    again: bool
    body: bytes


class Deliveries:
    """A channel's messages as they arrive, beside its other frames: stands where the channel has its queue.

    Bounded by the channel's prefetch.
    """

    def __init__(self) -> None:
        self._whole: deque[Delivery] = deque()
        self._some = asyncio.Event()
        self._stopped = False
        self._tag, self._again, self._missing, self._parts = 0, False, 0, list[bytes]()

    def begin(self, channel: aiormq.Channel) -> None:
        """Take this channel's messages from now on; nothing else with a body may be asked for on it."""
        others = self._others = channel.frames
        self.get, self.task_done = others.get, others.task_done  # what the channel itself still takes
        channel.frames = self  # type: ignore[assignment]

    def stop(self) -> None:
        """Give out nothing more. What has arrived goes back to its queue with the channel."""
        self._stopped = True
        self._some.set()

    async def take(self, most: int) -> list[Delivery]:
        """What has arrived, at least one, in its order; none once stopped."""
        await self._some.wait()
        if self._stopped:
            return []
        taken = [self._whole.popleft() for _ in range(min(most, len(self._whole)))]
        if not self._whole:
            self._some.clear()
        return taken

    async def put(self, weighed: tuple[int, Any]) -> None:
        """One frame, as the connection has read it."""
        given = weighed[1]
        if isinstance(given, ContentBody):
            self._parts.append(given.value)
            self._missing -= len(given.value)
        elif isinstance(given, ContentHeader):
            self._parts, self._missing = [], given.body_size
        elif isinstance(given, commands.Basic.Deliver):
            self._tag, self._again = cast(int, given.delivery_tag), bool(given.redelivered)
            return
        else:
            await self._others.put(weighed)
            return
        if self._missing == 0:
            self._whole.append(Delivery(self._tag, self._again, b"".join(self._parts)))
            self._some.set()
