"""All five parts in one process, the default way to run.

The services' apps are not served over the network: the gateway reaches them through an in-process transport.
Events go through the local bus, or through RabbitMQ when C360_AMQP_URL is set.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence

import httpx
import uvicorn
from fastapi import FastAPI

from infra.databases import migrate_all
from infra.inprocess import InProcess
from infra.parts import GATEWAY, SERVICES, create_gateway
from infra.servers import Postgres
from infra.system import Ground
from shared.contracts.subscriptions import SUBSCRIPTIONS
from shared.messaging.bus import Bus
from shared.messaging.local import LocalBus

SHUTDOWN_S = 10
KEEP_ALIVE_S = 75  # longer than the pools of callers and load balancers, so that it is they who hang up
READY_POLL_S = 0.05
READY_REPORT_S = 10.0
WATCH_S = 0.5


async def run(found: Ground, listener: socket.socket) -> None:
    """Migrate, start all parts, serve the gateway on the listening socket until SIGINT or SIGTERM."""
    await migrate_all()
    bus = None if os.environ.get("C360_AMQP_URL") else LocalBus(tuple(SUBSCRIPTIONS))
    apps = assemble(bus)
    async with contextlib.AsyncExitStack() as stack:
        for app in apps:
            await stack.enter_async_context(app.router.lifespan_context(app))
        if bus is not None:
            await bus.start()
            stack.push_async_callback(bus.close)
        server = Server(uvicorn_config(apps[-1], lifespan="off"))
        watching = [asyncio.create_task(_announce(server, apps, found, listener))]
        if found.postgres is not None:
            watching.append(asyncio.create_task(_keep_running(found.postgres)))
        try:
            await server.serve(sockets=[listener])
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


def assemble(bus: Bus | None) -> list[FastAPI]:
    """The five apps, the gateway last and joined to the others in-process."""
    apps = [part.create_app(part.settings(), bus) for part in SERVICES]
    upstreams = {part.name: InProcess(app) for part, app in zip(SERVICES, apps, strict=True)}
    return [*apps, create_gateway(GATEWAY.settings(), bus, upstreams)]


class Server(uvicorn.Server):
    """uvicorn that stops on a signal and then returns, so that what stands below it is closed in order."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and take what is there now out of the garbage collector's sight: it stays as long as the
        process does, and each full pass through it would stop every request for some 30 ms."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def uvicorn_config(app: FastAPI, *, lifespan: str = "on") -> uvicorn.Config:
    """How every part is served: our own logs, no banner, a bounded drain."""
    return uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="on" if lifespan == "on" else "off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


async def _announce(server: Server, apps: Sequence[FastAPI], found: Ground, listener: socket.socket) -> None:
    """Print the one line that says that everything answers."""
    clock = asyncio.get_running_loop()
    asked, reported = clock.time(), False
    while not server.started or (away := await not_ready(apps)):
        if server.started and not reported and clock.time() - asked > READY_REPORT_S:
            print(f"waiting for {', '.join(away)}", file=sys.stderr, flush=True)
            reported = True
        await asyncio.sleep(READY_POLL_S)
    if found.new_key is not None:
        print(f"operator key, shown once: {found.new_key}", flush=True)
    print(f"ready {url_of(listener)}", flush=True)


async def not_ready(apps: Sequence[FastAPI]) -> list[str]:
    """The parts whose `/readyz` does not say ready."""
    away = []
    for app in apps:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://part") as client:
            if (await client.get("/readyz")).status_code != 200:
                away.append(str(app.state.settings.name))
    return away


def url_of(listener: socket.socket) -> str:
    """Where a listening socket is reached from this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


async def _keep_running(postgres: Postgres) -> None:
    """Start the embedded PostgreSQL again when it dies."""
    while True:
        await asyncio.sleep(WATCH_S)
        if not postgres.alive:
            print("PostgreSQL died; starting it again", file=sys.stderr, flush=True)
            await asyncio.to_thread(postgres.start)
