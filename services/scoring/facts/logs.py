"""Purchase logs in files: CDNOW's two layouts and CSV."""

import csv
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Literal, TextIO

from services.scoring.facts.histories import Purchased
from shared.clock import utc_now

LogFormat = Literal["cdnow-sample", "cdnow", "csv"]

CUSTOMER_COLUMNS = ("customer_id", "customer")
DATE_COLUMNS = ("date", "occurred_at")
AMOUNT_COLUMNS = ("amount", "dollar_value")


class UnreadableLog(ValueError):
    """A line does not fit; the message names it and what is wrong."""


def read_purchases(path: Path, layout: LogFormat) -> Iterator[Purchased]:
    """The purchases of a file, in its order.

    `cdnow-sample` has master id, sample id, date, CDs and dollars without a header; `cdnow` has id, date,
    CDs and dollars under a header; `csv` has a header with customer_id, date and, if known, amount and
    currency, of which there is one.

    Raises:
        UnreadableLog: a line does not fit.
        OSError: the file cannot be read.
    """
    readers: dict[LogFormat, Callable[[TextIO], Iterator[Purchased]]] = {
        "cdnow-sample": lambda lines: _read_columns(lines, customer=1, on=2, amount=4, header=False),
        "cdnow": lambda lines: _read_columns(lines, customer=0, on=1, amount=3, header=True),
        "csv": _read_csv,
    }
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            yield from readers[layout](lines)
        except UnicodeDecodeError as error:
            raise UnreadableLog("The file is not UTF-8 text.") from error
        except csv.Error as error:
            raise UnreadableLog(f"The file is not CSV: {error}.") from error


def read_cohorts(path: Path) -> dict[str, list[float]]:
    """Subscribers of each cohort at the start of each period, in the order of the file's rows.

    CSV with the column `customers` and, when there are several cohorts, `cohort`.

    Raises:
        UnreadableLog: a line does not fit.
        OSError: the file cannot be read.
    """
    cohorts: dict[str, list[float]] = {}
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            rows = csv.DictReader(lines)
            if "customers" not in (rows.fieldnames or []):
                raise UnreadableLog(
                    "The header needs the column customers (and cohort, if there are several)."
                )
            for row in rows:
                try:
                    size = float(row["customers"] or "")
                except ValueError as error:
                    raise UnreadableLog(
                        f"Line {rows.line_num}: {row['customers']!r} is not a number of subscribers."
                    ) from error
                cohorts.setdefault(row.get("cohort") or "1", []).append(size)
        except UnicodeDecodeError as error:
            raise UnreadableLog("The file is not UTF-8 text.") from error
        except csv.Error as error:
            raise UnreadableLog(f"The file is not CSV: {error}.") from error
    return cohorts


def _read_columns(lines: TextIO, *, customer: int, on: int, amount: int, header: bool) -> Iterator[Purchased]:
    for number, line in enumerate(lines, start=1):
        if (header and number == 1) or not line.strip():
            continue
        fields = line.split()
        if len(fields) != amount + 1:
            raise UnreadableLog(f"Line {number} has {len(fields)} columns instead of {amount + 1}.")
        yield _purchase(number, fields[customer], fields[on], fields[amount])


def _read_csv(lines: TextIO) -> Iterator[Purchased]:
    rows = csv.DictReader(lines)
    names = rows.fieldnames or []
    customer, on, amount = (
        next((name for name in wanted if name in names), None)
        for wanted in (CUSTOMER_COLUMNS, DATE_COLUMNS, AMOUNT_COLUMNS)
    )
    if customer is None or on is None:
        raise UnreadableLog("The header needs the columns customer_id and date (and amount, for spend).")
    currency: str | None = None
    for row in rows:
        number = rows.line_num
        told = row.get("currency") or currency
        if currency is not None and told != currency:
            raise UnreadableLog(f"Line {number} is in {told}, those before in {currency}: fit one currency.")
        currency = told
        yield _purchase(number, row[customer] or "", row[on] or "", (row[amount] or "") if amount else "0")


def _purchase(number: int, customer: str, on: str, amount: str) -> Purchased:
    try:
        day = date.fromisoformat(on[:10])
    except ValueError as error:
        raise UnreadableLog(f"Line {number}: {on!r} is not a date (YYYY-MM-DD or YYYYMMDD).") from error
    if day > utc_now().date():
        raise UnreadableLog(f"Line {number}: {day} lies in the future.")
    try:
        value = float(amount)
    except ValueError as error:
        raise UnreadableLog(f"Line {number}: {amount!r} is not an amount.") from error
    if not 0 <= value < float("inf"):
        raise UnreadableLog(f"Line {number}: the amount {amount} is negative or not finite.")
    if not customer.strip():
        raise UnreadableLog(f"Line {number} names no customer.")
    return Purchased(customer, day, value)
