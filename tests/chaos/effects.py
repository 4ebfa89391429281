"""What took effect, read from the services' own databases, and compared with what was accepted."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import asyncpg
import httpx

from shared.contracts.sections import SECTIONS
from shared.contracts.subscriptions import SUBSCRIPTIONS
from tests.chaos.load import Load
from tests.support.system import System

QUIET_S = 90.0
POLL_S = 0.25
LOOKS = 40


@dataclass(frozen=True, slots=True)
class Effects:
    """How often each accepted thing took effect."""

    tickets: Counter[str]
    recorded: Counter[str]
    earned: Counter[str]
    scored: Counter[str]
    spent: Counter[str]


async def settled(system: System) -> None:
    """Wait until nothing is on its way, some looks in a row: outboxes, marks, retries and queues are empty.

    Raises:
        AssertionError: something is still on its way after QUIET_S; says what.
    """
    deadline = asyncio.get_running_loop().time() + QUIET_S
    quiet = 0
    while quiet < 4:
        waiting = await _waiting(system)
        quiet = 0 if any(waiting.values()) else quiet + 1
        assert asyncio.get_running_loop().time() < deadline, f"still on its way: {waiting}"
        await asyncio.sleep(POLL_S)


async def effects(system: System) -> Effects:
    """Every effect in every service."""
    return Effects(
        tickets=await _count(system, "feedback", "SELECT receipt_id FROM ticket_receipts"),
        recorded=await _count(system, "profile", "SELECT id FROM purchases"),
        earned=await _count(
            system,
            "loyalty",
            "SELECT substr(idempotency_key, 10) FROM transfers WHERE idempotency_key LIKE 'purchase/%'",
        ),
        scored=await _count(system, "scoring", "SELECT id FROM purchases"),
        spent=await _count(system, "loyalty", "SELECT id FROM transfers WHERE kind = 'redemption'"),
    )


async def different_views(system: System, load: Load) -> list[str]:
    """Customers whose stored view differs from what the services say now, and where; some looks in a row,
    because what services do by the clock goes on.
    """
    found = []
    async with system.client() as client:
        for customer_id, _ in load.customers:
            for _ in range(LOOKS):
                path = f"/v1/customers/{customer_id}/360"
                view, live = (await client.get(path)).json(), await _live(client, path)
                different = [name for name in SECTIONS if view.get(name) != live.get(name)]
                if not different:
                    break
                await asyncio.sleep(POLL_S)
            found += [f"{customer_id} {name}" for name in different]
    return found


async def dead_letters(system: System) -> int:
    """Events that were given up, over all services."""
    counts = [
        await _fetch(system, name, "SELECT count(*) FROM dead_letters")
        for name in ("profile", "feedback", "loyalty", "scoring", "gateway")
    ]
    return sum(rows[0][0] for rows in counts)


async def _live(client: httpx.AsyncClient, path: str) -> dict[str, object]:
    for _ in range(LOOKS):
        answer = (await client.get(path, params={"fresh": "true"})).json()
        if {section["source"] for section in answer["meta"]["sections"].values()} == {"live"}:
            return answer  # type: ignore[no-any-return]
        await asyncio.sleep(POLL_S)
    raise AssertionError(f"a service does not answer live: {answer['meta']}")


async def _waiting(system: System) -> dict[str, int]:
    sql = """SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM section_marks)
             + (SELECT count(*) FROM dead_letters WHERE status = 'retrying')"""
    return {
        name: (await _fetch(system, name, sql))[0][0]
        for name in ("profile", "feedback", "loyalty", "scoring", "gateway")
    } | await _queued(system)


async def _queued(system: System) -> dict[str, int]:
    """Messages in each group's queue, or under way to its consumer.

    The broker counts what is ready only. A queue without a consumer has nothing under way, and one with a
    consumer gives back what a killed one held: it shows as ready until it is taken again.
    """
    connection = await aio_pika.connect(system.amqp_url)
    async with connection:
        channel = await connection.channel()
        counts = {}
        for group in SUBSCRIPTIONS:
            queue = await channel.declare_queue(f"{system.amqp_prefix}.{group}", passive=True)
            ready, consumers = queue.declaration_result.message_count, queue.declaration_result.consumer_count
            counts[group] = (ready or 0) + (0 if consumers else 1)
        return counts


async def _count(system: System, name: str, sql: str) -> Counter[str]:
    return Counter(str(row[0]) for row in await _fetch(system, name, sql))


async def _fetch(system: System, name: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database_url(system, name))
    try:
        rows: list[asyncpg.Record] = await connection.fetch(sql)
        return rows
    finally:
        await connection.close()


def database_url(system: System, name: str) -> str:
    """A service's database on the system's embedded server: its socket directory stands in the pid file."""
    lines = Path(system.directory / "postgres" / "postmaster.pid").read_text().splitlines()
    return f"postgresql://postgres@/c360_{name}?host={lines[4]}"
