"""`c360 demo` and `c360 import purchases`: putting customers into a running system."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.show import JsonOption, console, print_json
from infra.data import Refused

imports = typer.Typer(no_args_is_help=True, help="Bring records in from files.")


class Format(StrEnum):
    """File formats of purchases."""

    CDNOW = "cdnow"
    CDNOW_SAMPLE = "cdnow-sample"
    CSV = "csv"
    NDJSON = "ndjson"


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(demo)
    app.add_typer(imports, name="import")


def demo(
    customers: Annotated[int, typer.Option(min=3, max=5000, help="How many are made.")] = 300,
    seed: Annotated[int, typer.Option(help="The same seed makes the same people and purchases.")] = 360,
    as_json: JsonOption = False,
) -> None:
    """Fill a running system with made customers and show one of them.

    Customers with Chinese and English names, months of purchases, feedback through a signed webhook, survey
    answers, a redemption. Needs C360_URL and an operator's C360_KEY (the local system's own when unset).

    Examples:

        c360 demo

        c360 demo --customers 1000 --seed 7
    """
    from infra.demo.run import fill
    from infra.demo.show import show_customer

    outcome = asyncio.run(fill(customers, seed, quiet=as_json))
    if as_json:
        print_json({"counts": outcome.counts, "view": outcome.view})
    else:
        show_customer(console, outcome)


@imports.command("purchases")
def import_purchases(  # noqa: PLR0917
    file: Annotated[Path, typer.Argument(help="The file; it is read as a stream.")],
    file_format: Annotated[Format, typer.Option("--format", help="What is in it.")],
    source: Annotated[
        str | None,
        typer.Option(help="Name of the system the file comes from; the file's stem when left out."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Rows in one request.")] = 1000,
    in_flight: Annotated[int, typer.Option(min=1, max=16, help="Requests under way.")] = 4,
    as_json: JsonOption = False,
) -> None:
    """Import purchases. Killed half-way, it is run again: nothing is lost or doubled.

    Rows that don't fit go to FILE.rejects.csv with the reason while the rest goes in.

    Formats: `cdnow` (customer, date, CDs, dollars); `cdnow-sample` (an id in the sample after the customer);
    `ndjson` (a body of POST /v1/purchases on each line); `csv` (a header with customer_id, external_id, email
    or phone; occurred_at, currency, amount in minor units; external_source, source_id, touchpoint, channel).

    Examples:

        c360 import purchases CDNOW_master.txt --format cdnow

        c360 import purchases orders.csv --format csv --source shop
    """
    from infra.imports.run import import_file

    if not file.is_file():
        raise Refused(f"There is no file {file}.")
    outcome = asyncio.run(
        import_file(
            file,
            file_format.value,
            source=source,
            batch=batch,
            in_flight=in_flight,
            quiet=as_json,
        )
    )
    if as_json:
        print_json(outcome.as_dict())
        return
    console.print(
        f"{outcome.rows} rows in {outcome.seconds:.1f} s ({outcome.rows_per_s:.0f} rows/s): "
        f"{outcome.accepted} accepted, {outcome.duplicates} already there, {outcome.rejected} refused",
        highlight=False,
    )
    if outcome.rejected:
        console.print(f"the refused rows and why: {outcome.rejects}", highlight=False)
