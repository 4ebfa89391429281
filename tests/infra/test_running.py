"""A system as people start it: one process, or one per part, from the command line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from infra.parts import PARTS
from infra.servers import free_port, wait_for
from tests.support.broker import killable_rabbit, own_prefix, rabbit

READY_WITHIN_S = 90
KEY = "c360_operator_key-for-tests"

pytestmark = pytest.mark.processes


class Running:
    """`c360 up` as a process, its output in a file."""

    def __init__(self, home: Path, port: int, *options: str, **environment: str) -> None:
        self.home, self.port = home, port
        self.output = home / "output"
        home.mkdir(exist_ok=True)
        own = {name: value for name, value in os.environ.items() if not name.startswith("C360_")}
        own |= {"C360_DATA_DIR": str(home / "data"), "C360_PORT": str(port), "C360_BOOTSTRAP_KEY": KEY}
        with self.output.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "infra.cli", "up", *options],
                env=own | environment,
                stdout=stream,
                stderr=stream,
            )

    def says(self, words: str) -> bool:
        """Whether the words come out within the time; stops waiting when the process ended."""
        wait_for(lambda: words in self.text or self.process.poll() is not None, READY_WITHIN_S)
        return words in self.text

    @property
    def text(self) -> str:
        return self.output.read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@contextmanager
def up(home: Path, port: int, *options: str, **environment: str) -> Iterator[Running]:
    running = Running(home, port, *options, **environment)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def test_one_process_refuses_a_second_survives_a_kill_and_stops_in_order(tmp_path: Path) -> None:
    port, home = free_port(), tmp_path / "a"
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
        with up(home, port) as system:
            assert system.says(f"ready http://127.0.0.1:{port}\n"), system.text
            assert system.text.count("ready ") == 1
            assert KEY not in system.text
            with up(home, port) as second:
                assert second.process.wait(30) == 1
            assert second.text.splitlines()[-1].startswith("Customer 360 already runs on")
            with up(tmp_path / "b", port) as third:
                assert third.process.wait(30) == 1
            (sentence,) = third.text.splitlines()
            assert sentence.startswith(f"Port {port} on 127.0.0.1 cannot be used")
            made = client.post("/v1/customers", json={"name": "李雷", "email": "lilei@example.com"})
            assert made.status_code == 201, made.text
            view = f"/v1/customers/{made.json()['id']}/360"
            system.process.kill()
            system.process.wait()
        system.output.unlink()
        with up(home, port) as system:
            assert system.says("ready "), system.text
            assert wait_for(lambda: (client.get(view).json().get("profile") or {}).get("name") == "李雷", 15)
            assert system.stop() == 0
            assert not (home / "data" / "postgres" / "postmaster.pid").exists()


def test_the_supervisor_starts_again_what_dies(tmp_path: Path) -> None:
    port = free_port()
    environment = {"C360_AMQP_URL": rabbit(), "C360_AMQP_PREFIX": own_prefix()}
    environment |= {f"C360_{part.name.upper()}_PORT": str(free_port()) for part in PARTS[:-1]}
    with up(tmp_path / "a", port, "--split", **environment) as system:
        assert system.says("ready "), system.text
        listing = tmp_path / "a" / "data" / "processes.json"
        before = json.loads(listing.read_text())
        assert before.keys() == {part.name for part in PARTS} | {"postgres"}
        for name in ("loyalty", "gateway"):
            os.kill(before[name]["pid"], signal.SIGKILL)
        assert wait_for(
            lambda: all(_starts(listing, name) == 2 for name in ("loyalty", "gateway")), READY_WITHIN_S
        )
        after = json.loads(listing.read_text())
        assert f"gateway {after['gateway']['pid']} {port}" in system.text
        assert after["profile"] == before["profile"]
        assert wait_for(lambda: _answers(port), READY_WITHIN_S)
        assert system.stop() == 0
        assert not any(_lives(part["pid"]) for part in after.values())


def test_separate_processes_without_a_broker_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with up(tmp_path / "a", free_port(), "--split") as system:
        assert system.process.wait(30) == 1
    assert system.text == (
        "Separate processes meet through RabbitMQ; set C360_AMQP_URL, or leave --split out.\n"
    )


def test_a_broker_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    port, broker = free_port(), killable_rabbit(tmp_path / "rabbit")
    with up(tmp_path / "a", port, C360_AMQP_URL=broker.url) as system:
        assert system.says("waiting for "), system.text
        assert "ready " not in system.text
        with broker:
            assert system.says("ready "), system.text
            assert system.stop() == 0


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def _starts(listing: Path, name: str) -> int:
    """How often the part was started; 0 while it is away from the listing."""
    return int(json.loads(listing.read_text()).get(name, {}).get("starts", 0))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
