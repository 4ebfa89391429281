"""What a benchmark is, how much of it is done, and how its two sides take turns."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from infra.bench.figures import Figure
from infra.bench.stage import Stage

Ours = TypeVar("Ours")
Theirs = TypeVar("Theirs")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: what a judgement needs, or what fits into two minutes over all."""

    repeats: int
    seconds: float
    customers: int  # in the view
    active: int  # with purchases, points and tickets, in every service
    section_events: int
    members: int
    tpcb_scale: int
    starts: int
    sizes: tuple[int, ...]  # members, and customers, of what has grown

    @classmethod
    def full(cls) -> "Effort":
        return cls(5, 5.0, 100_000, 2_000, 20_000, 20_000, 20, 3, (10_000, 100_000, 1_000_000))

    @classmethod
    def quick(cls) -> "Effort":
        return cls(3, 0.6, 10_000, 300, 3_000, 2_000, 5, 1, (1_000, 5_000))


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One row of the plan.

    Args:
        parts: the parts whose databases it needs.
        broker: whether it needs RabbitMQ.
    """

    name: str
    title: str
    against: str
    parts: tuple[str, ...]
    broker: bool
    run: Callable[[Stage, Effort], Awaitable[list[Figure]]]


async def take_turns(
    repeats: int, ours: Callable[[], Awaitable[Ours]], theirs: Callable[[], Awaitable[Theirs]]
) -> tuple[list[Ours], list[Theirs]]:
    """Measure both sides in turns, each first every other time: what drifts hits both alike."""
    mine: list[Ours] = []
    others: list[Theirs] = []
    for number in range(repeats):
        if number % 2:
            others.append(await theirs())
            mine.append(await ours())
        else:
            mine.append(await ours())
            others.append(await theirs())
    return mine, others
