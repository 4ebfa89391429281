"""A few things at a time, over any number of items."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def in_parallel(items: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Work on the items in their order, `at_once` at a time; the next is taken when there is room for it.

    Raises:
        Exception: the first error of `work`; what else is under way is cancelled.
    """
    room = asyncio.Semaphore(at_once)

    async def one(item: T) -> None:
        await work(item)
        room.release()

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                await room.acquire()
                group.create_task(one(item))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
