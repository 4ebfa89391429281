"""A peer that speaks AMQP 0-9-1 and does what a real broker cannot be made to do at a given moment.

It greets, declares whatever is asked, and is strict about what it reads: a message is a method, a header and
exactly its body, on one channel, with nothing of that channel in between. When to confirm, return, deliver
or end something is the test's.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from pamqp import commands, frame
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

CAPABILITIES = {"publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True}


@dataclass(frozen=True)
class Published:
    """A message as it came, with its number on its channel."""

    tag: int
    method: commands.Basic.Publish
    header: ContentHeader
    body: bytes


class Session:
    """One connection, from the peer's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frame_max: int) -> None:
        self.writer = writer
        self.published: list[Published] = []
        self.acknowledged: list[commands.Basic.Ack] = []
        self.consumers: dict[str, int] = {}  # their channels, by tag
        self.prefetch: dict[str, int] = {}  # as it stood when they began
        self.reading = asyncio.Event()  # clear it and nothing more is read
        self.reading.set()
        self.most: int | None = None  # frames read before it ends, with the answer to the last still sent
        self._reader, self._frame_max = reader, frame_max
        self._tags, self._prefetch = count(1), 0
        self._unfinished: dict[int, tuple[commands.Basic.Publish, ContentHeader | None, bytes]] = {}

    def send(self, channel: int, *frames: Any) -> None:
        """Frames, in one write."""
        self.writer.write(b"".join(frame.marshal(one, channel) for one in frames))

    def deliver(
        self, consumer: str, tag: int, *parts: bytes, size: int | None = None, again: bool = False
    ) -> None:
        """A message in as many body frames as there are parts; `size` when it is to be unfinished."""
        self.send(self.consumers[consumer], *delivered(consumer, tag, *parts, size=size, again=again))

    async def run(self) -> None:
        """Greet and answer until the client goes."""
        await self._reader.readexactly(8)
        self.send(0, commands.Connection.Start(server_properties={"capabilities": CAPABILITIES}))
        for number in count(1):
            await self.reading.wait()
            channel, given = await self._read()
            if channel in self._unfinished or isinstance(given, commands.Basic.Publish):
                self._take(channel, given)
            elif not isinstance(given, Heartbeat):
                self._answer(channel, given)
            if isinstance(given, commands.Connection.Close) or number == self.most:
                return

    async def _read(self) -> tuple[int, Any]:
        start = await self._reader.readexactly(7)
        size = int.from_bytes(start[3:], "big")
        assert not self._frame_max or size + 8 <= self._frame_max, "a frame larger than agreed"
        _, channel, given = frame.unmarshal(start + await self._reader.readexactly(size + 1))
        return channel, given

    def _take(self, channel: int, given: Any) -> None:
        """A part of a message; anything else of this channel in its place is an error."""
        method, header, body = self._unfinished.pop(channel, (None, None, b""))
        if method is None:
            method = given
        elif header is None:
            assert isinstance(given, ContentHeader), f"{given!r} instead of a header"
            header = given
        else:
            assert isinstance(given, ContentBody), f"{given!r} within a body"
            body += given.value
        if header is not None and len(body) >= header.body_size:
            assert len(body) == header.body_size, "a body longer than its header said"
            self.published.append(Published(next(self._tags), method, header, body))
        else:
            self._unfinished[channel] = (method, header, body)

    def _answer(self, channel: int, given: Frame) -> None:
        match given:
            case commands.Connection.StartOk():
                self.send(0, commands.Connection.Tune(2047, self._frame_max, 60))
            case commands.Basic.Qos():
                self._prefetch = given.prefetch_count or 0
                self.send(channel, commands.Basic.QosOk())
            case commands.Basic.Consume():
                self.consumers[str(given.consumer_tag)] = channel
                self.prefetch[str(given.consumer_tag)] = self._prefetch
                self.send(channel, commands.Basic.ConsumeOk(given.consumer_tag))
            case commands.Basic.Cancel():
                self.consumers.pop(str(given.consumer_tag), None)
                self.send(channel, commands.Basic.CancelOk(given.consumer_tag))
            case commands.Basic.Ack():
                self.acknowledged.append(given)
            case commands.Queue.Declare():
                self.send(channel, commands.Queue.DeclareOk(given.queue or "made", 0, 0))
            case _ if given.synchronous:
                answer = given.valid_responses[0].replace(".", " ").split()
                self.send(channel, getattr(getattr(commands, answer[0]), answer[1])())


def delivered(
    consumer: str, tag: int, *parts: bytes, size: int | None = None, again: bool = False
) -> list[Any]:
    """The frames of a message on its way to a consumer."""
    whole = sum(map(len, parts)) if size is None else size
    deliver = commands.Basic.Deliver(consumer, tag, redelivered=again, exchange="", routing_key="")
    return [deliver, ContentHeader(body_size=whole), *map(ContentBody, parts)]


class Peer:
    """Listens on a port of its own; `sessions` are the connections so far, in their order."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.patience: Iterator[int] = iter(())  # how many frames the next connections have each
        self.faults: list[BaseException] = []  # what a client did against the protocol
        self.url = ""

    @property
    def publisher(self) -> Session | None:
        """The newest connection that has published."""
        return next((session for session in reversed(self.sessions) if session.published), None)

    @property
    def consumer(self) -> Session | None:
        """The newest connection that consumes."""
        return next((session for session in reversed(self.sessions) if session.consumers), None)


@asynccontextmanager
async def peer(frame_max: int = 131_072) -> AsyncIterator[Peer]:
    """A peer that listens; at the end, nobody must have broken the protocol."""
    made = Peer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(reader, writer, frame_max)
        session.most = next(made.patience, None)
        made.sessions.append(session)
        try:
            await session.run()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client, or the test, closed it
        except Exception as error:
            made.faults.append(error)
        finally:
            session.consumers.clear()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.url = f"amqp://guest:guest@127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield made
    finally:
        server.close()
        for session in made.sessions:
            session.reading.set()
            session.writer.close()
        await server.wait_closed()
    assert made.faults == []
