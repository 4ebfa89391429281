"""`c360 score experiment`: how many customers one needs, without a gateway; what came of one, with it."""

import json
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import typer

from services.scoring.remote import answered, connected, refuse

app = typer.Typer(no_args_is_help=True)
experiment = typer.Typer(no_args_is_help=True, help="Size experiments and read their results.")
app.add_typer(experiment, name="experiment")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@experiment.command()
def size(
    *,
    baseline: Annotated[
        float, typer.Option(min=-1e15, max=1e15, help="Expected mean in the control; 0.1 is 10 %.")
    ],
    effect: Annotated[
        float, typer.Option(min=1e-9, max=1e12, help="Smallest effect that matters; 0.01 is a point.")
    ],
    deviation: Annotated[
        float | None,
        typer.Option(min=1e-9, max=1e15, help="Standard deviation; left out: the baseline is a share."),
    ] = None,
    shares: Annotated[str, typer.Option(help="Of the arms, the control first.")] = "0.5,0.5",
    per_day: Annotated[float | None, typer.Option(min=1e-3, max=1e9, help="Customers exposed a day.")] = None,
    alpha: Annotated[float, typer.Option(min=0.001, max=0.2)] = 0.05,
    power: Annotated[float, typer.Option(min=0.5, max=0.99)] = 0.8,
    as_json: AsJson = False,
) -> None:
    """How many customers an experiment needs in all arms, read once at the end or at any time."""
    from pydantic import ValidationError

    from services.scoring.experiments import sizing
    from services.scoring.experiments.schemas import SizeIn

    try:
        arms = SizeIn(minimum_effect=effect, shares=[float(share) for share in shares.split(",")]).shares
    except ValidationError as error:
        refuse(f"--shares: {error.errors()[0]['msg'].removeprefix('Value error, ')}.")
    except ValueError:
        refuse("--shares must be numbers with commas between them, such as 0.5,0.5.")
    if deviation is None and not 0 < baseline < baseline + effect < 1:
        refuse("A share and the effect on it must lie between 0 and 1; of other means give --deviation.")
    found = sizing.size(
        baseline=baseline,
        deviation=deviation,
        effect=effect,
        shares=arms,
        control=0,
        alpha=alpha,
        power=power,
        per_day=per_day,
    )
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    typer.echo(f"read once, at the end: {found.once:,} customers{_days(found.days_once)}")
    typer.echo(f"read at any time:      {found.any_time:,} customers{_days(found.days_any_time)}")


@experiment.command()
def results(
    experiment_id: Annotated[UUID, typer.Argument(help="Which experiment.")], as_json: AsJson = False
) -> None:
    """What came of an experiment so far; the intervals may be read as often as one likes."""
    with connected() as gateway:
        read = answered(gateway.get(f"/v1/experiments/{experiment_id}/results"))
    if as_json:
        typer.echo(json.dumps(read))
    else:
        _print(read)


def _print(read: dict[str, Any]) -> None:
    from rich.table import Table

    from shared.terminal import output

    console = output()
    table = Table("metric", "arm", "customers", "mean", "difference", "interval", title=read["read_until"])
    for metric in read["metrics"]:
        against = {comparison["arm"]: comparison for comparison in metric["comparisons"]}
        for arm in metric["arms"]:
            told = against.get(arm["arm"])
            table.add_row(
                metric["metric"],
                arm["arm"],
                str(arm["customers"]),
                f"{arm['mean']:.4g}",
                f"{told['difference']:+.4g}" if told else "",
                _interval(told["interval"]) if told else "",
            )
    if table.row_count:
        console.print(table)
    for metric in read["metrics"]:
        for comparison in metric["comparisons"]:
            console.print(f"{metric['metric']}, {comparison['arm']}: {comparison['verdict']}")
    for note in read["notes"]:
        console.print(note)


def _interval(interval: dict[str, float | None]) -> str:
    low, high = interval["low"], interval["high"]
    return "" if low is None or high is None else f"{low:+.4g} to {high:+.4g}"


def _days(days: int | None) -> str:
    return "" if days is None else f", {days:,} days"
