"""`c360 score budget`: plan a budget at a running gateway, watch it being made, and print what came out."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from services.scoring.remote import POLL_S, answered, connected, refuse

app = typer.Typer()


@app.command()
def budget(
    *,
    amount: Annotated[int, typer.Argument(help="The budget, in minor units of the currency.")],
    currency: Annotated[str, typer.Option(help="ISO 4217; only customers who pay in it count.")] = "CNY",
    action: Annotated[
        list[str], typer.Option(help="KIND, KIND:CAPACITY or KIND:CAPACITY:COST; again for each action.")
    ],
    segment: Annotated[str | None, typer.Option(help="Only customers of this RFM segment.")] = None,
    hold_out: Annotated[float, typer.Option(help="Share left out by chance, 0 to 0.5.")] = 0.0,
    weight: Annotated[
        list[str] | None, typer.Option(help="PRIORITY=WEIGHT of value, risk or satisfaction.")
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Of the hold-out arm; the plan's id if left out.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the assignments here.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Plan which customers get which action within a budget, and print the plan."""
    asked: dict[str, Any] = {
        "budget": amount,
        "currency": currency,
        "actions": [_action(text) for text in action],
        "hold_out_share": hold_out,
        "segment": segment,
        "seed": seed,
        "priorities": {"weights": dict(_weight(text) for text in weight)} if weight else None,
    }
    with connected() as gateway:
        key = {"Idempotency-Key": str(uuid4())}
        plan = answered(gateway.post("/v1/budgets:allocate", json=asked, headers=key))
        plan = _watched(gateway, plan, quiet=as_json)
        if plan["status"] != "done":
            refuse(f"The plan {plan['status']}: {plan['failure'] or 'it was cancelled'}")
        if csv is not None:
            path = f"/v1/budgets/{plan['id']}/assignments"
            with gateway.stream("GET", path, headers={"Accept": "text/csv"}) as told, csv.open("wb") as file:
                if told.is_error:
                    told.read()
                    answered(told)
                for part in told.iter_bytes():
                    file.write(part)
    if as_json:
        typer.echo(json.dumps(plan))
    else:
        _print(plan)


def _watched(gateway: Any, plan: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The plan once it is finished; its progress is shown meanwhile."""
    from rich.console import Console

    console = Console(stderr=True, quiet=quiet)
    with console.status(plan["progress"]) as status:
        try:
            while plan["status"] == "running":
                time.sleep(POLL_S)
                plan = answered(gateway.get(f"/v1/budgets/{plan['id']}"))
                status.update(plan["progress"])
        except KeyboardInterrupt:
            with suppress(Exception):
                gateway.delete(f"/v1/budgets/{plan['id']}")
            refuse("The plan was cancelled.")
    return plan


def _print(plan: dict[str, Any]) -> None:
    from rich.table import Table

    from shared.terminal import output

    outcome, console = plan["outcome"], output()
    names = (
        "action",
        "customers",
        "capacity",
        "eligible",
        "spend",
        "expected gain",
        "room for one more brings",
    )
    table = Table(
        *names, title=f"{outcome['spend']} of {plan['request']['budget']} {plan['request']['currency']}"
    )
    for one in outcome["actions"]:
        table.add_row(
            one["kind"],
            str(one["chosen"]),
            "" if one["capacity"] is None else str(one["capacity"]),
            str(one["eligible"]),
            str(one["spend"]),
            f"{one['gain']:.0f}",
            f"{one['shadow_price']:.2f}",
        )
    console.print(table)
    console.print(
        f"{outcome['treated']} customers get an action, {outcome['hold_out']} are held out, "
        f"{outcome['eligible']} of {outcome['considered']} are eligible; "
        f"{outcome['other_currency']} pay in another currency"
    )
    console.print(f"{outcome['solver']} (gap {outcome['gap']:.6f})")
    for sentence in outcome["words"]:
        console.print(sentence)


def _action(text: str) -> dict[str, Any]:
    kind, *numbers = text.split(":")
    if len(numbers) > 2 or not all(number.isdigit() or not number for number in numbers):
        refuse(f"--action {text}: give KIND, KIND:CAPACITY or KIND:CAPACITY:COST in whole numbers.")
    names = ("capacity", "cost")
    return {"kind": kind} | {name: int(n) for name, n in zip(names, numbers, strict=False) if n}


def _weight(text: str) -> tuple[str, float]:
    priority, _, number = text.partition("=")
    try:
        return priority, float(number)
    except ValueError:
        refuse(f"--weight {text}: give PRIORITY=NUMBER.")
