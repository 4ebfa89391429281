"""The stage of a run: the parts' databases and the processes that a benchmark asks for.

Everything is real and on loopback: PostgreSQL as it would run, RabbitMQ with quorum queues, parts served by
`c360 serve`, that is, by uvicorn on uvloop and httptools.
"""

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aio_pika
import asyncpg
from aio_pika.abc import AbstractChannel

from infra.bench.figures import Wrong
from infra.bench.ground import Ground
from infra.bench.processes import Server, start_all, until
from infra.bench.profiles import Profiler
from infra.parts import BY_NAME, GATEWAY, SERVICES, Part
from shared.contracts.subscriptions import SUBSCRIPTIONS
from shared.migrations import migrate
from shared.settings import with_database
from shared.web.security import sign

SETTLE_S = 120.0
TOKEN_S = 24 * 3600
UNPUBLISHED = "SELECT EXISTS (SELECT FROM outbox) OR EXISTS (SELECT FROM section_marks)"
# The buckets do their work; a benchmark with one key must only not empty them.
UNLIMITED = "100000000/10"
LIMITS = ("RATE_READ", "RATE_WRITE", "RATE_BULK", "RATE_INTAKE")


@dataclass(frozen=True, slots=True)
class Person:
    """A customer who lives in every service, and how a partner would name them."""

    id: str
    email: str


