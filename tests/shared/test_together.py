"""Work done together: gathered while busy, kept apart in its outcomes."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.together import Together


class Worker:
    """Doubles numbers, when let; zero does not fit, and a negative number means that the database is away."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.go = asyncio.Event()

    async def run(self, numbers: Sequence[int]) -> list[int]:
        self.runs.append(list(numbers))
        await self.go.wait()
        if any(number < 0 for number in numbers):
            raise ConnectionResetError
        if 0 in numbers:
            raise ZeroDivisionError
        return [number * 2 for number in numbers]


async def start(together: Together[int, int], numbers: Sequence[int]) -> list[asyncio.Task[int]]:
    async def one(number: int) -> int:
        return await together(number)

    tasks = [asyncio.create_task(one(number)) for number in numbers]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_alone_it_waits_for_nobody() -> None:
    worker = Worker()
    worker.go.set()
    together = Together(worker.run, under_way=1, at_most=10)
    assert [await together(n) for n in (1, 2, 3)] == [2, 4, 6]
    assert worker.runs == [[1], [2], [3]]


async def test_what_arrives_meanwhile_goes_together_and_in_bounds() -> None:
    worker = Worker()
    together = Together(worker.run, under_way=1, at_most=3)
    first = await start(together, [1])
    rest = await start(together, [2, 3, 4, 5])
    worker.go.set()
    assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8, 10]
    assert worker.runs == [[1], [2, 3, 4], [5]]


async def test_no_more_runs_at_a_time_than_told() -> None:
    worker = Worker()
    together = Together(worker.run, under_way=2, at_most=1)
    tasks = await start(together, [1, 2, 3])
    assert worker.runs == [[1], [2]]
    worker.go.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6]


async def test_one_that_does_not_fit_fails_alone() -> None:
    worker = Worker()
    together = Together(worker.run, under_way=1, at_most=10)
    tasks = await start(together, [1, 0, 3])
    worker.go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert (outcomes[0], outcomes[2]) == (2, 6)
    assert isinstance(outcomes[1], ZeroDivisionError)


async def test_a_database_that_is_away_is_not_asked_again_for_each() -> None:
    worker = Worker()
    worker.go.set()
    together = Together(worker.run, under_way=1, at_most=10)
    outcomes = await asyncio.gather(*await start(together, [1, -1, 3]), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionResetError] * 3
    assert len(worker.runs) == 1


async def test_a_caller_that_left_does_not_stop_the_others() -> None:
    worker = Worker()
    together = Together(worker.run, under_way=1, at_most=10)
    tasks = await start(together, [1, 2])
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    worker.go.set()
    assert await tasks[1] == 4
