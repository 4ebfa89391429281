"""`c360 doctor ledger`: recompute the whole ledger from what was written; name the first row that differs."""

import asyncio
import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from infra.cli.show import JsonOption, console, print_json
from infra.data import DataDirectory, Refused

if TYPE_CHECKING:
    from services.loyalty.ledger.audit import Report

# For the few statements that read everything: what they sort and hash stays in memory.
SESSION = {"work_mem": "256MB", "statement_timeout": "0", "jit": "off", "timezone": "UTC"}


def ledger(
    seal: Annotated[
        str | None,
        typer.Option(metavar="POSITION:HASH", help="The newest seal of an earlier run, kept elsewhere."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute every balance, lot, sum and hash of the loyalty ledger; name the first row that differs.

    Reads loyalty's database directly: C360_DATABASE_URL, or the embedded one, running or not. Exits with 1
    when something differs. Who may write everything can also seal anew, and remove what is newest: keep the
    newest seal elsewhere and give it as --seal, and that is found too.

    Examples:

        c360 doctor ledger

        c360 doctor ledger --seal 1018333:401bd78f...

        C360_DATABASE_URL=postgresql://postgres@db/ c360 doctor ledger --json
    """
    kept = None if seal is None else _kept(seal)
    with _server() as url:
        report = asyncio.run(_audit(url, kept, quiet=as_json))
    if as_json:
        print_json({"sound": report.difference is None} | asdict(report))
    else:
        _show(report)
    if report.difference is not None:
        raise typer.Exit(1)


def _kept(seal: str) -> tuple[int, str]:
    found = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", seal.strip().lower())
    if found is None:
        raise Refused("A seal is its position and its hash, as this command prints it: 12:9f86d08…")
    return int(found[1]), found[2]


async def _audit(url: str, kept: tuple[int, str] | None, *, quiet: bool) -> "Report":
    from infra.parts import part_named
    from services.loyalty.ledger.audit import audit

    os.environ.setdefault("C360_INTERNAL_SECRET", "-" * 32)
    dsn = part_named("loyalty").settings(database_url=url).dsn
    try:
        connection, beside = [await asyncpg.connect(dsn, server_settings=SESSION) for _ in range(2)]
    except (OSError, asyncpg.PostgresError) as error:
        raise Refused(f"Loyalty's database does not let us in ({error}); check C360_DATABASE_URL.") from error
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    bar = Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True), disable=quiet)
    try:
        with bar:
            task = bar.add_task("counting")
            return await audit(
                connection,
                lambda what, done, steps: bar.update(task, description=what, completed=done, total=steps),
                beside,
                kept,
            )
    except asyncpg.UndefinedTableError as error:
        raise Refused("Loyalty's database is not at its newest revision; run `c360 migrate`.") from error
    finally:
        await asyncio.gather(connection.close(), beside.close())


def _show(report: "Report") -> None:
    rows = report.rows
    counted = ", ".join(f"{count:,} {what}" for what, count in rows.items())
    console.print(f"looked at {counted}", highlight=False)
    if report.head is not None:
        position, sealed = report.head
        late = rows["transfers"] - rows["seals"]
        console.print(f"newest seal {position}:{sealed}; {late:,} transfers not sealed yet", highlight=False)
    if report.difference is None:
        console.print("[green]sound[/]")
    else:
        found = report.difference
        console.print(f"[red]broken[/]: {found.check}", highlight=False)
        console.print(f"{found.subject}: expected {found.expected}, found {found.found}", highlight=False)


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """The database server's URL: the one that is set, the embedded one that runs, or one started for this."""
    if url := os.environ.get("C360_DATABASE_URL"):
        yield url
        return
    from infra.servers import Postgres

    data = DataDirectory.from_environment()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(data)
        except Refused:
            pid_file = data.path / "postgres" / "postmaster.pid"
            if not pid_file.exists():
                raise
            _, _, _, port, socket, *_ = pid_file.read_text(encoding="utf-8").split("\n")
            yield f"postgresql://postgres@/?host={socket}&port={port}"
            return
        yield stack.enter_context(Postgres(data.path / "postgres")).url
