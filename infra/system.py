"""What every way of running shares: the environment of the parts, the listening socket, the event loop.

Imports little, so that a refusal comes at once; the parts are imported when nothing stands in their way.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from infra import GATEWAY_PORT
from infra.data import DataDirectory, Refused
from infra.servers import Postgres

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
