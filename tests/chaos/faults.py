"""Faults, chosen by a seed that is printed: processes killed and frozen, the broker and the database too."""

import asyncio
import contextlib
import random
import signal
from dataclasses import dataclass

from infra.servers import Rabbit
from tests.support.system import System

PARTS = ("profile", "feedback", "loyalty", "scoring", "gateway")
FROZEN_S = (0.3, 1.5)


@dataclass(slots=True)
class Faults:
    """Applies one fault after the other until told to stop; `applied` says which."""

    system: System
    rabbit: Rabbit
    random: random.Random
    applied: list[str]

    async def run(self, count: int, every_s: float) -> None:
        """Apply `count` faults, the broker and the database among them at least once."""
        kinds = self._plan(count)
        for kind in kinds:
            await asyncio.sleep(self.random.uniform(0.5, 1.5) * every_s)
            with contextlib.suppress(ProcessLookupError, KeyError, FileNotFoundError):
                await self._apply(kind)
                self.applied.append(kind)

    def _plan(self, count: int) -> list[str]:
        """Every part is killed once, the broker and the database too; the rest is drawn."""
        must = ["kill rabbit", "kill postgres", *(f"kill {part}" for part in PARTS)][:count]
        drawn = [
            f"{self.random.choice(['kill', 'kill', 'freeze'])} {self.random.choice(PARTS)}"
            for _ in range(count - len(must))
        ]
        plan = must + drawn
        self.random.shuffle(plan)
        return plan

    async def _apply(self, kind: str) -> None:
        verb, part = kind.split()
        if part == "rabbit":
            await asyncio.to_thread(self.rabbit.kill)
            await asyncio.to_thread(self.rabbit.start)
        elif verb == "kill":
            self.system.signal(part, signal.SIGKILL)
        else:
            self.system.signal(part, signal.SIGSTOP)
            await asyncio.sleep(self.random.uniform(*FROZEN_S))
            self.system.signal(part, signal.SIGCONT)
