"""A customer's 360 view as panels that a person enjoys reading; what is not known is left out."""

from collections.abc import Mapping
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from infra.demo.run import Outcome

BAR_CELLS = 20
TICKET = ("kind", "category", "severity", "status")
RECENT = 5
MINOR_DIGITS = 2
WITHOUT_MINOR_UNITS = frozenset({"JPY", "KRW", "VND"})  # ISO 4217
MOODS = ((-0.3, "unhappy", "red"), (0.3, "even", "yellow"), (1.1, "happy", "green"))

Body = Mapping[str, Any]


def show_customer(console: Console, outcome: Outcome) -> None:
    """What was put in, then one panel for each section of the view."""
    counted = ", ".join(f"{count} {name}" for name, count in outcome.counts.items())
    console.print(f"\nPut in: {counted}.", highlight=False)
    for note in outcome.notes:
        console.print(f"[dim]{note}[/]")
    view = outcome.view
    name = _part(view, "profile").get("name") or "a customer"
    console.print()
    console.rule(f"[bold]{escape(str(name))}[/]")
    panels = [
        _panel("Profile", "cyan", _profile(_part(view, "profile")), _status(view, "profile")),
        _panel("Loyalty", "yellow", _loyalty(_part(view, "loyalty")), _status(view, "loyalty")),
        _panel("Feedback", "magenta", _feedback(_part(view, "feedback")), _status(view, "feedback")),
        _panel("Scoring", "green", _scoring(_part(view, "scoring")), _status(view, "scoring")),
    ]
    console.print(Columns(panels, equal=True, expand=True))
    console.print(f"[dim]GET /v1/customers/{view.get('customer_id')}/360[/]\n", highlight=False)


def _profile(body: Body) -> Table:
    table = _grid()
    for name, value in _part(body, "attributes").items():
        shown = value.get("value") if isinstance(value, dict) else value
        if name != "name":
            table.add_row(escape(name.replace("_", " ")), escape(str(shown)))
    for identity in body.get("identities") or []:
        where = f" [dim]at {escape(identity['source'])}[/]" if identity.get("source") else ""
        table.add_row(identity["kind"].replace("_", " "), f"{escape(identity['value'])}{where}")
    purchases = _part(body, "purchases")
    for total in purchases.get("totals") or []:
        spent = money(total.get("amount"), total.get("currency"))
        table.add_row("purchases", f"{total.get('count')} for {spent}")
    if purchases.get("first_at"):
        table.add_row("", f"{day(purchases['first_at'])} to {day(purchases['last_at'])}")
    for purchase in (body.get("recent_purchases") or [])[:RECENT]:
        paid = money(purchase.get("amount"), purchase.get("currency"))
        table.add_row(
            day(purchase["occurred_at"]), f"{paid:>14} [dim]{escape(purchase.get('channel') or '')}[/]"
        )
    return table


def _loyalty(body: Body) -> Table:
    table = _grid()
    if "balance" in body:
        table.add_row("balance", f"[bold]{body['balance']:,}[/] points")
    lifetime = _part(body, "lifetime")
    if lifetime:
        table.add_row("ever", f"{lifetime.get('earned', 0):,} earned, {lifetime.get('spent', 0):,} spent")
    expiry = _part(body, "next_expiry")
    if expiry:
        table.add_row("next expiry", f"{expiry.get('points', 0):,} on {day(expiry['expires_at'])}")
    for entry in (body.get("recent") or [])[:RECENT]:
        reason = entry.get("arithmetic") or entry.get("reason") or entry.get("kind") or ""
        table.add_row(day(entry["occurred_at"]), f"{entry['points']:>+8,} [dim]{escape(reason)}[/]")
    return table


def _feedback(body: Body) -> Table:
    table = _grid()
    mood = _part(body, "mood")
    if mood.get("average") is not None:
        table.add_row(f"mood, {mood.get('days', 90)} days", _mood(mood["average"]))
    for name, answer in _part(body, "surveys").items():
        if isinstance(answer, dict):
            table.add_row(
                name.upper(), f"{answer.get('score')} [dim]{escape(answer.get('touchpoint') or '')}[/]"
            )
    for ticket in (body.get("last_tickets") or [])[:RECENT]:
        words = " · ".join(
            str(ticket[key]) for key in ("kind", "category", "severity", "status") if key in ticket
        )
        table.add_row(day(ticket["occurred_at"]), words)
    return table


def _scoring(body: Body) -> Table:
    table = _grid()
    if body.get("segment"):
        table.add_row("segment", f"[bold]{body['segment']}[/]")
    rfm = _part(body, "rfm")
    if rfm:
        spent = _part(rfm, "monetary")
        table.add_row("RFM", f"[bold]{rfm.get('score')}[/]")
        table.add_row("", f"last {rfm.get('recency_days')} days ago, on {rfm.get('frequency')} days")
        table.add_row("", f"{money(spent.get('amount'), spent.get('currency'))} in all")
    if body.get("p_alive") is not None:
        table.add_row("P(alive)", _bar(body["p_alive"]))
    expected = _part(body, "expected_purchases")
    if expected:
        days = expected.get("horizon_days")
        table.add_row("expected", f"{expected['value']:.1f} purchases in {days} days")
    clv = _part(body, "clv")
    if clv:
        table.add_row(
            "CLV", f"{money(clv.get('amount'), clv.get('currency'))} in {clv.get('horizon_days')} days"
        )
    for unknown in body.get("unknown") or []:
        table.add_row(f"[dim]{unknown.get('what')}[/]", f"[dim]{unknown.get('why')}[/]")
    return table


def _panel(title: str, colour: str, content: Table, status: str) -> Panel:
    shown = content if content.row_count else Text("nothing known yet", style="dim")
    return Panel(shown, title=title, subtitle=f"[dim]{status}[/]", border_style=colour, title_align="left")


def _status(view: Body, section: str) -> str:
    about = _part(_part(_part(view, "meta"), "sections"), section)
    return " · ".join(str(about[key]) for key in ("status", "source") if about.get(key))


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _bar(share: float) -> str:
    full = round(share * BAR_CELLS)
    return f"[green]{'█' * full}[/][dim]{'░' * (BAR_CELLS - full)}[/] {share:.0%}"


def _mood(average: float) -> str:
    word, colour = next((word, colour) for limit, word, colour in MOODS if average < limit)
    return f"[{colour}]{word}[/] ({average:+.2f})"


def _part(body: Body, name: str) -> Body:
    """A member that is an object, or an empty one."""
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def money(amount: int | None, currency: str | None) -> str:
    """Minor units as people write them: 12900 CNY is CNY 129.00."""
    if amount is None:
        return "–"
    digits = 0 if currency in WITHOUT_MINOR_UNITS else MINOR_DIGITS
    return f"{currency} {amount / 10**digits:,.{digits}f}"


def day(moment: str) -> str:
    """The day of a timestamp."""
    return str(moment)[:10]
