"""`c360 score churn`: learn who leaves from a table of attributes, and judge it. Needs no server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from shared.problems import Problem

if TYPE_CHECKING:
    from services.scoring.churn.schemas import ChurnReport

MOST_BYTES = 512 * 1024 * 1024
SHOWN = 10

app = typer.Typer()


@app.command()
def churn(
    *,
    csv: Annotated[Path, typer.Option(help="The table, with a header.", exists=True, dir_okay=False)],
    label: Annotated[str, typer.Option(help="The column that says who left.")],
    positive: Annotated[str | None, typer.Option(help="Its value that says so; yes when left out.")] = None,
    time: Annotated[str | None, typer.Option(help="Split by this column of dates or numbers.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="The column that names customers.")] = None,
    value: Annotated[str | None, typer.Option(help="The column with what each is worth.")] = None,
    contact_cost: Annotated[float, typer.Option(min=0, max=1e12, help="Of contacting one customer.")] = 1.0,
    success_rate: Annotated[
        float, typer.Option(min=0, max=1, help="The share of leavers that stays for it.")
    ] = 0.2,
    customer_value: Annotated[float, typer.Option(min=0, max=1e12, help="Of one who stays.")] = 50.0,
    customers: Annotated[
        int | None, typer.Option(min=0, help="How many to name, likeliest to leave first; all when left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Learn who leaves from a table with a label column, and judge it by cross-validation."""
    from rich.console import Console

    from services.scoring.churn import fitting
    from services.scoring.churn.preparation import Options
    from services.scoring.churn.report import report_of
    from services.scoring.churn.rules import Terms
    from services.scoring.churn.table import read_table

    terms = Terms(contact_cost, success_rate, customer_value)
    options = Options(label, time, id_, value, positive, terms)
    try:
        if csv.stat().st_size > MOST_BYTES:
            _refuse(f"A table may have up to {MOST_BYTES} bytes.")
        table = read_table(csv.read_bytes(), "csv")
        with Console(stderr=True).status(f"learning from {table.rows} rows"):
            outcome = fitting.learn(table, options)
            report = report_of(table, options, outcome, table.rows if customers is None else customers)
    except Problem as problem:
        _refuse(f"{problem.title}: {problem.detail}")
    except OSError as error:
        _refuse(str(error))
    if as_json:
        typer.echo(report.model_dump_json())
    else:
        _print(report)


def _print(report: "ChurnReport") -> None:
    from rich.table import Table

    from shared.terminal import output

    console = output()
    dropped = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in report.dropped.items())
    console.print(
        f"{report.rows} rows, {report.used} used ({dropped}), {report.base_rate:.1%} left; "
        f"{report.folds} folds, {report.split}"
    )
    both = Table("", "AUC", "± error", "Brier", "of base rate", "skill", "calibration error")
    for name, quality in report.models.items():
        numbers = (
            quality.auc,
            quality.auc_error,
            quality.brier,
            quality.brier_base_rate,
            quality.skill,
            quality.calibration_error,
        )
        both.add_row(name, *(f"{number:.4f}" for number in numbers))
    console.print(both)
    console.print(f"chosen: {report.chosen}: {report.why}")
    tenths = Table("decile", "customers", "predicted", "observed", "lift", "captured")
    for tenth, lift in zip(report.calibration, report.lift, strict=True):
        tenths.add_row(
            str(tenth.decile),
            str(tenth.customers),
            f"{tenth.predicted:.1%}",
            f"{tenth.observed:.1%}",
            f"{lift.lift:.2f}",
            f"{lift.captured:.1%}",
        )
    console.print(tenths)
    pays = report.threshold
    if pays.risk is None:
        console.print("contacting pays for nobody")
    else:
        console.print(
            f"contacting pays from a risk of {pays.risk:.4f} on: {pays.contacted} customers, expected gain "
            f"{pays.expected_gain:.2f}, observed {pays.observed_gain:.2f}; of all {pays.gain_of_all:.2f}"
        )
    for warning in report.warnings:
        console.print(f"warning: {warning}")
    likely = Table("customer", "risk", "why")
    for customer in report.customers[:SHOWN]:
        likely.add_row(customer.id, f"{customer.risk:.4f}", "\n".join(r.words for r in customer.reasons))
    console.print(likely)


def _refuse(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
