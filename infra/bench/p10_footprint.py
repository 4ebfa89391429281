"""P10: memory of each part and of all in one process; how long a warm start takes to its first 360 answer."""

import sys
import time

import aiohttp

from infra.bench.benchmark import Benchmark, Effort
from infra.bench.figures import Figure, Reach, Wrong
from infra.bench.population import SERVICES, populate
from infra.bench.processes import Server, until
from infra.bench.stage import Stage

ALL_IN_ONE = "up"
START_S = 60.0
READS = 200


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    parts = await stage.have("gateway", *SERVICES)
    await populate(stage, parts["gateway"], effort.active)
    figures = [
        Figure(f"{name} MB", [part.memory_mb], reach=Reach("≤", 160)) for name, part in sorted(parts.items())
    ]
    await stage.have()
    customer = await _first_start(stage)
    memory_mb, starts_s = [], []
    for _ in range(effort.starts):
        started = time.perf_counter()
        system = await _up(stage)
        try:
            await _answers(system, stage.key, customer)
            starts_s.append(time.perf_counter() - started)
            await _read(system, stage.key, customer)
            memory_mb.append(system.memory_mb)
        finally:
            await system.stop()
    alone = "without PostgreSQL's own processes"
    note = "`c360 up`, its embedded PostgreSQL started too; `make up` adds a look at a file's age"
    return [
        *figures,
        Figure("all in one MB", memory_mb, reach=Reach("≤", 450), note=alone),
        Figure("start to first 360 answer s", starts_s, reach=Reach("≤", 6), note=note),
    ]


async def _up(stage: Stage) -> Server:
    """`c360 up` on a data directory of its own, started."""
    folder = stage.folder / ALL_IN_ONE
    system = Server(
        ALL_IN_ONE, [sys.executable, "-m", "infra.cli", "up"], stage.folder / "up.log", answers="/readyz"
    )
    environment = {name: value for name, value in stage.environment({}).items() if not _is_given(name)}
    await system.start(
        environment
        | {"C360_DATA_DIR": str(folder), "C360_PORT": str(system.port), "C360_BOOTSTRAP_KEY": stage.key}
    )
    return system


def _is_given(name: str) -> bool:
    """Settings of the stage that would have it use other servers than its own."""
    return name.startswith("C360_")


async def _first_start(stage: Stage) -> str:
    """Everything a warm start finds done: databases, migrations, compiled files, and one customer."""
    system = await _up(stage)
    try:
        await system.ready()
        headers = {"Authorization": f"Bearer {stage.key}"}
        body = {"name": "Ada Lovelace", "email": "ada@example.com"}
        async with (
            aiohttp.ClientSession(system.url, headers=headers) as session,
            session.post("/v1/customers", json=body) as answer,
        ):
            if answer.status != 201:
                raise Wrong(f"no customer was made: {answer.status} {await answer.text()}")
            customer = str((await answer.json())["id"])
        await _answers(system, stage.key, customer)
    finally:
        await system.stop()
    return customer


async def _answers(system: Server, key: str, customer: str) -> None:
    """Wait for the customer's 360 view."""
    async with aiohttp.ClientSession(system.url, headers={"Authorization": f"Bearer {key}"}) as session:

        async def is_shown() -> bool:
            if system.ended:
                raise Wrong("`c360 up` ended")
            try:
                async with session.get(f"/v1/customers/{customer}/360") as answer:
                    return answer.status == 200 and (await answer.json())["customer_id"] == customer
            except aiohttp.ClientError:
                return False

        await until(is_shown, "the first 360 answer did not come", within_s=START_S)


async def _read(system: Server, key: str, customer: str) -> None:
    """Some use, so that memory is that of a system at work."""
    async with aiohttp.ClientSession(system.url, headers={"Authorization": f"Bearer {key}"}) as session:
        for number in range(READS):
            async with session.get(f"/v1/customers/{customer}/360?fresh={number % 2}") as answer:
                if answer.status != 200:
                    raise Wrong(f"a 360 view was {answer.status}")


BENCHMARK = Benchmark(
    "P10",
    "resident memory of each part after use and of all in one; warm start",
    "nothing; the limits are absolute",
    parts=("gateway", *SERVICES),
    broker=True,
    run=run,
)
