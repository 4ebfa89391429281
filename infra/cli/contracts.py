"""`c360 schemas`: what is published about events and APIs, generated from the code."""

from typing import Annotated

import typer

from infra.cli.show import console
from infra.data import Refused


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(schemas)


def schemas(
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether the files match the code.")
    ] = False,
) -> None:
    """Write shared/contracts/published/: JSON Schemas, asyncapi.json and openapi.json.

    Examples:

        c360 schemas

        c360 schemas --check
    """
    from infra.published import FOLDER, differing, generate, write

    documents = generate()
    if check:
        if names := differing(documents):
            raise Refused(
                f"Generated contracts differ from the code: {', '.join(names)}; run `c360 schemas`."
            )
        console.print(f"{len(documents)} generated contracts match the code")
        return
    write(documents)
    console.print(f"{len(documents)} documents written to {FOLDER}")
