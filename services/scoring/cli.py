"""The command line of scoring, mounted as `c360 score`: fit, use and judge models; rebuild the facts."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from services.scoring.actions.budgets.cli import app as budgets
from services.scoring.churn.cli import app as churn
from services.scoring.demand.cli import app as demand
from services.scoring.experiments.cli import app as experiments
from services.scoring.facts.histories import Purchased, Unit
from services.scoring.facts.logs import LogFormat, read_cohorts, read_purchases
from services.scoring.recommendations.cli import app as recommend
from services.scoring.remote import app as remote
from services.scoring.segments.cli import app as segments
from shared.problems import Problem

if TYPE_CHECKING:
    from services.scoring.models.estimation import Estimate

app = typer.Typer(no_args_is_help=True, help="Fit, use and judge the scoring models; rebuild the facts.")
app.add_typer(remote)
app.add_typer(budgets)
app.add_typer(churn)
app.add_typer(recommend)
app.add_typer(demand)
app.add_typer(segments)
app.add_typer(experiments)

MOST_BOOTSTRAPS = 2000
MOST_PERIODS = 10_000

FitKind = Literal["bg_nbd", "mbg_nbd", "pareto_nbd", "bg_bb", "gamma_gamma", "shifted_beta_geometric"]

Log = Annotated[Path, typer.Option(help="The purchase log.", exists=True, dir_okay=False)]
Layout = Annotated[LogFormat, typer.Option("--format", help="How the log is laid out.")]
CalibrationEnd = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="The observation date; the log's last day when left out."),
]
InUnit = Annotated[Unit, typer.Option(help="Unit of time.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def fit(
    *,
    csv: Log,
    layout: Layout = "csv",
    model: Annotated[FitKind, typer.Option(help="Which model.")] = "bg_nbd",
    calibration_end: CalibrationEnd = None,
    unit: InUnit = "week",
    as_json: AsJson = False,
) -> None:
    """Fit a model to a purchase log and print its parameters and log-likelihood.

    The shifted-beta-geometric is fitted to cohorts instead: CSV with the column `customers`, one row a
    period from its start on, and `cohort` when there are several.
    """
    with _one_sentence():
        estimate = _fit(model, csv, layout, calibration_end, unit)
    if as_json:
        answer = {
            "model": model,
            "params": estimate.params,
            "log_likelihood": estimate.log_likelihood,
            "customers": estimate.customers,
            "unit": unit,
        }
        typer.echo(json.dumps(answer))
        return
    from rich.table import Table

    from shared.terminal import output

    table = Table("parameter", "estimate", "standard error", title=f"{model}, per {unit}")
    for name, value in estimate.params.items():
        table.add_row(name, f"{value:.4f}", f"{estimate.standard_errors[name]:.4f}")
    console = output()
    console.print(table)
    console.print(f"log-likelihood {estimate.log_likelihood:.2f} of {estimate.customers} customers")


@app.command()
def predict(
    *,
    params: Annotated[str, typer.Option(help='JSON, such as {"r": 0.243, "alpha": 4.414, "a": 0.793, …}.')],
    x: Annotated[int, typer.Option(min=0, help="Repeat purchases.")] = 0,
    recency: Annotated[float, typer.Option(min=0, help="Time from the first purchase to the last.")] = 0.0,
    age: Annotated[float, typer.Option(min=0, help="Time from the first purchase to now.")] = 0.0,
    horizon: Annotated[float, typer.Option(min=0, help="How far ahead to look.")] = 1.0,
    mean: Annotated[
        float, typer.Option(min=0, help="Mean value of the repeat purchases (gamma_gamma).")
    ] = 0.0,
    model: Annotated[FitKind, typer.Option(help="Which model.")] = "bg_nbd",
    as_json: AsJson = False,
) -> None:
    """Predict one customer from fitted parameters. Times are in the unit of the fit."""
    if not all(math.isfinite(number) for number in (recency, age, horizon, mean)):
        _refuse("--recency, --age, --horizon and --mean must be finite numbers.")
    if recency > age:
        _refuse("--recency is more than --age: the last purchase cannot be later than now.")
    with _one_sentence():
        answer = _predict(model, params, x=x, recency=recency, age=age, horizon=horizon, mean=mean)
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        typer.echo(", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in answer.items()))


@app.command()
def evaluate(
    *,
    csv: Log,
    calibration_end: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day that models may learn from.")
    ],
    layout: Layout = "csv",
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day of the hold-out; the log's when left out."),
    ] = None,
    unit: InUnit = "week",
    chart: Annotated[Path | None, typer.Option(help="Write the calibration as an SVG chart here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit every model to a calibration window and compare what it predicts with the hold-out after it."""
    from services.scoring.models.report import as_svg, compare, print_tables

    with _one_sentence():
        purchases = list(read_purchases(csv, layout))
        comparison = compare(
            purchases,
            calibration_end=calibration_end.date(),
            until=_observed(purchases, until),
            unit=unit,
        )
        if chart is not None:
            chart.write_text(as_svg(comparison), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(asdict(comparison)))
    else:
        print_tables(comparison)


