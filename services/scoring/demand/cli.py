"""`c360 score demand`: print the forecast of demand of a running gateway, or have one made."""

import json
from typing import Annotated, Any

import typer

from services.scoring.remote import FIT_S, answered, connected

app = typer.Typer()


@app.command()
def demand(
    *,
    segment: Annotated[str, typer.Option(help="A segment; all customers when left out.")] = "all",
    currency: Annotated[
        str | None, typer.Option(help="ISO 4217; the one of most purchases when left out.")
    ] = None,
    make: Annotated[
        int | None, typer.Option(min=1, max=52, help="First make a forecast of so many weeks.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Expected purchases and revenue of the coming weeks, and how forecasts compared with what came."""
    asked = {"segment": segment} | ({"currency": currency} if currency else {})
    with connected() as gateway:
        if make is not None:
            answered(gateway.post("/v1/demand:forecast", json={"weeks": make}, timeout=FIT_S))
        answer = answered(gateway.get("/v1/demand", params=asked))
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        _print(answer)


def _print(answer: dict[str, Any]) -> None:
    from rich.table import Table

    from shared.terminal import output

    console = output()
    table = Table(
        "week from", "purchases", "95 %", "came", f"revenue ({answer['currency']}, minor)", "95 %", "came",
        title=f"{answer['segment']}: {answer['purchase_model']}, made on {answer['made_on']}",
    )  # fmt: skip
    for week in [*reversed(answer["past"]), *answer["forecast"]]:
        table.add_row(week["week_from"], *_cells(week["purchases"], 1), *_cells(week["revenue"], 0))
    if table.row_count:
        console.print(table)
    for measure, tracked in answer["tracked"].items():
        if tracked["coverage"] is not None and tracked["bias"] is not None:
            console.print(
                f"{measure}: of {tracked['weeks']} weeks that are over {tracked['coverage']:.0%} lay within "
                f"the bounds; {tracked['bias']:+.1%} came beside what was expected"
            )
    for unknown in answer["unknown"]:
        console.print(f"not known: {unknown['what']}: {unknown['why']}")


def _cells(found: dict[str, float | None] | None, digits: int) -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    shown = {name: "" if number is None else f"{number:.{digits}f}" for name, number in found.items()}
    return shown["expected"], f"{shown['low']} - {shown['high']}", shown["actual"]
