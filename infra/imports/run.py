"""Sends a file's rows in batches, a few requests at a time, and keeps the refused rows with their reasons.

There is no progress file: a repeat sends everything again, and what is there already answers `duplicate`. So
a run that was killed at any moment is completed by running it again, also against a restored system.
"""

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import orjson
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from infra.cli.client import Gateway, Said, describe
from infra.cli.show import console
from infra.data import Refused
from infra.imports.read import Row, read_rows
from infra.parallel import in_parallel

PATH = "/v1/purchases:batch"
# Answers that one row of many may be to blame for: the batch is halved until that row stands alone.
ONE_OF_MANY = frozenset({400, 413, 422})
# A spreadsheet takes a cell that begins like this for a formula (OWASP, CSV injection).
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(slots=True)
class Outcome:
    """What became of the rows."""

    rejects: Path
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    seconds: float = 0.0

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "rows": self.rows,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "rejects": str(self.rejects) if self.rejected else None,
            "seconds": round(self.seconds, 3),
            "rows_per_s": round(self.rows_per_s, 1),
        }


async def import_file(
    path: Path, file_format: str, *, source: str | None, batch: int, in_flight: int, quiet: bool
) -> Outcome:
    """Import a file of purchases.

    Raises:
        Refused: the gateway stays away or does not let us; what was sent until then stays.
    """
    outcome = Outcome(rejects=path.with_name(path.name + ".rejects.csv"))
    outcome.rejects.unlink(missing_ok=True)
    began, size = time.monotonic(), path.stat().st_size  # noqa: ASYNC240
    with _progress(quiet) as progress, Rejects(outcome) as rejects:
        task = progress.add_task(path.name, total=size, rows=0)
        async with Gateway(connections=in_flight) as gateway:
            run = _Run(gateway, outcome, rejects)
            rows = read_rows(path, file_format, source)

            async def take(taken: list[Row]) -> None:
                await run.take(taken)
                progress.update(task, completed=taken[-1].ends_at, rows=outcome.rows)

            try:
                await in_parallel(_batches(rows, batch), take, at_once=in_flight)
            except Refused as refused:
                raise Refused(
                    f"{str(refused).rstrip('.')}; {outcome.rows} rows are dealt with, run it again to go on."
                ) from refused
        progress.update(task, completed=size, rows=outcome.rows)
    outcome.seconds = time.monotonic() - began
    return outcome


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while taken := list(islice(rows, size)):
        yield taken


class _Run:
    """Batches on their way."""

    def __init__(self, gateway: Gateway, outcome: Outcome, rejects: "Rejects") -> None:
        self._gateway = gateway
        self._outcome = outcome
        self._rejects = rejects

    async def take(self, rows: list[Row]) -> None:
        """Send the rows that fit and keep the others."""
        for row in rows:
            if row.body is None:
                self._rejects.add(row, row.problem)
        fitting = [row for row in rows if row.body is not None]
        if fitting:
            await self._send(fitting)
        self._outcome.rows += len(rows)

    async def _send(self, rows: list[Row]) -> None:
        content = orjson.dumps({"items": [row.body for row in rows]})
        try:
            answer = await self._gateway.post(
                PATH, content=content, headers={"Content-Type": "application/json"}
            )
        except Said as said:
            if said.status not in ONE_OF_MANY:
                raise
            if len(rows) == 1:
                self._rejects.add(rows[0], said.reason)
                return
            middle = len(rows) // 2
            await self._send(rows[:middle])
            await self._send(rows[middle:])
            return
        self._outcome.accepted += answer["accepted"]
        self._outcome.duplicates += answer["duplicates"]
        for refused in answer["rejected"]:
            self._rejects.add(rows[refused["index"]], _reason_of(refused["problem"]))


class Rejects:
    """The file of refused rows, made when there is a first one."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._file: TextIO | None = None

    def __enter__(self) -> "Rejects":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, row: Row, problem: str) -> None:
        """Write down a row and why it was refused."""
        if self._file is None:
            self._file = self._outcome.rejects.open("w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(("line", "problem", "row"))
        csv.writer(self._file).writerow((row.line, _harmless(problem), _harmless(row.text)))
        self._outcome.rejected += 1


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _reason_of(problem: Any) -> str:
    """What the service says of a row: a sentence, or a problem document."""
    return describe(problem) if isinstance(problem, dict) else str(problem)


def _progress(quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[rows]} rows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=quiet)
