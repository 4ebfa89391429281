"""Commands of `c360 score` that ask a running gateway: the models that there are, and rebuilding facts.

The gateway is at C360_URL; the key is C360_KEY, else the operator's of the local data directory.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from services.scoring.models.catalogue import ModelKind

if TYPE_CHECKING:
    import httpx

app = typer.Typer()

DEFAULT_URL = "http://127.0.0.1:8000"
POLL_S = 0.3
TIMEOUT_S = 30.0
FIT_S = 300.0

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Kind = Annotated[ModelKind, typer.Argument(help="Which kind of model.")]


@app.command()
def models(as_json: AsJson = False) -> None:
    """The newest versions of the models: which serve, how well they predict, and why they serve or do not."""
    with connected() as gateway:
        items = answered(gateway.get("/v1/models", params={"limit": 200}))["items"]
    if as_json:
        typer.echo(json.dumps(items))
        return
    from rich.table import Table

    from shared.terminal import output

    table = Table("model", "serves", "currency", "log-likelihood", "rms error", "heuristic's MAE", "why")
    for model in items:
        quality = model["quality"] or {}
        table.add_row(
            model["name"],
            "yes" if model["serving"] else "",
            model["currency"] or "",
            f"{model['log_likelihood']:.1f}",
            f"{quality['rms_error']:.4g}" if quality else "",
            f"{quality['heuristic_error']:.4g}" if quality else "",
            model["promotion"] + (" (drifts)" if (model["drift"] or {}).get("drifting") else ""),
        )
    output().print(table)


@app.command()
def refit(kind: Kind, as_json: AsJson = False) -> None:
    """Fit a model to all customers of the service; it serves if it predicts the hold-out well enough."""
    with connected() as gateway:
        _told(answered(gateway.post(f"/v1/models/{kind}:fit", timeout=FIT_S)), as_json)


@app.command()
def promote(
    kind: Kind, version: Annotated[int, typer.Argument(min=1, help="Of that kind.")], as_json: AsJson = False
) -> None:
    """Let a version serve, whatever the hold-out said of it."""
    with connected() as gateway:
        _told(answered(gateway.post(f"/v1/models/{kind}:promote", json={"version": version})), as_json)


@app.command()
def rollback(kind: Kind, as_json: AsJson = False) -> None:
    """Let the model serve again that the present one of this kind replaced."""
    with connected() as gateway:
        _told(answered(gateway.post(f"/v1/models/{kind}:rollback")), as_json)


@app.command()
def rebuild(as_json: AsJson = False) -> None:
    """Derive all facts anew from what happened."""
    from rich.progress import Progress

    with connected() as gateway:
        state = answered(gateway.post("/v1/score-rebuilds"))
        with Progress(disable=as_json, transient=True) as progress:
            task = progress.add_task("rebuilding facts", total=state["total"])
            while state["status"] != "done":
                time.sleep(POLL_S)
                state = answered(gateway.get(f"/v1/score-rebuilds/{state['id']}"))
                progress.update(task, completed=state["customers"], total=state["total"])
    if as_json:
        typer.echo(json.dumps({"customers": state["customers"], "changed": state["changed"]}))
    else:
        typer.echo(f"{state['customers']} customers rebuilt, {state['changed']} differed")


def _told(model: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(model))
    else:
        typer.echo(f"{model['name']}: {model['promotion']}")


@contextmanager
def connected() -> Iterator["httpx.Client"]:
    """The gateway; one that does not answer ends the command with a sentence."""
    import httpx

    with httpx.Client(base_url=os.environ.get("C360_URL") or DEFAULT_URL, timeout=TIMEOUT_S) as client:
        client.headers["Authorization"] = f"Bearer {_key()}"
        try:
            yield client
        except httpx.TransportError:
            refuse(f"The gateway at {client.base_url} does not answer; start it or set C360_URL.")


def _key() -> str:
    """C360_KEY, else the operator's key of the local data directory."""
    given = os.environ.get("C360_KEY") or os.environ.get("C360_BOOTSTRAP_KEY")
    kept = Path(os.environ.get("C360_DATA_DIR") or ".data") / "secrets" / "bootstrap_key"
    try:
        return given or kept.read_text(encoding="ascii").strip()
    except OSError:
        refuse("Set C360_KEY to an API key of the gateway.")


def answered(response: "httpx.Response") -> dict[str, Any]:
    """The answer as JSON; a refusal ends the command with its reason."""
    if response.is_error:
        try:
            problem = response.json()
            fields = "; ".join(f"{wrong['pointer']} {wrong['detail']}" for wrong in problem.get("errors", []))
            reason = problem.get("detail") or fields or problem["title"]
        except (ValueError, KeyError, AttributeError):
            reason = response.reason_phrase
        refuse(f"The gateway refused ({response.status_code}): {reason}")
    answer: dict[str, Any] = response.json()
    return answer


def refuse(sentence: str) -> NoReturn:
    """Say what is wrong and end the command."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
