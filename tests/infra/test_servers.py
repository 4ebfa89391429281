"""The embedded servers start, survive what happens to them, and stop."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from infra.acquire import some_rabbit
from infra.data import DataDirectory, Refused
from infra.servers import Postgres, Rabbit, answers_amqp, find_rabbit, wait_for


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return tmp_path_factory.mktemp("servers")


async def test_postgres_serves_and_keeps_what_was_written(home: Path) -> None:
    with Postgres(home / "data") as server:
        connection = await asyncpg.connect(server.url, database="postgres")
        assert await connection.fetchval("SHOW max_connections") == "300"
        await connection.execute("CREATE TABLE kept (x int); INSERT INTO kept VALUES (7)")
        await connection.close()

    with Postgres(home / "data") as server:
        connection = await asyncpg.connect(server.url, database="postgres")
        assert await connection.fetchval("SELECT x FROM kept") == 7
        await connection.close()


async def test_postgres_comes_back_after_it_was_killed(home: Path) -> None:
    server = Postgres(home / "data")
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    assert wait_for(lambda: not server.running, 10)
    again = Postgres(home / "data")
    again.start()
    connection = await asyncpg.connect(again.url, database="postgres")
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    again.stop()
    assert not again.running


@pytest.mark.broker
def test_rabbit_answers_is_killed_and_answers_again_on_its_port(home: Path) -> None:
    if find_rabbit() is None:
        pytest.skip("no RabbitMQ is installed here")
    with Rabbit(home / "rabbit") as broker:
        port, first = broker.port, broker.pid
        assert answers_amqp(port)
        broker.kill()
        assert broker.pid is None
        assert not answers_amqp(port)
        broker.start()
        assert broker.port == port
        assert broker.pid != first
        assert answers_amqp(port)
    assert not answers_amqp(port)


def test_a_given_broker_is_used_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C360_AMQP_URL", "amqp://given/")
    with some_rabbit(home, say=lambda _: None) as url:
        assert url == "amqp://given/"


def test_no_broker_anywhere_is_one_sentence_that_says_what_was_tried(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("C360_AMQP_URL", raising=False)
    monkeypatch.setattr("infra.acquire.find_rabbit", lambda: None)
    monkeypatch.setattr("infra.acquire.install_rabbit", lambda say: None)
    monkeypatch.setattr("infra.acquire.docker_answers", lambda: False)
    with pytest.raises(Refused, match="No RabbitMQ"), some_rabbit(home, say=lambda _: None):
        pass


def test_a_second_system_on_the_same_directory_is_refused_in_one_sentence(home: Path) -> None:
    with DataDirectory(home), pytest.raises(Refused, match=f"process {os.getpid()}") as refusal:
        DataDirectory(home).__enter__()
    assert "\n" not in str(refusal.value)
    with DataDirectory(home):
        pass  # the lock was given back


def test_a_secret_is_made_once_kept_private_and_overridden_by_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("C360_INTERNAL_SECRET", raising=False)
    with DataDirectory(home) as data:
        made, new = data.secret("C360_INTERNAL_SECRET")
        assert new
        assert len(made) >= 32
        assert data.secret("C360_INTERNAL_SECRET") == (made, False)
        assert (home / "secrets" / "internal_secret").stat().st_mode & 0o777 == 0o600
        monkeypatch.setenv("C360_INTERNAL_SECRET", "x" * 40)
        assert data.secret("C360_INTERNAL_SECRET") == ("x" * 40, False)
