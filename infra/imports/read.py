"""Rows of a purchases file as bodies of POST /v1/purchases. Streams; memory does not grow with the file.

`source` and `source_id` make a repeat harmless: a row without an id of its own has its line number for one.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, BinaryIO

import orjson

LINE_LIMIT_BYTES = 256 * 1024
CDNOW_COLUMNS = 4
CDNOW_SAMPLE_COLUMNS = 5
CENT = Decimal("0.01")


class Unfit(ValueError):
    """The row does not fit; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: either the body to send, or the problem that keeps it from being sent.

    `ends_at` is the position in the file after the row, in bytes.
    """

    line: int
    text: str
    ends_at: int
    body: dict[str, Any] | None
    problem: str = ""


def read_rows(path: Path, file_format: str, source: str | None) -> Iterator[Row]:
    """The rows of a file in order; headers and empty lines are no rows.

    Args:
        file_format: `cdnow`, `cdnow-sample`, `csv` or `ndjson`.
        source: the system the file comes from; the format's own name, or the file's stem, when None.
    """
    with path.open("rb") as stream:
        match file_format:
            case "cdnow" | "cdnow-sample":
                parse = _cdnow_parser(file_format, source or file_format)
            case "ndjson":
                parse = _ndjson_parser(source or path.stem)
            case "csv":
                parse = _csv_parser(stream, source or path.stem)
            case _:
                raise ValueError(f"no format {file_format!r}")
        yield from _parsed(stream, parse, first_line=2 if file_format == "csv" else 1)


def _parsed(
    stream: BinaryIO, parse: Callable[[int, str], dict[str, Any] | None], *, first_line: int
) -> Iterator[Row]:
    """Read lines and parse each; a line beyond LINE_LIMIT_BYTES is refused without being held in memory."""
    line, position = first_line - 1, stream.tell()
    while raw := stream.readline(LINE_LIMIT_BYTES):
        line += 1
        complete = raw.endswith(b"\n") or len(raw) < LINE_LIMIT_BYTES
        position += len(raw)
        while not complete and (rest := stream.readline(LINE_LIMIT_BYTES)):
            position += len(rest)
            if rest.endswith(b"\n"):
                break
        text = raw.decode("utf-8", errors="replace").strip("\r\n\ufeff")
        if not text.strip():
            continue
        try:
            if not complete:
                raise Unfit(f"the line is longer than {LINE_LIMIT_BYTES} bytes")
            _require_utf8(raw)
            body = parse(line, text)
            if body is not None:
                yield Row(line, text, position, body)
        except Unfit as unfit:
            yield Row(line, text[:2000], position, None, str(unfit))


def _require_utf8(raw: bytes) -> None:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unfit(f"not UTF-8 at byte {error.start + 1}") from None


def _cdnow_parser(file_format: str, source: str) -> Callable[[int, str], dict[str, Any] | None]:
    """CDNOW (Fader and Hardie): customer, [id in the sample,] date YYYYMMDD, number of CDs, dollars."""
    columns = CDNOW_SAMPLE_COLUMNS if file_format == "cdnow-sample" else CDNOW_COLUMNS

    def parse(line: int, text: str) -> dict[str, Any] | None:
        values = text.split()
        if line == 1 and not values[0].isdecimal():
            return None  # the header
        if len(values) != columns:
            raise Unfit(f"{columns} values are expected, {len(values)} are there")
        customer, day, quantity, dollars = values[0], *values[-3:]
        amount = _cents(dollars)
        return {
            "customer": {"external_id": {"source": "cdnow", "id": customer}},
            "source": source,
            "source_id": str(line),
            "occurred_at": _day(day),
            "currency": "USD",
            "amount": amount,
            "lines": [{"sku": "cd", "category": "music", "quantity": _count(quantity), "amount": amount}],
        }

    return parse


def _ndjson_parser(source: str) -> Callable[[int, str], dict[str, Any] | None]:
    """One JSON object a line, as POST /v1/purchases takes it."""

    def parse(line: int, text: str) -> dict[str, Any]:
        try:
            body = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise Unfit(f"not JSON: {error}") from None
        if not isinstance(body, dict):
            raise Unfit("not a JSON object")
        return {"source": source, "source_id": str(line)} | body

    return parse


def _csv_parser(stream: BinaryIO, source: str) -> Callable[[int, str], dict[str, Any] | None]:
    """A header, then one row a line; a quoted line break inside a value is not taken."""
    header = stream.readline(LINE_LIMIT_BYTES).decode("utf-8-sig", errors="replace")
    names = [name.strip().lower() for name in next(csv.reader([header]), [])]

    def parse(line: int, text: str) -> dict[str, Any]:
        try:
            values = next(csv.reader([text], strict=True))
        except csv.Error as error:
            raise Unfit(f"not CSV: {error}") from None
        if len(values) != len(names):
            raise Unfit(f"{len(names)} values are expected, {len(values)} are there")
        given = {name: value.strip() for name, value in zip(names, values, strict=True) if value.strip()}
        return _from_columns(given, source, line)

    return parse


def _from_columns(given: Mapping[str, str], source: str, line: int) -> dict[str, Any]:
    for name in ("occurred_at", "currency", "amount"):
        if name not in given:
            raise Unfit(f"{name} is missing")
    try:
        amount = int(given["amount"])
    except ValueError:
        raise Unfit("amount is not a whole number of minor units") from None
    body: dict[str, Any] = {
        "customer": _customer(given, source),
        "source": given.get("source", source),
        "source_id": given.get("source_id", str(line)),
        "occurred_at": given["occurred_at"],
        "currency": given["currency"].upper(),
        "amount": amount,
    }
    return body | {name: given[name] for name in ("touchpoint", "channel") if name in given}


def _customer(given: Mapping[str, str], source: str) -> dict[str, Any]:
    if "customer_id" in given:
        return {"id": given["customer_id"]}
    if "external_id" in given:
        return {"external_id": {"source": given.get("external_source", source), "id": given["external_id"]}}
    for name in ("email", "phone"):
        if name in given:
            return {name: given[name]}
    raise Unfit("one of customer_id, external_id, email, phone is needed")


def _cents(dollars: str) -> int:
    try:
        amount = Decimal(dollars)
    except InvalidOperation:
        raise Unfit(f"{dollars!r} is not an amount") from None
    if not amount.is_finite() or amount != amount.quantize(CENT):
        raise Unfit(f"{dollars!r} is not an amount in dollars and cents")
    return int(amount * 100)


def _count(quantity: str) -> int:
    if not quantity.isdecimal() or len(quantity) > 6:
        raise Unfit(f"{quantity!r} is not a number of CDs")
    return int(quantity)


def _day(day: str) -> str:
    try:
        moment = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise Unfit(f"{day!r} is not a date YYYYMMDD") from None
    return moment.strftime("%Y-%m-%dT00:00:00Z")
