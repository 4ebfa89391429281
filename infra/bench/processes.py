"""Processes that a benchmark runs beside itself: started, waited for, stopped."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

import aiohttp
import psutil

from infra.bench.figures import Wrong
from infra.servers import free_port

START_S = 60.0
STOP_S = 20.0
POLL_S = 0.02
MEGABYTE = 1024 * 1024


class Server:
    """A process that serves HTTP on a port of the loopback interface; what it prints goes to a file.

    Args:
        command: `{port}` in it becomes the port.
        answers: a path that is 200 once it is ready.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, *, answers: str) -> None:
        self.name = name
        self.port = free_port()
        self._command = [part.replace("{port}", str(self.port)) for part in command]
        self._log = log
        self._answers = answers
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        if self._process is None:
            raise Wrong(f"{self.name} was not started")
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it ran and does not any more."""
        return self._process is not None and self._process.returncode is not None

    @property
    def memory_mb(self) -> float:
        """Resident memory of the process, shared pages included."""
        return float(psutil.Process(self.pid).memory_info().rss) / MEGABYTE

    async def start(self, environment: Mapping[str, str]) -> None:
        """Start it; `ready` waits for it."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Wait until it answers.

        Raises:
            Wrong: it ended, or does not answer within START_S.
        """
        async with aiohttp.ClientSession() as session:

            async def answers_or_ended() -> bool:
                return self.ended or await _is_ok(session, self.url + self._answers)

            await until(answers_or_ended, f"{self.name} does not answer", within_s=START_S)
        if self.ended:
            raise Wrong(f"{self.name} ended; its last words: {self._log.read_text(errors='replace')[-1000:]}")

    async def stop(self) -> None:
        """Have it drain and end; SIGKILL when it takes too long."""
        if self._process is None or self.ended:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def start_all(servers: Iterable[Server], environment: Mapping[str, str]) -> None:
    """Start them side by side and wait until all answer."""
    servers = list(servers)
    for server in servers:
        await server.start(environment)
    await asyncio.gather(*(server.ready() for server in servers))


async def until(condition: Callable[[], Awaitable[bool]], otherwise: str, *, within_s: float) -> None:
    """Wait until the condition holds.

    Raises:
        Wrong: it does not in time.
    """
    deadline = time.monotonic() + within_s
    while not await condition():
        if time.monotonic() > deadline:
            raise Wrong(f"{otherwise} within {within_s:.0f} s")
        await asyncio.sleep(POLL_S)


async def _is_ok(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
