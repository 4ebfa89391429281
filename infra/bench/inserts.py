"""Yardstick of P3: clients that each insert one row at a time, committed. `python -m … JSON`."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import asyncpg

from infra.bench.beside import answer
from infra.bench.figures import percentile

TABLE = "CREATE TABLE inserted (id uuid PRIMARY KEY, body text NOT NULL)"
_INSERT = "INSERT INTO inserted (id, body) VALUES ($1, $2)"


async def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """Insert `body` into TABLE at `dsn` with `clients` connections for `seconds`."""
    body: str = arguments["body"]
    clients = range(arguments["clients"])
    connections = await asyncio.gather(*(asyncpg.connect(arguments["dsn"]) for _ in clients))
    statements = [await connection.prepare(_INSERT) for connection in connections]
    latencies_ms: list[float] = []
    started = time.perf_counter()
    until = started + arguments["seconds"]

    async def client(statement: Any) -> None:
        while (sent := time.perf_counter()) < until:
            await statement.fetch(uuid4(), body)
            latencies_ms.append((time.perf_counter() - sent) * 1000)

    await asyncio.gather(*(client(statement) for statement in statements))
    took_s = time.perf_counter() - started
    await asyncio.gather(*(connection.close() for connection in connections))
    return {
        "rows": len(latencies_ms),
        "per_s": len(latencies_ms) / took_s,
        "p50_ms": percentile(latencies_ms, 50),
        "p99_ms": percentile(latencies_ms, 99),
    }


if __name__ == "__main__":
    answer(main)
