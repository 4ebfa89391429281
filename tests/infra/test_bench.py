"""The benchmarks' own tools: what they say about numbers, and loaders that notice a wrong answer."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.bench import load
from infra.bench.figures import Figure, Reach, Spread, Wrong, percentile
from infra.bench.requests import http_request, json_body, read_requests, write_requests

LOADERS = ["wrk", "own"]


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (75, 3), (76, 4), (99, 4), (100, 4)])
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(percent: float, value: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == value


def test_a_ratio_is_taken_pair_by_pair() -> None:
    figure = Figure("answers/s", ours=[10, 30, 20], against=[10, 10, 40], reach=Reach("≥", 1))
    assert figure.ratios == [1, 3, 0.5]
    assert Spread.of(figure.ratios) == Spread(1, 0.5, 3)
    assert figure.reached


def test_without_a_yardstick_the_figure_itself_is_judged() -> None:
    assert Figure("MB", ours=[150], reach=Reach("≤", 160)).reached
    assert not Figure("MB", ours=[170], reach=Reach("≤", 160)).reached
    assert Figure("MB", ours=[170]).reached is None


def test_requests_come_back_from_their_file_as_they_were_written(tmp_path: Path) -> None:
    requests = [
        http_request("GET", "/v1/things/1", headers={"Authorization": "Bearer key"}),
        http_request("POST", "/things", headers={}, body=json_body({"text": "快递\n丢了"})),
    ]
    assert write_requests(tmp_path / "requests", requests) == 2
    assert read_requests(tmp_path / "requests") == requests
    assert requests[1].startswith(b"POST /things HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ")


@pytest.mark.parametrize("loader", LOADERS)
async def test_a_loader_sends_the_requests_and_counts_the_answers(
    loader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(loader, monkeypatch)
    made = requests_for(tmp_path, ["/good/a", "/good/b"])
    async with answering() as (port, paths):
        answers = await load.fire(load.Load(made, 200, "you asked /good"), port, connections=4, seconds=0.3)
    assert {"/good/a", "/good/b"} == set(paths)
    assert 0 < answers.count <= len(paths)
    assert 0 < answers.p50_ms <= answers.p99_ms


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("status", "text", "never"), [(201, "you asked", ""), (200, "something else", ""), (200, "you", "good")]
)
async def test_a_wrong_answer_is_a_failure(
    loader: str, status: int, text: str, never: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(loader, monkeypatch)
    made = requests_for(tmp_path, ["/good"])
    async with answering() as (port, _):
        with pytest.raises(Wrong, match="200 you asked /good"):
            await load.fire(load.Load(made, status, text, never), port, connections=2, seconds=0.2)


@pytest.mark.parametrize("loader", LOADERS)
async def test_running_out_of_requests_that_may_be_sent_once_is_a_failure(
    loader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(loader, monkeypatch)
    made = requests_for(tmp_path, [f"/good/{number}" for number in range(20)])
    async with answering() as (port, _):
        with pytest.raises(Wrong, match="beyond the requests made"):
            await load.fire(load.Load(made, 200, "good", repeat=False), port, connections=2, seconds=0.5)


def choose(loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """wrk, or our own as on a machine without wrk."""
    if loader == "own":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")


def requests_for(folder: Path, paths: list[str]) -> Path:
    file = folder / "requests"
    write_requests(file, [http_request("GET", path, headers={}) for path in paths])
    return file


@asynccontextmanager
async def answering() -> AsyncIterator[tuple[int, list[str]]]:
    """A server that says what it was asked; yields its port and the paths it saw."""
    paths: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode()
                paths.append(path)
                body = f"you asked {path}".encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], paths
