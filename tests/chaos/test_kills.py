"""Nothing is lost and nothing doubled, whatever dies: services, relays, consumers, RabbitMQ, PostgreSQL.

The short form runs with every test run, the long one with `make chaos` (C360_LONG=1). The seed is printed;
C360_SEED repeats it.
"""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.chaos.effects import dead_letters, different_views, effects, settled
from tests.chaos.faults import Faults
from tests.chaos.load import Load
from tests.support.broker import killable_rabbit
from tests.support.system import System

pytestmark = [pytest.mark.processes, pytest.mark.broker]

LONG = bool(os.environ.get("C360_LONG"))
FAULTS, EVERY_S, RATE, CUSTOMERS = (40, 4.0, 60.0, 40) if LONG else (7, 2.0, 25.0, 10)


def test_what_was_accepted_takes_effect_exactly_once(tmp_path: Path) -> None:
    seed = int(os.environ.get("C360_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}")
    rabbit = killable_rabbit(tmp_path / "rabbit")
    rabbit.start()
    try:
        with System(tmp_path / "system", rabbit.url) as system:
            asyncio.run(_check_exactly_once(system, Faults(system, rabbit, random.Random(seed), []), seed))
    finally:
        rabbit.stop()


async def _check_exactly_once(system: System, faults: Faults, seed: int) -> None:
    load = Load(system, customers=CUSTOMERS, rate=RATE, seed=seed)
    await load.prepare()
    killing = asyncio.create_task(faults.run(FAULTS, EVERY_S))
    while not killing.done():
        await load.run(2.0)
    await killing
    await load.run(1.0)
    await load.close()
    await settled(system)
    accepted, found = load.accepted, await effects(system)
    print(
        f"seed {seed}: {len(faults.applied)} faults, {len(accepted.receipts)} webhooks, "
        f"{len(accepted.purchases)} purchases, {len(accepted.transfers)} redemptions, "
        f"{accepted.repeats} repeats"
    )
    assert len(faults.applied) == FAULTS, faults.applied
    assert accepted.refused == []
    assert accepted.repeats > 0, "no caller noticed anything: the faults did not bite"
    assert found.tickets == dict.fromkeys(accepted.receipts, 1)
    assert found.recorded == dict.fromkeys(accepted.purchases, 1)
    assert found.earned == dict.fromkeys(accepted.purchases, 1)
    assert found.scored == dict.fromkeys(accepted.purchases, 1)
    assert found.spent == dict.fromkeys(accepted.transfers.values(), 1)
    assert await dead_letters(system) == 0
    assert await different_views(system, load) == []
