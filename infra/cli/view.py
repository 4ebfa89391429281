"""`c360 view`: build the customer-360 view anew from the services, and compare it with them."""

import asyncio
from typing import Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from infra.cli.client import Gateway
from infra.cli.show import JsonOption, console, print_json, print_table

SHOWN_DIFFERENCES = 50

view = typer.Typer(no_args_is_help=True, help="The customer-360 view: rebuild it, compare it.")


def mount(app: typer.Typer) -> None:
    """Add this group of commands."""
    app.add_typer(view, name="view")


@view.command("rebuild")
def rebuild(as_json: JsonOption = False) -> None:
    """Have every service publish all its customers' sections anew, beside live traffic.

    Nothing is emptied first. Run `c360 view verify` afterwards to see that it has arrived.

    Example: c360 view rebuild
    """
    services = asyncio.run(_rebuild())["services"]
    if as_json:
        print_json(services)
    else:
        rows = [{"service": name, **outcome} for name, outcome in services.items()]
        print_table(rows, ("service", "status", "marked"), empty="no services")
    if any(outcome["status"] != "ok" for outcome in services.values()):
        raise typer.Exit(1)


@view.command("verify")
def verify(as_json: JsonOption = False) -> None:
    """Compare the stored view of every customer with what the services say now.

    Ends with exit code 1 when something differs or a service did not answer.

    Example: c360 view verify --json
    """
    found = asyncio.run(_verify())
    if as_json:
        print_json(found)
    else:
        console.print(f"{found['checked']} customers compared, {len(found['differences'])} differences")
        if found["unavailable"]:
            console.print(f"not compared, because away: {', '.join(found['unavailable'])}")
        if found["differences"]:
            columns = ("customer_id", "section", "stored_version")
            print_table(found["differences"][:SHOWN_DIFFERENCES], columns, empty="")
    if found["differences"] or found["unavailable"]:
        raise typer.Exit(1)


async def _rebuild() -> Any:
    async with Gateway() as gateway:
        return await gateway.post("/v1/admin/view:rebuild")


async def _verify() -> dict[str, Any]:
    """All pages of the comparison, added up."""
    found: dict[str, Any] = {"checked": 0, "differences": [], "unavailable": []}
    columns = (SpinnerColumn(), TextColumn("comparing"), MofNCompleteColumn(), TimeElapsedColumn())
    async with Gateway() as gateway:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("comparing", total=None)
            cursor: str | None = None
            while True:
                page = await gateway.post(
                    "/v1/admin/view:verify", params={"cursor": cursor} if cursor else {}
                )
                found["checked"] += page["checked"]
                found["differences"] += page["differences"]
                found["unavailable"] = sorted({*found["unavailable"], *page["unavailable"]})
                progress.update(task, completed=found["checked"])
                cursor = page["next_cursor"]
                if cursor is None:
                    return found
