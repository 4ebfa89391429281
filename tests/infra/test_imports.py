"""Rows of purchase files become bodies, or a reason why not."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.cli import client
from infra.data import Refused
from infra.imports.read import LINE_LIMIT_BYTES, Row, read_rows
from infra.imports.run import import_file

MASTER = b""" customer_id  date number_of_cds  dollar_value\r
 00001 19970101  1   11.77\r
 00002 19970112  1   12.00\r
\r
 00002 19970112  5    0.00\r
 00003 19970230  2   20.76\r
 00003 19970102  2   20.7x\r
 00003 19970102  2\r
"""


def rows_of(tmp_path: Path, content: bytes, file_format: str, source: str | None = None) -> list[Row]:
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    return list(read_rows(path, file_format, source))


def test_cdnow_rows_keep_their_line_number_as_source_id(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, MASTER, "cdnow")
    bodies = [row.body for row in rows if row.body]
    assert [row.line for row in rows] == [2, 3, 5, 6, 7, 8]
    assert bodies[0] == {
        "customer": {"external_id": {"source": "cdnow", "id": "00001"}},
        "source": "cdnow",
        "source_id": "2",
        "occurred_at": "1997-01-01T00:00:00Z",
        "currency": "USD",
        "amount": 1177,
        "lines": [{"sku": "cd", "category": "music", "quantity": 1, "amount": 1177}],
    }
    assert bodies[2]["amount"] == 0
    assert [row.problem for row in rows if not row.body] == [
        "'19970230' is not a date YYYYMMDD",
        "'20.7x' is not an amount",
        "4 values are expected, 3 are there",
    ]
    assert rows[-1].ends_at == len(MASTER)


def test_the_cdnow_sample_has_an_id_more_and_a_source_of_its_own(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, b" 00004 0001 19970101  2   29.33\r\n", "cdnow-sample")
    assert row.body
    assert row.body["customer"] == {"external_id": {"source": "cdnow", "id": "00004"}}
    assert (row.body["source"], row.body["source_id"], row.body["amount"]) == ("cdnow-sample", "1", 2933)


def test_csv_finds_the_customer_by_whatever_the_row_brings(tmp_path: Path) -> None:
    content = (
        "\ufeffexternal_id,email,occurred_at,currency,amount,source_id\n"
        "C-17,,2026-03-01T10:00:00Z,cny,12900,O-1\n"
        ',"li,lei@example.com",2026-03-01T10:00:00Z,CNY,12900,\n'
        ",,2026-03-01T10:00:00Z,CNY,12900,\n"
        "C-17,,2026-03-01T10:00:00Z,CNY,129.00,O-2\n"
        'C-17,"open,2026-03-01T10:00:00Z,CNY,1,O-3\n'
    ).encode()
    rows = rows_of(tmp_path, content, "csv", "shop")
    assert rows[0].body == {
        "customer": {"external_id": {"source": "shop", "id": "C-17"}},
        "source": "shop",
        "source_id": "O-1",
        "occurred_at": "2026-03-01T10:00:00Z",
        "currency": "CNY",
        "amount": 12900,
    }
    assert rows[1].body
    assert rows[1].body["customer"] == {"email": "li,lei@example.com"}
    assert rows[1].body["source_id"] == "3"
    assert [row.problem for row in rows[2:]] == [
        "one of customer_id, external_id, email, phone is needed",
        "amount is not a whole number of minor units",
        "not CSV: unexpected end of data",
    ]


def test_ndjson_takes_bodies_and_refuses_what_is_none(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, b'{"amount": 1, "source": "x"}\n[]\n{\n"\xff"\n', "ndjson")
    assert rows[0].body == {"amount": 1, "source": "x", "source_id": "1"}
    assert [row.problem.split(":")[0] for row in rows[1:]] == [
        "not a JSON object",
        "not JSON",
        "not UTF-8 at byte 2",
    ]


def test_an_endless_line_is_refused_and_the_next_one_read(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, b"x" * (3 * LINE_LIMIT_BYTES) + b'\n{"amount": 1}\n', "ndjson")
    assert [bool(row.body) for row in rows] == [False, True]
    assert rows[0].problem == f"the line is longer than {LINE_LIMIT_BYTES} bytes"
    assert rows[1].line == 2


class FakeProfile:
    """Answers POST /v1/purchases:batch as the gateway does; remembers what it has."""

    def __init__(self, *, dies_after: int = 10**9, whole_batch_fails_on: int | None = None) -> None:
        self.known: dict[str, Any] = {}
        self.dies_after = dies_after
        self.bad = whole_batch_fails_on

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if len(self.known) >= self.dies_after:
            return httpx.Response(503, json={"title": "Away"}, headers={"Retry-After": "0"})
        items: Sequence[dict[str, Any]] = json.loads(request.content)["items"]
        if any(item["amount"] == self.bad for item in items):
            return httpx.Response(
                422, json={"title": "Invalid", "errors": [{"pointer": "/x", "detail": "no"}]}
            )
        rejected = [
            {"index": index, "problem": {"title": "Unknown currency", "detail": item["currency"]}}
            for index, item in enumerate(items)
            if item["currency"] == "=XX"
        ]
        refused = {item["index"] for item in rejected}
        fresh = [i for n, i in enumerate(items) if n not in refused and i["source_id"] not in self.known]
        duplicates = len(items) - len(rejected) - len(fresh)
        self.known |= {item["source_id"]: item for item in fresh}
        return httpx.Response(
            200, json={"accepted": len(fresh), "duplicates": duplicates, "rejected": rejected}
        )


def gateway_is(fake: FakeProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    real = httpx.AsyncClient
    monkeypatch.setenv("C360_KEY", "c360_key_for_tests")
    monkeypatch.setattr(client, "ATTEMPTS", 1)
    monkeypatch.setattr(
        client.httpx, "AsyncClient", lambda **options: real(transport=httpx.MockTransport(fake), **options)
    )


def orders(tmp_path: Path, count: int) -> Path:
    path = tmp_path / "orders.ndjson"
    path.write_text("".join(f'{{"amount": {n}, "currency": "CNY"}}\n' for n in range(count)))
    return path


async def test_a_run_that_broke_off_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, path = FakeProfile(dies_after=40), orders(tmp_path, 95)
    gateway_is(fake, monkeypatch)
    options = {"source": None, "batch": 10, "in_flight": 3, "quiet": True}
    with pytest.raises(Refused, match="run it again to go on"):
        await import_file(path, "ndjson", **options)
    assert 40 <= len(fake.known) < 95
    before, fake.dies_after = len(fake.known), 10**9
    outcome = await import_file(path, "ndjson", **options)
    assert len(fake.known) == 95
    assert (outcome.rows, outcome.accepted, outcome.duplicates) == (95, 95 - before, before)
    assert not outcome.rejects.exists()


async def test_refused_rows_come_back_in_a_file_and_the_rest_goes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, path = FakeProfile(whole_batch_fails_on=7), orders(tmp_path, 20)
    path.write_text(path.read_text() + '{"amount": 1, "currency": "=XX"}\n=nonsense\n')
    gateway_is(fake, monkeypatch)
    outcome = await import_file(path, "ndjson", source=None, batch=1000, in_flight=1, quiet=True)
    assert (outcome.rows, outcome.accepted, outcome.rejected) == (22, 19, 3)
    with outcome.rejects.open(newline="") as stream:
        _, *lines = csv.reader(stream)
    assert sorted((line, problem.split(": unexpected")[0]) for line, problem, _ in lines) == [
        ("21", "Unknown currency: =XX"),
        ("22", "not JSON"),
        ("8", "Invalid: /x no"),
    ]
    assert "'=nonsense" in [row for _, _, row in lines]
