"""`c360 score segments`: the segments of a running gateway, or who would be in one."""

import json
from typing import Annotated

import typer

from services.scoring.remote import answered, connected, refuse

app = typer.Typer()


@app.command()
def segments(
    preview: Annotated[
        str | None, typer.Option(help="An expression to try, as 'spend > 50000 and tickets = 0'.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the segments with how many customers are in each; or try an expression, without saving it."""
    with connected() as gateway:
        if preview is None:
            found = answered(gateway.get("/v1/segments", params={"limit": 200}))["items"]
        else:
            response = gateway.post("/v1/segments:preview", json={"expression": preview})
            if response.status_code == 422 and (wrong := response.json().get("errors")):
                refuse("\n".join((wrong[0]["detail"], wrong[0].get("excerpt", ""))))
            found = answered(response)
    if as_json:
        typer.echo(json.dumps(found))
        return
    from rich.table import Table

    from shared.terminal import output

    if preview is None:
        table = Table("segment", "customers", "expression", "computed")
        for one in found:
            table.add_row(one["name"], str(one["members"]), one["expression"], one["computed_at"] or "")
    else:
        table = Table("comparison", "customers", "of what")
        for part in found["parts"]:
            table.add_row(part["comparison"], str(part["customers"]), part["meaning"])
        table.add_row(found["expression"], str(found["count"]), f"all, of {found['customers']}")
    output().print(table)
