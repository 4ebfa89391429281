"""A table of attributes as columns: read from CSV or JSON rows, of any types, with values missing. Pure.

A cell is text, a number, true or false, or missing. A column is of numbers or of dates when all its known
cells are, and of categories otherwise. Dates are days since 1970.
"""

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import numpy as np
import orjson

from services.scoring.facts.histories import Floats
from shared.problems import FieldError, Invalid, Malformed

Cell = str | int | float | bool | None
ColumnKind = Literal["number", "date", "category"]
Body = Literal["csv", "json"]

MISSING = "(missing)"
_MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?"})
_YES, _NO = frozenset({"true", "yes", "1", "t", "y"}), frozenset({"false", "no", "0", "f", "n"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MOST_HEADER = 65_536  # characters of a CSV header
MOST_ROWS = 1_000_000
MOST_COLUMNS = 500
MOST_TEXT = 200  # characters of a cell that tell levels apart
MOST_NUMBER = 1e100  # larger ones cannot be squared and summed


class NotATable(Invalid):
    slug, title = "not-a-table", "The rows do not make a table"


class NoSuchColumn(Invalid):
    slug, title = "no-such-column", "The table has no such column"


class LabelNotBinary(Invalid):
    slug, title = "label-not-binary", "The label does not say yes or no"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by column; each column has `rows` cells."""

    columns: Mapping[str, Sequence[Cell]]
    rows: int

    def column(self, name: str, asked_by: str) -> Sequence[Cell]:
        """The cells of a column; `asked_by` is the option that names it.

        Raises:
            NoSuchColumn: there is none.
        """
        if name not in self.columns:
            there = ", ".join(list(self.columns)[:20])
            raise NoSuchColumn(
                f"{asked_by}: there is no column {name!r}; there are {there}.",
                errors=[FieldError(asked_by, "no such column")],
            )
        return self.columns[name]

    def taken(self, rows: Sequence[int]) -> "Table":
        """The table of these rows, in their order."""
        kept = {name: [cells[i] for i in rows] for name, cells in self.columns.items()}
        return Table(kept, len(rows))


def read_table(body: bytes, kind: Body) -> Table:
    """The table in a CSV file with a header, or in JSON: `{"rows": [{…}, …]}` or the array alone.

    Raises:
        Malformed: it is not text in UTF-8, or not JSON.
        NotATable: rows of different lengths, names that repeat, values that are no cells, or too much.
    """
    table = _read_csv(body) if kind == "csv" else _read_json(body)
    if len(table.columns) > MOST_COLUMNS:
        raise NotATable(f"A table may have up to {MOST_COLUMNS} columns.")
    return table


def kind_of(cells: Iterable[Cell]) -> ColumnKind:
    """What a column is of."""
    known = [cell for cell in cells if not is_missing(cell)]
    if known and all(not isinstance(cell, bool) and not math.isnan(read_number(cell)) for cell in known):
        return "number"
    if known and all(not math.isnan(read_date(cell)) for cell in known):
        return "date"
    return "category"


def is_missing(cell: Cell) -> bool:
    """Whether a cell says nothing."""
    if isinstance(cell, str):
        return cell.strip().lower() in _MISSING_WORDS
    return cell is None or (isinstance(cell, float) and not math.isfinite(cell))


def read_number(cell: Cell) -> float:
    """A cell as a number; nan where it is none."""
    if cell is None or isinstance(cell, bool):
        return math.nan
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        return math.nan
    return number if abs(number) <= MOST_NUMBER else math.nan


def read_date(cell: Cell) -> float:
    """A cell with a date or time of ISO 8601 as days since 1970, UTC unless it says another zone."""
    if not isinstance(cell, str):
        return math.nan
    try:
        moment = datetime.fromisoformat(cell.strip())
        at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (at - _EPOCH) / timedelta(days=1)
    except (ValueError, OverflowError):
        return math.nan


def write_date(days: float) -> str:
    """Days since 1970 as a date."""
    try:
        return str((_EPOCH + timedelta(days=days)).date())
    except OverflowError:
        return str(date.max)


def read_text(cell: Cell) -> str:
    """A cell as the name of a category."""
    if is_missing(cell):
        return MISSING
    return str(cell).lower() if isinstance(cell, bool) else str(cell).strip()[:MOST_TEXT]


def numbers(cells: Iterable[Cell], kind: ColumnKind) -> Floats:
    """A column of numbers or dates, nan where missing, shape (n,)."""
    read = read_date if kind == "date" else read_number
    return np.array([math.nan if is_missing(cell) else read(cell) for cell in cells], dtype=np.float64)


def read_labels(cells: Iterable[Cell], positive: str | None) -> Floats:
    """1 for who left, 0 for who did not, nan where the label is missing, shape (n,).

    `positive` is the value that says so; true, yes, 1, y or t when left out.

    Raises:
        LabelNotBinary: a value is neither a yes nor a no.
    """
    labels = [read_label(cell, positive) for cell in cells]
    if None in labels:
        raise LabelNotBinary(
            "label: its values must be true or false, yes or no, 1 or 0; name the one that says who left "
            "with `positive` if they are others.",
            errors=[FieldError("label", "neither yes nor no")],
        )
    return np.array(labels, dtype=np.float64)


def read_label(cell: Cell, positive: str | None) -> float | None:
    """1 for who left, 0 for who did not, nan where missing; None where the value is neither yes nor no."""
    said = read_text(cell)
    if said == MISSING:
        return math.nan
    word = said.lower().removesuffix(".0")
    if positive is not None:
        return float(word == positive.strip().lower().removesuffix(".0"))
    if word in _YES:
        return 1.0
    return 0.0 if word in _NO else None


def fingerprints(table: Table) -> list[bytes]:
    """What each row says as a hash: rows sorted by it stand in the same order wherever they came from."""
    names = sorted(table.columns)
    return [
        hashlib.sha256("\x1f".join(read_text(table.columns[name][row]) for name in names).encode()).digest()
        for row in range(table.rows)
    ]


def _read_csv(body: bytes) -> Table:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed("The table is not text in UTF-8.") from error
    if "\x00" in text:
        raise Malformed("The table holds a NUL character.")
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
        header = [name.strip() for name in next(lines, [])]
        _check_names(header)
        columns: list[list[Cell]] = [[] for _ in header]
        rows = 0
        for line in lines:
            if not line:
                continue
            rows += 1
            if len(line) != len(header) or rows > MOST_ROWS:
                raise NotATable(
                    f"Line {lines.line_num} has {len(line)} fields, the header has {len(header)}."
                    if len(line) != len(header)
                    else f"A table may have up to {MOST_ROWS} rows."
                )
            for column, cell in zip(columns, line, strict=True):
                column.append(cell)
    except csv.Error as error:
        raise NotATable(f"The CSV cannot be read: {error}.") from error
    return Table(dict(zip(header, columns, strict=True)), rows)


def _separator(text: str) -> str:
    """The one that the header has most of."""
    header = text[:MOST_HEADER].split("\n", 1)[0]
    return max(",;\t|", key=header.count)


def _check_names(header: list[str]) -> None:
    if not header or not all(header):
        raise NotATable("The first line must name every column.")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise NotATable(f"These columns appear twice: {', '.join(twice[:10])}.")


def _read_json(body: bytes) -> Table:
    try:
        said: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("The body is not valid JSON.") from error
    rows = said.get("rows") if isinstance(said, dict) else said
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NotATable(
            'The body must be {"rows": [{"column": value, …}, …]}.',
            errors=[FieldError("/rows", "must be a list of objects")],
        )
    if len(rows) > MOST_ROWS:
        raise NotATable(f"A table may have up to {MOST_ROWS} rows.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for number, row in enumerate(rows):
        for name, cell in row.items():
            if isinstance(cell, dict | list):
                raise NotATable(
                    f"Row {number}, {name!r}: a cell is text, a number, true, false or null.",
                    errors=[FieldError(f"/rows/{number}/{name}", "nested values are no cells")],
                )
    return Table({name: [row.get(name) for row in rows] for name in names}, len(rows))
