"""The command line `c360`: one module per kind of work, mounted here."""

import importlib
import importlib.util
import os
import sys

import httpx
import typer

from infra.cli import contracts, fill, operate, points, run, view
from infra.data import Refused

app = typer.Typer(
    name="c360",
    help="Customer 360: run it, fill it, look after it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
run.mount(app)
contracts.mount(app)
operate.mount(app)
fill.mount(app)
view.mount(app)
points.mount(app)

if importlib.util.find_spec("services.scoring.cli") is not None:
    score = importlib.import_module("services.scoring.cli")
    app.add_typer(score.app, name="score", help="Fit and use the scoring models on a file.")


def main() -> None:
    """The console script. Errors are one sentence on standard error and exit code 1."""
    for name in [name for name, value in os.environ.items() if name.startswith("C360_") and not value]:
        del os.environ[name]  # compose files set what is not given to nothing
    try:
        app()
    except Refused as refused:
        print(refused, file=sys.stderr)
        sys.exit(1)
    except httpx.HTTPError as error:
        print(f"The gateway does not answer ({type(error).__name__}); check C360_URL.", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