class Stage:
    """What benchmarks stand on. `have` says which parts run; `serve` starts a yardstick."""

    def __init__(self, ground: Ground) -> None:
        self.folder = ground.folder
        self.database_url = ground.database_url
        self.amqp_url = ground.amqp_url
        self.prefix = f"bench-{secrets.token_hex(4)}"
        self.secret, self.key = secrets.token_urlsafe(32), f"c360_bench_{secrets.token_hex(24)}"
        self.profiler: Profiler | None = None
        self.people: Sequence[Person] = ()  # see population.py
        self._running: dict[str, Server] = {}
        self._pools: dict[str, asyncpg.Pool] = {}
        self._declared = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything that runs, close what is open, and take our queues off the broker."""
        await self._stop()
        for pool in self._pools.values():
            pool.terminate()
        if self._declared:
            await self._clear(delete=True)

    @property
    def running(self) -> Mapping[str, Server]:
        """The parts that run now."""
        return self._running

    @property
    def token(self) -> str:
        """An internal token that may do everything, valid for the whole run."""
        return sign(self.secret, subject="bench", scopes=["*"], lifetime_s=TOKEN_S)

    def dsn(self, database: str) -> str:
        """The URL of a database."""
        return with_database(self.database_url, database)

    async def pool(self, database: str) -> asyncpg.Pool:
        """Our own connections to a database, to prepare it and to look into it."""
        if database not in self._pools:
            self._pools[database] = await asyncpg.create_pool(
                self.dsn(database), min_size=1, max_size=4, server_settings={"timezone": "UTC", "jit": "off"}
            )
        return self._pools[database]

    async def create_database(self, name: str) -> asyncpg.Pool:
        """A yardstick's own database, empty."""
        if name in self._pools:
            self._pools.pop(name).terminate()
        server = await self.pool("postgres")
        await server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await server.execute(f'CREATE DATABASE "{name}"')
        return await self.pool(name)

    async def migrate(self, parts: Iterable[str]) -> None:
        """Make the databases of these parts."""
        for name in sorted(parts):
            await self._migrate(BY_NAME[name])

    async def another(self, part: str, database: str) -> asyncpg.Pool:
        """One more database of a part, empty, beside the one that it runs on."""
        await self.create_database(database)
        await self._migrate(BY_NAME[part], database_name=database)
        return await self.pool(database)

    async def _migrate(self, part: Part, **values: str) -> None:
        values |= {"database_url": self.database_url, "internal_secret": self.secret}
        if part is GATEWAY:
            values["webhook_secret_key"] = self.secret
        await migrate(part.settings(**values), part.package)

    async def have(self, *names: str) -> dict[str, Server]:
        """Have exactly these parts running: who is measured shares the cores with nobody else.

        Events that were left by those who ran before are dropped.
        """
        if set(names) != set(self._running):
            await self._replace(names)
        if self.profiler is not None:
            await self.profiler.watch(self._running)
        return self._running

    async def _replace(self, names: Collection[str]) -> None:
        await self._stop()
        if self._declared:
            await self._clear()
        self._running = {name: self._part(name) for name in names}
        await start_all(self._running.values(), self.environment(self._running))
        self._declared = self._declared or (self.amqp_url is not None and bool(names))

    def _part(self, name: str) -> Server:
        command = [sys.executable, "-m", "infra.cli", "serve", name, "--port", "{port}"]
        return Server(name, command, self.folder / f"{name}.log", answers="/readyz")

    @contextlib.asynccontextmanager
    async def gateway_on(self, database: str) -> AsyncIterator[Server]:
        """A gateway of its own on another database, beside those that run, while the context is open."""
        server = self._part("gateway")
        try:
            await start_all([server], self.environment({}) | {"C360_GATEWAY_DATABASE_NAME": database})
            yield server
        finally:
            await server.stop()

    @contextlib.asynccontextmanager
    async def serve(self, yardstick: str, **arguments: Any) -> AsyncIterator[Server]:
        """A yardstick of yardsticks.py as a process, while the context is open."""
        command = [sys.executable, "-m", "infra.bench.yardsticks", yardstick, "{port}", json.dumps(arguments)]
        server = Server(yardstick, command, self.folder / "yardstick.log", answers="/")
        try:
            await start_all([server], self.environment({}))
            yield server
        finally:
            await server.stop()

    async def settled(self, *parts: str) -> None:
        """Wait until these parts have published everything: no work is left for the other side's turn.

        Raises:
            Wrong: they do not come to rest in time.
        """

        async def at_rest() -> bool:
            pools = [await self.pool(f"c360_{part}") for part in parts]
            return not any([await pool.fetchval(UNPUBLISHED) for pool in pools])

        await until(at_rest, f"{', '.join(parts)} did not come to rest", within_s=SETTLE_S)

    async def consumed(self) -> None:
        """Wait until nothing waits in any queue.

        Raises:
            Wrong: not in time.
        """

        async def empty() -> bool:
            return not any((await self.queue_lengths()).values())

        await until(empty, "the queues did not empty", within_s=SETTLE_S)

    async def queue_lengths(self) -> dict[str, int]:
        """Messages that wait in each consumer group's queue; those with a consumer do not count."""
        async with self.channel() as channel:
            lengths = {}
            for group in SUBSCRIPTIONS:
                queue = await channel.declare_queue(self.queue(group), passive=True)
                lengths[group] = queue.declaration_result.message_count or 0
            return lengths

    def queue(self, group: str) -> str:
        """The name of a consumer group's queue here."""
        return f"{self.prefix}.{group}"

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel to the broker, with confirms."""
        if self.amqp_url is None:
            raise Wrong("this benchmark does not say that it needs a broker")
        async with await aio_pika.connect(self.amqp_url) as connection, connection.channel() as channel:
            yield channel

    def last_words(self) -> str:
        """The end of what each part wrote to its log, for a benchmark that failed."""
        logs = {log.stem: log.read_text(errors="replace")[-1000:] for log in self.folder.glob("*.log")}
        return "\n".join(f"{name}: {words}" for name, words in logs.items() if words)

    def environment(self, parts: dict[str, Server]) -> dict[str, str]:
        """What parts and yardsticks are started with; a developer's own settings are kept out of it."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("C360_")}
        own |= {
            "C360_DATABASE_URL": self.database_url,
            "C360_AMQP_PREFIX": self.prefix,
            "C360_INTERNAL_SECRET": self.secret,
            "C360_WEBHOOK_SECRET_KEY": self.secret,
            "C360_BOOTSTRAP_KEY": self.key,
            "C360_SUPERVISOR": str(os.getpid()),  # parts end with us
        }
        own |= {f"C360_GATEWAY_{limit}": UNLIMITED for limit in LIMITS}
        if self.amqp_url is not None:
            own["C360_AMQP_URL"] = self.amqp_url
        for part in SERVICES:
            if part.name in parts:
                own[f"C360_GATEWAY_{part.name.upper()}_URL"] = parts[part.name].url
        return own

    async def _stop(self) -> None:
        """Stop the parts, the gateway first."""
        running, self._running = self._running, {}
        if gateway := running.pop("gateway", None):
            await gateway.stop()
        await asyncio.gather(*(server.stop() for server in running.values()))

    async def _clear(self, *, delete: bool = False) -> None:
        async with self.channel() as channel:
            for group in SUBSCRIPTIONS:
                for name in (self.queue(group), f"{self.queue(group)}.dead"):
                    queue = await channel.get_queue(name, ensure=False)
                    await (queue.delete(if_unused=False, if_empty=False) if delete else queue.purge())
            if delete:
                for name in ("events", "dead"):
                    await channel.exchange_delete(f"{self.prefix}.{name}")
