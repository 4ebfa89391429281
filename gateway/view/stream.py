"""Live changes for readers that stay: who reads, what they have, and what is new to them.

A notice from the bus only says that something may be new: it reaches every process, perhaps before the change
is committed here, perhaps never. The hub then reads what lies beyond each reader's position, for all readers
concerned in one query, looks again after a while if it has not found what the notice told of, and looks at
everybody's once in a heartbeat anyway. Catching up after Last-Event-ID is the same look. So the stored view
and journey are the only truth, and a reader misses nothing and gets nothing twice.

What waits to be sent is bounded: the hub reads no further for a reader whose queue is full, and drops one who
takes nothing for a while.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from sse_starlette import ServerSentEvent

from gateway.settings import GatewaySettings
from gateway.view import store, timeline
from gateway.view.answer import stamp
from gateway.view.position import Position
from shared.contracts.sections import SECTIONS
from shared.contracts.subscriptions import SUBSCRIPTIONS
from shared.messaging.bus import Bus
from shared.problems import Unavailable
from shared.telemetry import logger, safe_error

TYPES = SUBSCRIPTIONS["gateway.view"] + SUBSCRIPTIONS["gateway.timeline"]
LOOK_AGAIN_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
TOGETHER = 200  # readers per query
PAUSE_S = 1.0
IDLE_S = 60.0  # to begin and end listening costs the bus more than to go on
BEGINNING = "beginning"  # awaited by every new reader, and never found
AWAITED = 256  # announced changes remembered per reader
RETRY_MS = 2_000
SLOW, OLD, SHUTDOWN = "slow_reader", "lifetime", "shutdown"


class Reader:
    """One open stream. `at` is where its last queued event stands."""

    def __init__(self, customer_id: UUID, at: Position, capacity: int) -> None:
        self.customer_id = customer_id
        self.at = at
        self.awaited: set[Any] = set()
        self.looks = 0
        self.full_since: float | None = None
        self.dropped: str | None = None
        self.gone = False
        self._capacity = capacity
        self._queue: deque[ServerSentEvent] = deque()
        self._arrived = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether nothing is sent any more."""
        return self.gone or self.dropped is not None

    @property
    def lines_wanted(self) -> int:
        """How many lines fit into the queue, after all sections."""
        return max(0, self._capacity - len(self._queue) - len(SECTIONS))

    def put_section(self, row: asyncpg.Record) -> None:
        """Queue a snapshot."""
        section, version, body = row["section"], row["version"], row["body"]
        self.at = self.at.after_section(section, version)
        self._put(
            "section",
            f'{{"section":"{section}","version":{version},"as_of":"{stamp(row["as_of"])}",'
            f'"body":{"null" if body is None else body}}}',
        )

    def put_line(self, row: asyncpg.Record) -> None:
        """Queue a line of the journey."""
        self.at = self.at.after_line(row["position"])
        self.awaited.discard(str(row["event_id"]))
        self._put("timeline", timeline.render(row))

    @property
    def has_room(self) -> bool:
        """Whether half of the queue is free: then it is worth a query to fill it."""
        return 2 * len(self._queue) <= self._capacity

    def satisfied(self) -> bool:
        """Whether everything that was announced has been found."""
        self.awaited = {
            awaited
            for awaited in self.awaited
            if isinstance(awaited, str) or self.at.version_of(awaited[0]) < awaited[1]
        }
        return not self.awaited

    def drop(self, reason: str) -> None:
        """End the stream; what was queued is left for the reader to ask for again."""
        self._queue.clear()
        self.dropped = reason
        self._arrived.set()

    def set(self) -> None:
        """The server shuts down: what sse-starlette calls on a stream's `shutdown_event`."""
        self.drop(SHUTDOWN)

    async def next(self, until: float) -> ServerSentEvent | None:
        """The next event to send; None once dropped, for being too old at the loop's time `until` too."""
        while not self._queue and not self.dropped:
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()
            except TimeoutError:
                self.drop(OLD)
        if asyncio.get_running_loop().time() >= until and not self.dropped:
            self.drop(OLD)
        # Nothing may follow what was cleared from the queue: its ids would claim that it had been sent.
        return None if self.dropped else self._queue.popleft()

    def _put(self, kind: str, data: str) -> None:
        self._queue.append(ServerSentEvent(data, event=kind, id=str(self.at), sep="\n"))
        self._arrived.set()


