"""What the two transports have in common. `rabbit` is the real one; `local` serves one process."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

# Takes a batch of envelopes; returning means that every one of them is dealt with for good.
Deliver = Callable[[Sequence[bytes]], Awaitable[None]]
Listener = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event on its way to the transport."""

    id: UUID
    type: str
    envelope: str


class BusAway(ConnectionError):
    """The transport cannot be reached at the moment."""


class Bus(Protocol):
    """A transport of events. Every method may be called before the broker is reachable."""

    async def start(self) -> None:
        """Begin to connect; returns at once and keeps trying."""

    async def close(self) -> None:
        """Stop delivering, let what is in hand finish, disconnect."""

    async def publish(self, batch: Sequence[Outgoing]) -> set[UUID]:
        """Publish; the ids returned are safe, the others are to be published again later.

        Raises:
            BusAway: nothing can be published now.
        """
        ...

    def subscribe(self, group: str, deliver: Deliver, *, batch: int) -> None:
        """Deliver every event that the group's subscription names, in batches, at least once."""

    def unsubscribe(self, group: str, deliver: Deliver) -> None:
        """Stop delivering to this subscriber; what it has not finished is delivered again later."""

    def listen(self, types: Sequence[str], listener: Listener) -> Callable[[], None]:
        """Call `listener` with each envelope of these types published from now on, at most once.

        For live notifications in every process; nothing is kept for a listener that is away. The returned
        function stops it.
        """
        ...

    @property
    def connected(self) -> bool:
        """Whether the transport answers now."""
        ...
