"""The benchmarks' own tools: what they say about numbers, and loaders that notice a wrong answer."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.bench import load, made, profiles, report
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
    requests = requests_for(tmp_path, ["/good/a", "/good/b"])
    async with answering() as (port, paths):
        answers = await load.fire(
            load.Load(requests, 200, "you asked /good"), port, connections=4, seconds=0.3
        )
    assert {"/good/a", "/good/b"} == set(paths)
    assert 0 < answers.count <= len(paths)
    assert 0 < answers.p50_ms <= answers.p99_ms


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "wanted", [(201, "you asked", ""), (200, "something else", ""), (200, "you", "good")]
)
async def test_a_wrong_answer_is_a_failure(
    loader: str, wanted: tuple[int, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(loader, monkeypatch)
    requests = requests_for(tmp_path, ["/good"])
    async with answering() as (port, _):
        with pytest.raises(Wrong, match="200 you asked /good"):
            await load.fire(load.Load(requests, *wanted), port, connections=2, seconds=0.2)


@pytest.mark.parametrize("loader", LOADERS)
async def test_running_out_of_requests_that_may_be_sent_once_is_a_failure(
    loader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(loader, monkeypatch)
    requests = requests_for(tmp_path, [f"/good/{number}" for number in range(20)])
    async with answering() as (port, _):
        with pytest.raises(Wrong, match="beyond the requests made"):
            await load.fire(load.Load(requests, 200, "good", repeat=False), port, connections=2, seconds=0.5)


def test_a_profile_says_who_spent_the_time_and_below_whom() -> None:
    said = profiles.summary(["run (a.py:1);work (b.py:2) 30", "run (a.py:9);work (b.py:3);sleep (c.py:1) 10"])
    assert said.splitlines()[:5] == [
        "40 samples",
        "",
        "own time:",
        "  75.0%  work (b.py)",
        "  25.0%  sleep (c.py)",
    ]
    assert said.splitlines()[6:9] == ["with all they call:", " 100.0%  run (a.py)", " 100.0%  work (b.py)"]


def test_the_table_shows_ratios_what_was_reached_and_what_failed() -> None:
    figure = Figure("answers/s", [1234.5, 1200, 1300], [2000, 2000, 2000], Reach("≥", 0.75))
    alone = Figure("MB", [150.25], reach=Reach("≤", 160), note="after use")
    done = report.Report(
        datetime(2026, 3, 1, 12, tzinfo=UTC),
        "full",
        {"cores": "2"},
        [
            report.Outcome("P1", "views", "rows", 1.0, [figure, alone]),
            report.Outcome("P2", "live views", "fan-out", 1.0, failed="it was\nwrong"),
        ],
    )
    lines = report.as_markdown(done).splitlines()
    assert "| P1 | answers/s | 1,234 | 2,000 | 0.62 (0.60 to 0.65) | ≥ 0.75 | **no** |" in lines
    assert "| P1 | MB | 150 |  | (150 to 150) | ≤ 160 | yes |" in lines
    assert "| P2 | live views | failed | | | | **no** |" in lines
    assert "  MB: after use." in lines
    assert "  Failed: it was wrong" in lines


def test_results_are_written_for_people_and_for_programs(tmp_path: Path) -> None:
    figure = Figure("answers/s", [10, 20], [10, 10])
    outcome = report.Outcome("P1", "views", "rows", 1.0, [figure])
    report.write(report.Report(datetime(2026, 3, 1, tzinfo=UTC), "quick", {}, [outcome]), tmp_path)
    (said,) = json.loads((tmp_path / "latest.json").read_text())["benchmarks"]
    assert said["figures"][0]["ratio"] == {"median": 1.5, "low": 1, "high": 2, "runs": [1, 2]}
    assert (tmp_path / "latest.md").read_text().startswith("# Benchmarks, 2026-03-01 00:00 UTC (quick)")


def test_made_customers_are_always_the_same_and_their_answers_are_whole() -> None:
    answers = dict(made.answers(range(20)))
    assert answers == dict(made.answers(range(20)))
    assert len(set(answers.values())) == 20
    for customer, answer in answers.items():
        view = json.loads(answer)
        assert (customer.version, view["customer_id"]) == (7, str(customer))
        assert view["meta"]["complete"]
        assert all(view[section] for section in ("profile", "feedback", "loyalty", "scoring"))


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
