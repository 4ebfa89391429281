"""A customer's 360 view as panels that a person enjoys reading. Shows whatever the sections hold."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from infra.demo.run import Outcome

LOOK = {
    "profile": ("Profile", "cyan"),
    "loyalty": ("Loyalty", "yellow"),
    "feedback": ("Feedback", "magenta"),
    "scoring": ("Scoring", "green"),
}
MOST_ITEMS = 5
LONGEST_TEXT = 90
DEEPEST = 2


def show_customer(console: Console, outcome: Outcome) -> None:
    """The counts, then one panel for each section of the view."""
    counted = ", ".join(f"{count} {name}" for name, count in outcome.counts.items())
    console.print(f"\nPut in: {counted}.", highlight=False)
    for note in outcome.notes:
        console.print(f"[dim]{note}[/]")
    view = outcome.view
    name = (view.get("profile") or {}).get("name") or "a customer"
    console.rule(f"[bold]{name}[/]  [dim]{view.get('customer_id', '')}[/]")
    panels = [_panel(section, view.get(section), _status(view, section)) for section in LOOK]
    console.print(Columns(panels, equal=True, expand=True))
    console.print(f"[dim]GET /v1/customers/{view.get('customer_id')}/360[/]\n")


def _status(view: Mapping[str, Any], section: str) -> str:
    about = ((view.get("meta") or {}).get("sections") or {}).get(section) or {}
    return (
        f"{about.get('status', 'unknown')} · {about.get('source', '')} · version {about.get('version', '–')}"
    )


def _panel(section: str, body: Any, status: str) -> Panel:
    title, colour = LOOK[section]
    content: RenderableType = Text("nothing known yet", style="dim")
    if isinstance(body, dict) and body:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for label, value in _lines(body):
            table.add_row(label, value)
        content = table
    return Panel(content, title=title, subtitle=f"[dim]{status}[/]", border_style=colour, title_align="left")


def _lines(body: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, str]]:
    """Label and text of every value, nested ones indented, long lists cut."""
    indent = "  " * depth
    for key, value in body.items():
        label = indent + str(key).replace("_", " ")
        if value is None or value in ({}, []) or key in ("id", "customer_id"):
            continue
        if isinstance(value, dict) and "value" in value:  # an attribute with where it is from
            source = f"  ({value['source']})" if value.get("source") else ""
            yield label, f"{_text(value['value'])}{source}"
        elif isinstance(value, dict):
            if depth < DEEPEST:
                yield label, ""
                yield from _lines(value, depth + 1)
        elif isinstance(value, list):
            shown = [_item(item) for item in value[:MOST_ITEMS]]
            rest = [f"and {len(value) - MOST_ITEMS} more"] if len(value) > MOST_ITEMS else []
            yield label, "\n".join(shown + rest)
        else:
            yield label, _text(value)


def _item(item: Any) -> str:
    if not isinstance(item, dict):
        return _text(item)
    words = [
        _text(value)
        for key, value in item.items()
        if not isinstance(value, dict | list) and value is not None and not str(key).endswith("id")
    ]
    return "  ".join(words)[:LONGEST_TEXT]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    if len(text) > len("2026-01-01T00:00:00") and text[4:5] == "-" and text[10:11] == "T":
        return text[:16].replace("T", " ")
    return text[:LONGEST_TEXT]
