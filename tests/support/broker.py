"""The real RabbitMQ of a test run, shared by all workers; tests keep apart by a prefix of their own.

`make test` starts one and names it in C360_TEST_AMQP_URL. Under a bare `pytest` each worker that needs one
starts its own, once, if a server is installed.
"""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest

from infra.data import Refused
from infra.servers import Rabbit, find_rabbit


def rabbit() -> str:
    """The URL of a running broker; the test is skipped when there is none, and fails under CI."""
    url = os.environ.get("C360_TEST_AMQP_URL") or _own_broker()
    if url is None:
        if os.environ.get("CI"):
            pytest.fail("there is no RabbitMQ and CI is set")
        pytest.skip("THE BROKER SUITE DID NOT RUN: there is no RabbitMQ")
    return url


def own_prefix() -> str:
    """A value for C360_AMQP_PREFIX that no other test uses."""
    return f"test-{uuid4().hex[:12]}"


def killable_rabbit(directory: Path) -> Rabbit:
    """A broker of the test's own, not started yet, that it may kill and start again."""
    executable = find_rabbit()
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail("no RabbitMQ is installed and CI is set")
        pytest.skip("needs an installed RabbitMQ that may be killed")
    return Rabbit(directory, executable=executable)


@functools.cache
def _own_broker() -> str | None:
    directory = Path(tempfile.mkdtemp(prefix="c360-rabbit-"))
    broker = Rabbit(directory)
    try:
        broker.start()
    except Refused:
        return None
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(broker.stop)
    return broker.url
