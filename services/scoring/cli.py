"""The command line of scoring, mounted as `c360 score`: fit and use the models on a file, rebuild facts."""

import json
import math
import os
import time
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from services.scoring.facts.histories import Unit
from services.scoring.facts.logs import LogFormat
from shared.problems import Problem

if TYPE_CHECKING:
    import httpx

app = typer.Typer(no_args_is_help=True, help="Fit and use the scoring models; rebuild the facts.")

DEFAULT_URL = "http://127.0.0.1:8000"
POLL_S = 0.3
TIMEOUT_S = 30.0

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def fit(
    *,
    csv: Annotated[Path, typer.Option(help="The purchase log.", exists=True, dir_okay=False)],
    layout: Annotated[LogFormat, typer.Option("--format", help="How the log is laid out.")] = "csv",
    model: Annotated[Literal["bg_nbd", "gamma_gamma"], typer.Option(help="Which model.")] = "bg_nbd",
    calibration_end: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The observation date; the log's last day when left out."),
    ] = None,
    unit: Annotated[Unit, typer.Option(help="Unit of time.")] = "week",
    as_json: AsJson = False,
) -> None:
    """Fit a model to a purchase log and print its parameters and log-likelihood."""
    from services.scoring.facts.histories import read_log
    from services.scoring.facts.logs import read_purchases
    from services.scoring.models import bg_nbd, gamma_gamma

    try:
        purchases = list(read_purchases(csv, layout))
        end = calibration_end.date() if calibration_end else max((p.on for p in purchases), default=date.max)
        histories, spending = read_log(purchases, end=end, unit=unit)
        estimate = bg_nbd.fit(histories) if model == "bg_nbd" else gamma_gamma.fit(spending)
    except Problem as problem:
        _refuse(f"{problem.title}: {problem.detail}")
    except (ValueError, OSError) as error:
        _refuse(str(error))
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
    from rich.console import Console
    from rich.table import Table

    table = Table("parameter", "estimate", "standard error", title=f"{model}, per {unit}, until {end}")
    for name, value in estimate.params.items():
        table.add_row(name, f"{value:.4f}", f"{estimate.standard_errors[name]:.4f}")
    console = Console()
    console.print(table)
    console.print(f"log-likelihood {estimate.log_likelihood:.2f} of {estimate.customers} customers")


@app.command()
def predict(
    *,
    params: Annotated[str, typer.Option(help='JSON, such as {"r": 0.243, "alpha": 4.414, "a": 0.793, …}.')],
    x: Annotated[int, typer.Option(min=0, help="Repeat purchases.")],
    recency: Annotated[float, typer.Option(min=0, help="Time from the first purchase to the last.")],
    age: Annotated[float, typer.Option(min=0, help="Time from the first purchase to now.")],
    horizon: Annotated[float, typer.Option(min=0, help="How far ahead to look.")],
    model: Annotated[Literal["bg_nbd"], typer.Option(help="Which model.")] = "bg_nbd",
    as_json: AsJson = False,
) -> None:
    """Predict one customer's purchases from fitted parameters. Times are in the unit of the fit."""
    from services.scoring.models.bg_nbd import BgNbd

    values = _parameters(params, BgNbd.names)
    if not all(math.isfinite(time) for time in (recency, age, horizon)):
        _refuse("--recency, --age and --horizon must be finite numbers.")
    if recency > age:
        _refuse("--recency is more than --age: the last purchase cannot be later than now.")
    fitted = BgNbd(*values)
    expected = float(fitted.expected_purchases(horizon, x, recency, age)[0])
    p_alive = float(fitted.p_alive(x, recency, age)[0])
    if as_json:
        typer.echo(json.dumps({"expected_purchases": expected, "p_alive": p_alive}))
    else:
        typer.echo(f"{expected:.2f} purchases expected; alive with probability {p_alive:.4f}")


@app.command()
def rebuild(as_json: AsJson = False) -> None:
    """Derive all facts anew from what happened, at a running gateway (C360_URL, C360_KEY)."""
    import httpx
    from rich.progress import Progress

    with httpx.Client(base_url=os.environ.get("C360_URL") or DEFAULT_URL, timeout=TIMEOUT_S) as client:
        client.headers["Authorization"] = f"Bearer {_key()}"
        try:
            state = _answer(client.post("/v1/score-rebuilds"))
            with Progress(disable=as_json, transient=True) as progress:
                task = progress.add_task("rebuilding facts", total=state["total"])
                while state["status"] != "done":
                    time.sleep(POLL_S)
                    state = _answer(client.get(f"/v1/score-rebuilds/{state['id']}"))
                    progress.update(task, completed=state["customers"], total=state["total"])
        except httpx.TransportError:
            _refuse(f"The gateway at {client.base_url} does not answer; start it or set C360_URL.")
    if as_json:
        typer.echo(json.dumps({"customers": state["customers"], "changed": state["changed"]}))
    else:
        typer.echo(f"{state['customers']} customers rebuilt, {state['changed']} differed")


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


def _key() -> str:
    """C360_KEY, else the operator's key of the local data directory."""
    given = os.environ.get("C360_KEY") or os.environ.get("C360_BOOTSTRAP_KEY")
    kept = Path(os.environ.get("C360_DATA_DIR") or ".data") / "secrets" / "bootstrap_key"
    try:
        return given or kept.read_text(encoding="ascii").strip()
    except OSError:
        _refuse("Set C360_KEY to an API key of the gateway.")


def _answer(response: "httpx.Response") -> dict[str, Any]:
    if response.is_error:
        try:
            reason = response.json().get("detail") or response.json()["title"]
        except (ValueError, KeyError, AttributeError):
            reason = response.reason_phrase
        _refuse(f"The gateway refused ({response.status_code}): {reason}")
    answer: dict[str, Any] = response.json()
    return answer


def _refuse(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
