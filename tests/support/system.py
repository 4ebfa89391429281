"""A whole system as its operator starts it: `c360 up --split`, real processes, real servers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
from standardwebhooks import Webhook

from infra.servers import free_port
from shared.clock import utc_now
from tests.support.databases import ROOT

START_S = 90.0
STOP_S = 40.0
KEY = "c360_e2eoperator_" + "k" * 43


class System:
    """Five processes, their PostgreSQL and a broker, on a directory of their own.

    Args:
        directory: the data directory; what it holds survives `stop` and `start`.
        amqp_url: a running RabbitMQ.
        environment: further variables for all parts.
    """

    def __init__(self, directory: Path, amqp_url: str, environment: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.amqp_url = amqp_url
        self.amqp_prefix = f"e2e-{uuid4().hex[:12]}"
        self.port = _free_ports(5)
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = KEY
        self.log = directory / "system.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("C360_")},
            "C360_AMQP_URL": amqp_url,
            "C360_AMQP_PREFIX": self.amqp_prefix,
            "C360_DATA_DIR": str(directory),
            "C360_PORT": str(self.port),
            "C360_BOOTSTRAP_KEY": KEY,
            "C360_RETRY_BASE_S": "0.1",
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait for its `ready` line."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra.cli", "up", "--split"],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while f"ready {self.url}" not in self.log.read_text(encoding="utf-8"):
            assert self._process.poll() is None, f"it ended: {self._tail()}"
            assert time.monotonic() < deadline, f"not ready within {START_S} s: {self._tail()}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it as an operator would."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise AssertionError(f"it did not stop within {STOP_S} s: {self._tail()}") from None
        finally:
            self._process = None

    def processes(self) -> dict[str, dict[str, int]]:
        """Name -> pid, port and starts, as they stand now."""
        listing: dict[str, dict[str, int]] = json.loads((self.directory / "processes.json").read_text())
        return listing

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a part a signal; returns its pid."""
        pid = self.processes()[name]["pid"]
        os.kill(pid, number)
        return pid

    def client(self, key: str = KEY, **headers: str) -> httpx.AsyncClient:
        """A caller of the gateway."""
        return httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {key}", **headers}, timeout=30
        )

    def _tail(self) -> str:
        return self.log.read_text(encoding="utf-8")[-4000:]


class Partner:
    """A partner system that signs its webhooks with the official library."""

    def __init__(self, client: httpx.AsyncClient, name: str, secret: str) -> None:
        self._client = client
        self.name = name
        self._webhook = Webhook(secret)

    @classmethod
    async def create(cls, client: httpx.AsyncClient, name: str) -> Self:
        """Registered by an operator."""
        answer = await client.post("/v1/admin/partners", json={"name": name, "scheme": "standard-webhooks"})
        assert answer.status_code == 201, answer.text
        return cls(client, name, answer.json()["secret"])

    def sign(self, data: dict[str, Any], webhook_id: str | None = None) -> tuple[bytes, dict[str, str]]:
        """Body and headers of one piece of feedback."""
        now = utc_now()
        body = json.dumps(
            {"type": "feedback.created", "timestamp": now.isoformat(), "data": data}, ensure_ascii=False
        )
        webhook_id = webhook_id or f"msg_{uuid4().hex}"
        return body.encode(), {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(webhook_id, now, body),
        }

    async def post(self, data: dict[str, Any], webhook_id: str | None = None) -> httpx.Response:
        """Send it; partners have no key, only their signature."""
        body, headers = self.sign(data, webhook_id)
        return await self.send(body, headers)

    async def send(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Send exactly these bytes and headers."""
        async with httpx.AsyncClient(base_url=self._client.base_url, timeout=30) as plain:
            return await plain.post(f"/webhooks/{self.name}", content=body, headers=headers)


def feedback(**changed: Any) -> dict[str, Any]:
    """A complaint as a partner sends it."""
    return {
        "source_id": f"F-{uuid4().hex[:8]}",
        "channel": "review",
        "kind": "complaint",
        "rating": 1,
        "text": "快递把包裹弄丢了,客服一直不回复",
        "contact": {"email": f"{uuid4().hex[:8]}@example.com"},
        "occurred_at": "2026-03-02T10:00:00Z",
    } | changed


async def view_shows(client: httpx.AsyncClient, customer_id: str, test: Any, *, within_s: float = 10) -> Any:
    """Wait until the customer's 360 passes the test, and return it."""
    deadline = time.monotonic() + within_s
    while True:
        answer = await client.get(f"/v1/customers/{customer_id}/360")
        body = answer.json()
        if answer.status_code == 200 and test(body):
            return body
        assert time.monotonic() < deadline, f"the view does not show it within {within_s} s: {answer.text}"
        await asyncio.sleep(0.02)


def _free_ports(count: int) -> int:
    """The first of `count` free ports in a row."""
    import socket

    for _ in range(50):
        first = free_port()
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports in a row")
