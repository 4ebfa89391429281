"""Where a RabbitMQ comes from when nobody brings their own: an installed server, Debian's package, Docker."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.data import Refused
from infra.servers import (
    DEBIAN_RABBIT,
    RABBIT_START_S,
    Rabbit,
    answers_amqp,
    find_rabbit,
    first_line,
    free_port,
    quietly,
    wait_for,
)

INSTALL_S = 300.0
RABBIT_IMAGE = "rabbitmq:4"
POLICY = Path("/usr/sbin/policy-rc.d")


@contextlib.contextmanager
def some_rabbit(directory: Path, *, say: Callable[[str], None]) -> Iterator[str]:
    """A RabbitMQ from wherever there is one; yields its URL and stops what it started.

    In this order: C360_AMQP_URL, an installed server, Debian's package (when root), Docker.

    Raises:
        Refused: none of them worked; the message says what was tried.
    """
    if given := os.environ.get("C360_AMQP_URL"):
        yield given
        return
    executable = find_rabbit() or install_rabbit(say)
    broker: Rabbit | DockerRabbit
    if executable is not None:
        broker = Rabbit(directory, executable=executable)
    elif docker_answers():
        say(f"starting {RABBIT_IMAGE} in Docker")
        broker = DockerRabbit()
    else:
        raise Refused(
            "No RabbitMQ: C360_AMQP_URL is not set, no server is installed, Debian's package could not be "
            "installed and Docker does not answer."
        )
    broker.start()
    try:
        yield broker.url
    finally:
        broker.stop()


class DockerRabbit:
    """RabbitMQ in a container, for machines that have Docker and no package."""

    def __init__(self) -> None:
        self.port = free_port()
        self._container = ""

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start the container and wait until it answers."""
        command = [
            "docker",
            "run",
            "--detach",
            "--rm",
            "--publish",
            f"127.0.0.1:{self.port}:5672",
            RABBIT_IMAGE,
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise Refused(f"Docker could not start RabbitMQ: {first_line(error)}") from error
        self._container = done.stdout.strip()
        if not wait_for(lambda: answers_amqp(self.port), RABBIT_START_S):
            self.stop()
            raise Refused("RabbitMQ in Docker did not answer in time.")

    def stop(self) -> None:
        """Stop and remove the container."""
        if self._container:
            quietly(["docker", "stop", self._container])
            self._container = ""


def install_rabbit(say: Callable[[str], None]) -> Path | None:
    """Install Debian's rabbitmq-server when this is root on Debian; its own service is never started."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    say("installing Debian's rabbitmq-server")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "--quiet", "--quiet", "--option", "DPkg::Lock::Timeout=60"]
    install = [*apt, "install", "--yes", "--no-install-recommends", "rabbitmq-server"]
    with tempfile.TemporaryFile() as log, _no_services():
        for command in (install, [*apt, "update"], install):
            try:
                done = subprocess.run(
                    command, env=environment, stdout=log, stderr=log, timeout=INSTALL_S, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                say(f"apt-get did not work: {first_line(error)}")
                return None
            if done.returncode == 0 and DEBIAN_RABBIT.exists():
                break
    if shutil.which("systemctl"):
        quietly(["systemctl", "disable", "--now", "rabbitmq-server"])
    return find_rabbit()


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Debian's own switch against starting services during an installation."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def docker_answers() -> bool:
    """Whether a Docker daemon is there and lets us in."""
    return bool(shutil.which("docker")) and quietly(["docker", "info"])
