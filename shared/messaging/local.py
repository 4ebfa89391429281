"""Delivery inside one process, for the embedded default.

`publish` returns an event's id once every subscribed group has dealt with it, so the outbox row is the
only copy that matters and a crash loses nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from uuid import UUID

from shared.contracts.subscriptions import SUBSCRIPTIONS
from shared.messaging.bus import BusAway, Deliver, Listener, Outgoing


class LocalBus:
    """Same-process delivery behind the same interface as RabbitMQ.

    Args:
        groups: the consumer groups that exist here. Events for a group that exists but has not subscribed
            yet wait in the outbox, as a queue would keep them.
    """

    def __init__(self, groups: Sequence[str] = ()) -> None:
        self._expected = frozenset(groups)
        self._subscribers: dict[str, tuple[Deliver, int]] = {}
        self._listeners: dict[str, list[Listener]] = defaultdict(list)
        self._running = False

    @property
    def connected(self) -> bool:
        return self._running

    async def start(self) -> None:
        self._running = True

    async def close(self) -> None:
        self._running = False

    def subscribe(self, group: str, deliver: Deliver, *, batch: int) -> None:
        self._subscribers[group] = (deliver, batch)

    def unsubscribe(self, group: str, deliver: Deliver) -> None:
        if group in self._subscribers and self._subscribers[group][0] == deliver:
            del self._subscribers[group]

    def listen(self, types: Sequence[str], listener: Listener) -> Callable[[], None]:
        for kind in types:
            self._listeners[kind].append(listener)

        def stop() -> None:
            for kind in types:
                self._listeners[kind].remove(listener)

        return stop

    async def publish(self, batch: Sequence[Outgoing]) -> set[UUID]:
        if not self._running:
            raise BusAway("the local bus is closed")
        groups = self._subscribers.keys() | self._expected
        waiting = {group: [e for e in batch if e.type in SUBSCRIPTIONS.get(group, ())] for group in groups}
        names = [group for group, events in waiting.items() if events]
        outcomes = await asyncio.gather(
            *(self._deliver(group, waiting[group]) for group in names), return_exceptions=True
        )
        safe = {event.id for event in batch}
        for group, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                safe -= {event.id for event in waiting[group]}
        for event in batch:
            for listener in list(self._listeners.get(event.type, ())):
                listener(event.envelope.encode())
        for outcome in outcomes:
            if isinstance(outcome, asyncio.CancelledError):
                raise outcome
        return safe

    async def _deliver(self, group: str, events: list[Outgoing]) -> None:
        if group not in self._subscribers:
            raise BusAway(f"{group} has not subscribed yet")
        deliver, size = self._subscribers[group]
        for start in range(0, len(events), size):
            await deliver([event.envelope.encode() for event in events[start : start + size]])
