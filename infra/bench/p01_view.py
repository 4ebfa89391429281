"""P1: the 360 view from the view, beside a bare FastAPI route that reads one row of the same bytes."""

import random
from collections.abc import Iterable

import aiohttp
import asyncpg

from infra.bench import made
from infra.bench.benchmark import Benchmark, Effort, take_turns
from infra.bench.figures import Figure, Reach, Wrong
from infra.bench.load import Answers, Load, fire
from infra.bench.processes import Server
from infra.bench.requests import http_request, write_requests
from infra.bench.stage import Stage

CONNECTIONS = 32
POOL = 8  # the parts' default, C360_STATEMENT_POOL_SIZE
COMPARED = 200
COMPLETE = '"meta":{"complete":true,'


async def run(stage: Stage, effort: Effort) -> list[Figure]:
    gateway = (await stage.have("gateway"))["gateway"]
    await made.fill_view(await stage.pool("c360_gateway"), effort.customers)
    await _fill_rows(await stage.create_database("bench_rows"), effort.customers)
    numbers = in_any_order(effort.customers)
    headers = asking(stage)
    ours = view_load(stage, "p1.views", numbers)
    bare = Load(stage.folder / "p1.rows", 200, COMPLETE)
    write_requests(
        bare.requests,
        (http_request("GET", f"/rows/{made.customer_id(n)}", headers=headers) for n in numbers),
    )
    async with stage.serve("bare_row", dsn=stage.dsn("bench_rows"), connections=POOL) as yardstick:
        await _compare(gateway, yardstick, headers, numbers[:COMPARED])

        async def read(load: Load, server: Server) -> Answers:
            return await fire(load, server.port, connections=CONNECTIONS, seconds=effort.seconds)

        views, rows = await take_turns(
            effort.repeats, lambda: read(ours, gateway), lambda: read(bare, yardstick)
        )
    return [
        Figure("360 views/s", [v.per_s for v in views], [r.per_s for r in rows], Reach("≥", 1.0)),
        Figure("p99 ms", [v.p99_ms for v in views], [r.p99_ms for r in rows], Reach("≤", 1.0)),
    ]


def asking(stage: Stage) -> dict[str, str]:
    """Headers of a caller with the run's key."""
    return {"Authorization": f"Bearer {stage.key}", "Accept": "application/json"}


def in_any_order(customers: int) -> list[int]:
    """The numbers of so many customers, shuffled, always alike."""
    numbers = list(range(customers))
    random.Random(1).shuffle(numbers)
    return numbers


def view_load(stage: Stage, name: str, numbers: Iterable[int]) -> Load:
    """Reads of these customers' 360 views, by their number."""
    load = Load(stage.folder / name, 200, COMPLETE)
    paths = (f"/v1/customers/{made.customer_id(n)}/360" for n in numbers)
    write_requests(load.requests, (http_request("GET", path, headers=asking(stage)) for path in paths))
    return load


async def _fill_rows(pool: asyncpg.Pool, customers: int) -> None:
    """The same bytes as one row, kept in line as the view keeps its own."""
    async with pool.acquire() as connection:
        await connection.execute(
            "CREATE TABLE rows (id uuid PRIMARY KEY, body text NOT NULL) WITH (toast_tuple_target = 8160)"
        )
        await connection.copy_records_to_table("rows", records=made.answers(range(customers)))
        await connection.execute("VACUUM (FREEZE, ANALYZE) rows")


async def _compare(gateway: Server, yardstick: Server, headers: dict[str, str], numbers: list[int]) -> None:
    """Both sides say the same, byte for byte, and ours does what it is said to do besides."""
    async with aiohttp.ClientSession(headers=headers) as session:
        for number in numbers:
            customer = made.customer_id(number)
            path = f"{gateway.url}/v1/customers/{customer}/360"
            async with session.get(path) as view, session.get(f"{yardstick.url}/rows/{customer}") as row:
                if await view.read() != await row.read() or (view.status, row.status) != (200, 200):
                    raise Wrong(f"the view and the yardstick differ: {view.status}, {row.status}")
                if not all(name in view.headers for name in ("ETag", "RateLimit", "RateLimit-Policy")):
                    raise Wrong(f"the view's answer lacks headers: {sorted(view.headers)}")
                tag = view.headers["ETag"]
        async with session.get(path, headers={"If-None-Match": tag}) as again:
            if again.status != 304:
                raise Wrong(f"the same view again was {again.status}, not 304")
        async with session.get(path, headers={"Authorization": "Bearer nobody"}) as stranger:
            if stranger.status != 401:
                raise Wrong(f"a caller without a key got {stranger.status}")


BENCHMARK = Benchmark(
    "P1",
    "360 view over {customers:,} customers: key, rate limit, ETag",
    "bare FastAPI route, one asyncpg primary-key row of the same bytes",
    parts=("gateway",),
    broker=False,
    run=run,
)