@app.command()
def value(
    *,
    csv: Log,
    customer: Annotated[str, typer.Option(help="Whose value, as the log names them.")],
    layout: Layout = "csv",
    calibration_end: CalibrationEnd = None,
    model: Annotated[
        Literal["bg_nbd", "mbg_nbd", "pareto_nbd"], typer.Option(help="Model of purchases.")
    ] = "bg_nbd",
    horizon_days: Annotated[int, typer.Option(min=1, max=36500, help="How far ahead to look.")] = 365,
    discount_rate: Annotated[float, typer.Option(min=0, max=1, help="Per year.")] = 0.10,
    margin: Annotated[float, typer.Option(min=0.0001, max=1, help="Share of spend that is value.")] = 1.0,
    lifespan_years: Annotated[float, typer.Option(min=0, max=100, help="Of the simple value.")] = 3.0,
    bootstrap: Annotated[
        int, typer.Option(min=0, max=MOST_BOOTSTRAPS, help="Draws for a 95 % interval; 0: none.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """What one customer has been worth and will be: historic, simple and discounted lifetime value."""
    from services.scoring.value.appraisal import appraise
    from services.scoring.value.lifetime import Terms

    with _one_sentence():
        purchases = list(read_purchases(csv, layout))
        answer = appraise(
            purchases,
            customer,
            end=_observed(purchases, calibration_end),
            kind=model,
            terms=Terms(horizon_days, discount_rate, margin),
            lifespan_years=lifespan_years,
            bootstrap=bootstrap,
        )
    if as_json:
        typer.echo(json.dumps(asdict(answer)))
        return
    for name, shown in asdict(answer).items():
        typer.echo(f"{name.replace('_', ' ')}: {shown}")


def _fit(
    model: FitKind, csv: Path, layout: LogFormat, calibration_end: datetime | None, unit: Unit
) -> "Estimate":
    from services.scoring.facts.histories import read_log
    from services.scoring.models import gamma_gamma
    from services.scoring.models import shifted_beta_geometric as sbg
    from services.scoring.models.catalogue import OCCASION_KINDS, PURCHASE_KINDS
    from services.scoring.models.evaluation import occasions

    if model == "shifted_beta_geometric":
        return sbg.fit(sbg.tenures_of(read_cohorts(csv)))
    purchases = list(read_purchases(csv, layout))
    end = _observed(purchases, calibration_end)
    if model == "bg_bb":
        return OCCASION_KINDS[model].fit(occasions(purchases, end=end, unit=unit))
    histories, spending = read_log(purchases, end=end, unit=unit)
    if model == "gamma_gamma":
        return gamma_gamma.fit(spending)
    return PURCHASE_KINDS[model].fit(histories)


def _predict(
    model: FitKind, params: str, *, x: int, recency: float, age: float, horizon: float, mean: float
) -> dict[str, float]:
    from services.scoring.models.catalogue import OCCASION_KINDS, PURCHASE_KINDS
    from services.scoring.models.gamma_gamma import GammaGamma
    from services.scoring.models.shifted_beta_geometric import ShiftedBetaGeometric

    if model == "gamma_gamma":
        spend = GammaGamma(*_parameters(params, GammaGamma.names))
        if spend.q <= 1:
            _refuse("q must be more than 1: with less the mean of spending is infinite.")
        return {"expected_spend": float(spend.expected_spend(x, mean)[0])}
    if model == "shifted_beta_geometric":
        if horizon != int(horizon) or age != int(age) or horizon > MOST_PERIODS:
            _refuse(f"--age and --horizon count whole periods here, no more than {MOST_PERIODS}.")
        stays = ShiftedBetaGeometric(*_parameters(params, ShiftedBetaGeometric.names))
        ahead = stays.survival(int(age) + int(horizon))
        return {
            "expected_renewals": float(stays.expected_renewals(int(horizon), age)[0]),
            "p_retained": float(ahead[-1] / ahead[int(age)]),
        }
    kind = OCCASION_KINDS[model] if model == "bg_bb" else PURCHASE_KINDS[model]
    fitted = kind.make(*_parameters(params, kind.names))
    return {
        "expected_purchases": float(fitted.expected_purchases(horizon, x, recency, age)[0]),
        "p_alive": float(fitted.p_alive(x, recency, age)[0]),
    }


def _observed(purchases: list[Purchased], given: datetime | None) -> date:
    """The date given, else the log's last day."""
    return given.date() if given else max((purchase.on for purchase in purchases), default=date.max)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """What goes wrong within is said in one sentence, and ends the command."""
    try:
        yield
    except Problem as problem:
        _refuse(f"{problem.title}: {problem.detail}")
    except (ValueError, OSError) as error:
        _refuse(str(error))


def _parameters(text: str, names: tuple[str, ...]) -> list[float]:
    try:
        given = json.loads(text)
    except ValueError:
        _refuse(f"--params is not JSON; give an object with {', '.join(names)}.")
    if not isinstance(given, dict) or set(given) != set(names):
        _refuse(f"--params must be a JSON object with exactly {', '.join(names)}.")
    values = [given[name] for name in names]
    if not all(type(v) in (int, float) and math.isfinite(v) and v > 0 for v in values):
        _refuse("Every parameter must be a positive number.")
    return [float(value) for value in values]


def _refuse(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