class StreamHub:
    """All open streams of this process. Listens and works while there are any, and a little longer."""

    def __init__(self, pool: asyncpg.Pool, bus: Bus, settings: GatewaySettings) -> None:
        self._pool = pool
        self._bus = bus
        self._settings = settings
        self._readers: dict[UUID, set[Reader]] = {}
        self._due: dict[Reader, float] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = logger(part="streams")

    def __len__(self) -> int:
        return sum(map(len, self._readers.values()))

    def require_room(self) -> None:
        """Refuse a stream too many.

        Raises:
            Unavailable: this process has as many as it may.
        """
        if len(self) >= self._settings.streams:
            raise Unavailable("This gateway has as many streams as it takes.", retry_after_s=5)

    def reader(self, customer_id: UUID, at: Position) -> Reader:
        """One who wants to know what happens to this customer beyond `at`."""
        return Reader(customer_id, at, self._settings.stream_queue)

    async def follow(self, reader: Reader) -> AsyncIterator[ServerSentEvent]:
        """What is new to this reader, until they leave or are dropped."""
        self._add(reader)
        try:
            # The reader's first id, so that one who leaves before the first change can come back too.
            yield ServerSentEvent("{}", event="ready", id=str(reader.at), retry=RETRY_MS, sep="\n")
            until = asyncio.get_running_loop().time() + self._settings.stream_life_s
            while (event := await reader.next(until)) is not None:
                self._taken(reader)
                yield event
            yield ServerSentEvent(f'{{"reason":"{reader.dropped}"}}', event="dropped", sep="\n")
        finally:
            self._remove(reader)

    async def close(self) -> None:
        """End every stream and stop listening."""
        for reader in [reader for together in self._readers.values() for reader in together]:
            reader.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def notice(self, envelope: bytes) -> None:
        """Something was published; look at the streams of its customers. Never raises."""
        if not self._readers:
            return
        try:
            self._notice(orjson.loads(envelope))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._log.warning("a notice could not be read", **safe_error(error))

    def _notice(self, event: Any) -> None:
        data = event["data"]
        told: Any = event["id"]
        if event["type"].startswith("section."):
            told = (event["type"].removeprefix("section."), data["version"])
        for customer_id in {item.get("customer_id") for item in data.get("items") or (data,)} - {None}:
            for reader in self._readers.get(UUID(customer_id), ()):
                if len(reader.awaited) < AWAITED:
                    reader.awaited.add(told)
                reader.looks = 0
                self._look_in(reader, 0)

    def _add(self, reader: Reader) -> None:
        self._readers.setdefault(reader.customer_id, set()).add(reader)
        # To begin listening takes the bus a moment, whose notices are lost: look for a while without any.
        reader.awaited.add(BEGINNING)
        self._look_in(reader, 0)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="streams")

    def _remove(self, reader: Reader) -> None:
        reader.gone = True
        self._due.pop(reader, None)
        together = self._readers.get(reader.customer_id, set())
        together.discard(reader)
        if not together:
            self._readers.pop(reader.customer_id, None)

    def _taken(self, reader: Reader) -> None:
        if reader.full_since is None:
            return
        if reader.has_room:
            reader.full_since = None
            self._look_in(reader, 0)
        else:
            reader.full_since = asyncio.get_running_loop().time()

    def _look_in(self, reader: Reader, delay_s: float) -> None:
        if reader.over:
            return
        at = asyncio.get_running_loop().time() + delay_s
        if reader not in self._due or at < self._due[reader]:
            self._due[reader] = at
            self._woken.set()

    async def _run(self) -> None:
        """Look at whoever is due, until nobody has been here for a while."""
        loop = asyncio.get_running_loop()
        stop_listening = self._bus.listen(TYPES, self.notice)
        empty_at = loop.time() + IDLE_S
        try:
            while self._due or loop.time() < empty_at:
                if self._due:
                    empty_at = loop.time() + IDLE_S
                await self._look_at_those_due(min(self._due.values(), default=empty_at))
        finally:
            stop_listening()

    async def _look_at_those_due(self, first: float) -> None:
        """Wait until the loop's time `first` or a notice, then look at the readers who are due."""
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(first):
                await self._woken.wait()
        now = asyncio.get_running_loop().time()
        due = [reader for reader, at in self._due.items() if at <= now]
        for start in range(0, len(due), TOGETHER):
            together = []
            for reader in due[start : start + TOGETHER]:
                if reader.over:
                    self._due.pop(reader, None)
                else:
                    self._due[reader] = now + self._settings.stream_heartbeat_s
                    together.append(reader)
            try:
                await self._look(together)
            except Exception as error:  # the next look finds what this one did not
                self._log.warning("streams paused", **safe_error(error))
                for reader in together:
                    self._look_in(reader, PAUSE_S)

    async def _look(self, readers: list[Reader]) -> None:
        """Queue what is new for these readers, as far as it fits."""
        open_ = [reader for reader in readers if reader.lines_wanted > 0]
        for reader in set(readers) - set(open_):
            self._wait_for(reader)
        wanted = {reader: reader.lines_wanted for reader in open_}
        for row in await store.sections_beyond(
            self._pool, [(reader.customer_id, reader.at.versions) for reader in open_]
        ):
            open_[row["reader"]].put_section(row)
        lines = await timeline.lines_beyond(
            self._pool, [(reader.customer_id, reader.at.line, wanted[reader]) for reader in open_]
        )
        for row in lines:
            open_[row["reader"]].put_line(row)
        counts = _counts(row["reader"] for row in lines)
        for index, reader in enumerate(open_):
            if counts.get(index, 0) == wanted[reader]:
                self._look_in(reader, 0)  # there may be more than one page
            elif reader.looks >= len(LOOK_AGAIN_S):
                reader.awaited.clear()
            elif not reader.satisfied():
                self._look_in(reader, LOOK_AGAIN_S[reader.looks])
                reader.looks += 1

    def _wait_for(self, reader: Reader) -> None:
        """The queue is full: wait until the reader takes something, but not for ever."""
        now = asyncio.get_running_loop().time()
        reader.full_since = reader.full_since or now
        left_s = reader.full_since + self._settings.stream_stall_s - now
        if left_s <= 0:
            reader.drop(SLOW)
        else:
            self._due[reader] = now + left_s


def _counts(indexes: Iterable[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for index in indexes:
        counts[index] = counts.get(index, 0) + 1
    return counts
