"""Work that arrives while other work is under way is done together, by one statement instead of many.

A few statements at a time keep one process and its database busy; what arrives meanwhile waits for the next
and shares it. Alone, a piece of work has a statement to itself and waits for nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from shared.database import is_away

WorkT = TypeVar("WorkT")
ResultT = TypeVar("ResultT")


class Together(Generic[WorkT, ResultT]):
    """Gathers calls.

    Args:
        run: does many pieces of work at once; gives a result for each, in their order.
        under_way: how many runs there may be at a time.
        at_most: pieces of work in one run. How many wait is bounded by the requests that the door lets in.
    """

    def __init__(
        self, run: Callable[[Sequence[WorkT]], Awaitable[Sequence[ResultT]]], *, under_way: int, at_most: int
    ) -> None:
        self._run = run
        self._limit = under_way
        self._at_most = at_most
        self._waiting: list[tuple[WorkT, asyncio.Future[ResultT]]] = []
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, work: WorkT) -> ResultT:
        """The result of this piece of work, which is begun after this call.

        Raises:
            Exception: whatever `run` raised for it.
        """
        result: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, result))
        if self._under_way < self._limit:
            self._under_way += 1
            task = asyncio.create_task(self._until_done())
            self._tasks.add(task)  # the loop itself keeps weak references only
            task.add_done_callback(self._tasks.discard)
        return await result

    async def _until_done(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[: self._at_most], self._waiting[self._at_most :]
                await self._settle(taken)
        finally:
            # Here and not when the task is done: whoever comes in between must not count on this one.
            self._under_way -= 1

    async def _settle(self, taken: Sequence[tuple[WorkT, asyncio.Future[ResultT]]]) -> None:
        try:
            results = await self._run([work for work, _ in taken])
        except Exception as error:
            if len(taken) > 1 and not is_away(error):
                for one in taken:  # one that does not fit must not take the others with it
                    await self._settle([one])
                return
            for _, result in taken:
                if not result.done():  # its caller may have left
                    result.set_exception(error)
        else:
            for (_, result), found in zip(taken, results, strict=True):
                if not result.done():
                    result.set_result(found)
