"""Runs a command with the servers that the tests need: `python -m infra.testing -- pytest ...`.

Sets C360_TEST_DATABASE_URL (an embedded PostgreSQL, not durable) and C360_TEST_AMQP_URL (a real RabbitMQ).
When there is no RabbitMQ it says so, loudly, and fails under CI; the tests that need one are then skipped.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

from infra.acquire import some_rabbit
from infra.data import Refused
from infra.servers import Postgres

# Variables of a developer's own system must not reach the tests.
PRIVATE = (
    "C360_DATABASE_URL",
    "C360_AMQP_URL",
    "C360_URL",
    "C360_KEY",
    "C360_DATA_DIR",
    "C360_BOOTSTRAP_KEY",
)


def main(arguments: list[str]) -> int:
    """Run the command after `--`; its exit code, or 1 when the broker is missing under CI."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        say("nothing to run; give a command after --")
        return 2
    signal.signal(signal.SIGTERM, _as_interrupt)
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="c360-test-")))
        environment = {name: value for name, value in os.environ.items() if name not in PRIVATE}
        try:
            environment["C360_TEST_AMQP_URL"] = stack.enter_context(some_rabbit(home / "rabbit", say=say))
        except Refused as refused:
            say(f"{refused}\n\n    THE BROKER SUITE DID NOT RUN: nothing was proved about RabbitMQ.\n")
            if os.environ.get("CI"):
                say("with CI set, that is a failure")
                return 1
        if not environment.get("C360_TEST_DATABASE_URL"):
            server = stack.enter_context(Postgres(home / "postgres", durable=False))
            environment["C360_TEST_DATABASE_URL"] = server.url
        code = run(command, environment)
        if "C360_TEST_AMQP_URL" not in environment:
            say("THE BROKER SUITE DID NOT RUN: nothing was proved about RabbitMQ.")
        return code


def run(command: list[str], environment: dict[str, str]) -> int:
    """The command's exit code; an interrupt is left to the command, which then ends by itself."""
    process = subprocess.Popen(command, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()


def say(message: str) -> None:
    """To standard error, so that the command's own output stays clean."""
    print(f"[servers] {message}", file=sys.stderr, flush=True)


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as refused:
        say(str(refused))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
