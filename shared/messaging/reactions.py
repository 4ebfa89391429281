"""What a service does when something happens elsewhere: a function per event, collected in one place."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.contracts import Event, EventData
from shared.contracts.subscriptions import SUBSCRIPTIONS

Reaction = Callable[[Any, Event[Any]], Awaitable[None]]
BatchReaction = Callable[[Any, list[Event[Any]]], Awaitable[None]]
AnyReaction = TypeVar("AnyReaction", bound=Callable[..., Awaitable[None]])


class Reactions:
    """The reactions of one consumer group. They run in a transaction that the consumer commits.

    Reactions are written to be repeated and to come in any order; the inbox makes repetition rare, not
    impossible.

    Args:
        plain: they get the asyncpg connection of the transaction instead of a session. For those that are a
            few set-based statements: a batch then costs half as much beside its own statements.
        emits: whether any of them says something to others, so that the relay looks after each batch.
    """

    def __init__(self, group: str, *, plain: bool = False, emits: bool = True) -> None:
        if group not in SUBSCRIPTIONS:
            raise ValueError(f"{group} is not in shared/contracts/subscriptions.py")
        self.group = group
        self.plain = plain
        self.emits = emits
        self._single: dict[str, Reaction] = {}
        self._batch: dict[str, BatchReaction] = {}

    def on(self, data: type[EventData]) -> Callable[[AnyReaction], AnyReaction]:
        """Run the function for each event of this type."""

        def register(function: AnyReaction) -> AnyReaction:
            self._check(data)
            self._single[data.type] = function
            return function

        return register

    def on_batch(self, *kinds: type[EventData]) -> Callable[[AnyReaction], AnyReaction]:
        """Run the function once for all events of these types that arrived together."""

        def register(function: AnyReaction) -> AnyReaction:
            for data in kinds:
                self._check(data)
                self._batch[data.type] = function
            return function

        return register

    def missing(self) -> set[str]:
        """Subscribed types without a reaction."""
        return set(SUBSCRIPTIONS[self.group]) - self._single.keys() - self._batch.keys()

    async def run(self, work: AsyncSession | asyncpg.Connection, events: Sequence[Event[EventData]]) -> None:
        """React to a batch, in the order it came; events of one batch reaction are handed over together."""
        together: dict[BatchReaction, list[Event[EventData]]] = {}
        for event in events:
            if event.type in self._batch:
                together.setdefault(self._batch[event.type], []).append(event)
            elif event.type in self._single:
                await self._single[event.type](work, event)
        for reaction, batch in together.items():
            await reaction(work, batch)

    def _check(self, data: type[EventData]) -> None:
        if data.type not in SUBSCRIPTIONS[self.group]:
            raise ValueError(f"{self.group} does not subscribe to {data.type}")
