"""What commands print on: lines as wide as the terminal, and as long as they are where there is none."""

from rich.console import Console

WIDEST = 100_000  # characters of a line


def console_of(width: int) -> Console:
    """A console of so many columns, whatever it writes to."""
    return Console(width=width, height=1)  # both, or a dumb terminal is taken for one of 80 columns


def output() -> Console:
    """For standard output. A pipe or a file has no width: Rich would take it for 80 columns, and fold."""
    out = Console()
    return out if out.is_terminal else console_of(WIDEST)
