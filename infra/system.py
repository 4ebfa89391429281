"""What every way of running shares: the environment of the parts, the listening socket, the first checks."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import asyncpg

from infra import GATEWAY_PORT
from infra.data import DataDirectory, Refused
from infra.parts import PARTS
from infra.servers import Postgres, first_line
from shared.migrations import is_current
from shared.settings import with_database

BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Ground:
    """What a system stands on while it runs."""

    data: DataDirectory
    postgres: Postgres | None
    new_key: str | None


@contextlib.contextmanager
def ground(data: DataDirectory) -> Iterator[Ground]:
    """Put secrets and the database's URL into the environment; start PostgreSQL unless one is named there.

    Raises:
        Refused: PostgreSQL does not start.
    """
    with contextlib.ExitStack() as stack:
        new_key = load_secrets(data)
        postgres = None
        if not os.environ.get("C360_DATABASE_URL"):
            postgres = stack.enter_context(Postgres(data.path / "postgres"))
            os.environ["C360_DATABASE_URL"] = postgres.url
        yield Ground(data, postgres, new_key)


def load_secrets(data: DataDirectory, *, for_gateway: bool = True) -> str | None:
    """Put the secrets into the environment; the operator's key when it was made just now.

    Args:
        for_gateway: also those that the gateway alone may know.
    """
    from gateway.edge.keys import make_key

    os.environ["C360_INTERNAL_SECRET"], _ = data.secret("C360_INTERNAL_SECRET")
    if not for_gateway:
        return None
    os.environ["C360_WEBHOOK_SECRET_KEY"], _ = data.secret("C360_WEBHOOK_SECRET_KEY")
    key, is_new = data.secret("C360_BOOTSTRAP_KEY", lambda: make_key().text)
    os.environ["C360_BOOTSTRAP_KEY"] = key
    return key if is_new else None


def address() -> tuple[str, int]:
    """Host and port of the gateway: C360_HOST and C360_PORT.

    Raises:
        Refused: the port is no port.
    """
    given = os.environ.get("C360_PORT") or str(GATEWAY_PORT)
    if not given.isdecimal() or not 0 <= int(given) < 65536:
        raise Refused(f"C360_PORT is {given!r}; set it to a number from 1 to 65535.")
    return os.environ.get("C360_HOST") or "127.0.0.1", int(given)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, taken before anything else is started.

    Raises:
        Refused: the port is taken, or the host is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise Refused(
            f"Port {port} on {host} cannot be used ({reason}); stop what uses it or set C360_PORT to another."
        ) from error
    listener.setblocking(False)
    return listener


async def migrate_all() -> None:
    """Bring every database to its newest revision, one after the other.

    Raises:
        Refused: the database server does not let us in.
    """
    await check_database()
    for part in PARTS:
        await part.migrate()


async def check_database(timeout_s: float = 10.0) -> str:
    """The server's version.

    Raises:
        Refused: it does not answer or does not let us in.
    """
    url = os.environ.get("C360_DATABASE_URL", "postgresql://postgres@localhost:5432/")
    try:
        async with asyncio.timeout(timeout_s):
            connection = await asyncpg.connect(with_database(url, "postgres"))
    except (OSError, ValueError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = first_line(error).rstrip(".")
        raise Refused(
            f"The database server does not let us in ({reason}); check C360_DATABASE_URL."
        ) from error
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


async def pending_migrations() -> list[str]:
    """The parts whose database is missing or not at its newest revision."""
    return [part.name for part in PARTS if not await is_current(part.settings(), part.package)]


def run_async(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # not on Windows
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def interrupt_on_sigterm() -> None:
    """Treat SIGTERM as Ctrl-C, so that whatever was started is stopped in order."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
