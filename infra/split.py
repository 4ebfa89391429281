"""One process per part under a supervisor that starts again what dies.

Prints `name pid port` for every start and keeps the same in `<data>/processes.json`, for those who measure or
kill. Parts meet through RabbitMQ only, so C360_AMQP_URL must be set.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from infra.data import DataDirectory, Refused
from infra.databases import migrate_all
from infra.parts import GATEWAY, PARTS, Part
from infra.servers import Postgres
from infra.system import ground, listen, run_async

POLL_S = 0.1
BACKOFF_FIRST_S = 0.2
BACKOFF_MOST_S = 5.0
STEADY_S = 10.0  # who lived this long starts with the first back-off again
DRAIN_S = 15.0
READY_POLL_S = 0.2
PROCESSES = "processes.json"


@dataclass(slots=True)
class Child:
    """A part's process and its history."""

    part: Part
    port: int
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    starts: int = 0
    backoff_s: float = BACKOFF_FIRST_S
    start_after: float = field(default=0.0)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "infra.cli", "serve", self.part.name, "--port", str(self.port)],
            env={**os.environ, "C360_SUPERVISOR": str(os.getpid())},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for the supervisor, which then stops all in order
        )
        self.started_at = time.monotonic()
        self.starts += 1
        print(f"{self.part.name} {self.process.pid} {self.port}", flush=True)

    def tend(self) -> bool:
        """Start it when it is due; whether it was started."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            lived_s = now - self.started_at
            self.backoff_s = BACKOFF_FIRST_S if lived_s > STEADY_S else self.backoff_s
            print(
                f"{self.part.name} ended with {self.process.returncode}; again in {self.backoff_s:.1f} s",
                file=sys.stderr,
                flush=True,
            )
            self.start_after = now + self.backoff_s
            self.backoff_s = min(self.backoff_s * 2, BACKOFF_MOST_S)
            self.process = None
        if self.process is None and now >= self.start_after:
            self.start()
            return True
        return False


def run(data: DataDirectory, host: str, port: int) -> None:
    """Run until interrupted, then drain.

    Raises:
        Refused: a port is taken, or the database does not answer.
    """
    children = [Child(part, _port(part, port)) for part in PARTS]
    for child in children:
        listen(host if child.part is GATEWAY else "127.0.0.1", child.port).close()
        if child.part is not GATEWAY:
            address = f"http://127.0.0.1:{child.port}"
            os.environ.setdefault(f"C360_GATEWAY_{child.part.name.upper()}_URL", address)
    with ground(data) as found:
        run_async(migrate_all())
        listing = data.path / PROCESSES
        try:
            _supervise(children, found.postgres, listing, found.new_key, port)
        finally:
            _drain(children)
            listing.unlink(missing_ok=True)


def _supervise(
    children: list[Child], postgres: Postgres | None, listing: Path, new_key: str | None, port: int
) -> None:
    ready, next_ask = False, 0.0
    while True:
        if postgres is not None and not postgres.alive:
            print("PostgreSQL died; starting it again", file=sys.stderr, flush=True)
            with contextlib.suppress(Refused):  # the next round tries again
                postgres.start()
        if sum(child.tend() for child in children):
            _write(listing, children, postgres)
        if not ready and time.monotonic() >= next_ask:
            ready = all(_is_ready(child.port) for child in children)
            next_ask = time.monotonic() + READY_POLL_S
            if ready:
                if new_key is not None:
                    print(f"operator key, shown once: {new_key}", flush=True)
                print(f"ready http://127.0.0.1:{port}", flush=True)
        time.sleep(POLL_S)


def _drain(children: list[Child]) -> None:
    """The gateway first, so that nothing new comes in; then the rest together."""
    for group in (children[-1:], children[:-1]):
        running = [child.process for child in group if child.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)  # a frozen one hears nothing else
                process.terminate()
        deadline = time.monotonic() + DRAIN_S
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _write(listing: Path, children: list[Child], postgres: Postgres | None) -> None:
    content: dict[str, dict[str, int]] = {
        child.part.name: {"pid": child.process.pid, "port": child.port, "starts": child.starts}
        for child in children
        if child.process is not None
    }
    if postgres is not None:
        content["postgres"] = {"pid": postgres.pid}
    unfinished = listing.with_suffix(".new")
    unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="ascii")
    unfinished.rename(listing)


def _port(part: Part, gateway_port: int) -> int:
    given = os.environ.get(f"C360_{part.name.upper()}_PORT")
    return int(given) if given and given.isdecimal() else gateway_port + part.offset


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def end_with_supervisor() -> None:
    """In a part: be told to stop when the supervisor is killed (Linux: PR_SET_PDEATHSIG)."""
    supervisor = os.environ.get("C360_SUPERVISOR")
    if supervisor is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
    if os.getppid() != int(supervisor):  # it died before we asked
        sys.exit(0)
