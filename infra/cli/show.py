"""How the command line speaks: to people with Rich, to programs with JSON."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from unicodedata import category

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.terminal import WIDEST, console_of, output

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

console = Console(soft_wrap=True)


def print_json(value: Any) -> None:
    """Pretty JSON on standard output, and nothing else."""
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """The named columns of the rows, or one sentence when there are none.

    Nothing is folded or cut off: a file or a pipe gets lines as long as they are, and a terminal that is too
    narrow for the table gets a line for each cell.
    """
    if not rows:
        console.print(empty)
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    table, out = _table(columns, cells), output()
    width = console_of(WIDEST).measure(table).maximum
    if out.is_terminal and width > out.width:
        out.print(_upright(columns, cells))
    else:
        console_of(width).print(table)


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _upright(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    """A line for each cell, named by its column; an empty one between rows."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")  # an id that is cut off is of no use
    for number, row in enumerate(cells):
        if number:
            table.add_row()
        for column, cell in zip(columns, row, strict=True):
            table.add_row(column, Text(cell))
    return table


def _cell(value: Any) -> str:
    """A value in one line; control characters, which could steer a terminal, are spelled out."""
    if value is None:
        return "–"
    told = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "".join(repr(sign)[1:-1] if category(sign) == "Cc" else sign for sign in told)
