"""`c360 points` and `c360 coupons`: what members have and where it came from, and codes in bulk."""

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TextIO
from urllib.parse import quote
from uuid import uuid4

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from infra.cli.client import Gateway
from infra.cli.show import JsonOption, console, print_json, print_table
from infra.data import Refused
from services.loyalty.earning.amounts import money

PAGE = 200
LONGEST_STATEMENT = 10_000
MOST_CODES = 1_000_000
LOOK_AGAIN_S = 0.5
PATIENCE_S = 60.0  # without a single new code

Customer = Annotated[str, typer.Argument(help="Their id, or their e-mail address.")]
CodesFile = Annotated[Path | None, typer.Option("--file", help="For the codes; standard output if unset.")]

points = typer.Typer(no_args_is_help=True, help="Points: what a member has and why, and what all have.")
coupons = typer.Typer(no_args_is_help=True, help="Coupon codes in bulk.")


def mount(app: typer.Typer) -> None:
    """Add these groups of commands."""
    app.add_typer(points, name="points")
    app.add_typer(coupons, name="coupons")


@points.command("show")
def show(customer: Customer, as_json: JsonOption = False) -> None:
    """Show what a member has: balance, tier, and the lots in the order in which they will be spent.

    Example: c360 points show lilei@example.com
    """
    member, lots, tiers = asyncio.run(_member(customer))
    if as_json:
        print_json({"member": member, "lots": lots})
        return
    counted = ", ".join(f"{member[name]:,} {name}" for name in ("pending", "held", "owed") if member[name])
    console.print(f"[bold]{member['balance']:,} points[/]{', ' if counted else ''}{counted}", highlight=False)
    console.print(_tier(member["tier"], tiers["currency"]), highlight=False, markup=False)
    print_table(
        [
            {
                **lot,
                "earned": _minute(lot["earned_at"]),
                "expires": _minute(lot["expires_at"]) if lot["expires_at"] else "never",
            }
            for lot in lots
        ],
        ("remaining", "points", "earned", "expires", "reason", "transfer_id"),
        empty="no points left",
    )


@points.command("statement")
def statement(
    customer: Customer,
    account: Annotated[str, typer.Option(help="available, pending or held")] = "available",
    limit: Annotated[int, typer.Option(min=1, max=LONGEST_STATEMENT, help="How many lines.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show the statement, newest first: each line with its rule, its arithmetic and the balance after it.

    The whole of it as CSV: curl -H 'Accept: text/csv' $C360_URL/v1/loyalty/ID/entries

    Example: c360 points statement lilei@example.com --limit 20
    """
    lines = asyncio.run(_statement(customer, account, limit))
    if as_json:
        print_json(lines)
    else:
        columns = ("occurred", "points", "balance", "reason", "rule", "arithmetic", "transfer_id")
        told = [{**line, "occurred": _minute(line["occurred_at"])} for line in lines]
        print_table(told, columns, empty="nothing was posted")


@points.command("liability")
def liability(
    since: Annotated[
        str | None, typer.Option("--from", help="A day, or a time with its zone; 30 days ago if unset.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Likewise; now if unset.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the programme owes its members, by month of expiry, and what moved in a period.

    Example: c360 points liability --from 2026-01-01 --to 2026-02-01
    """
    asked = {name: value for name, value in (("from", since), ("to", to)) if value is not None}
    found = asyncio.run(_get("/v1/loyalty/liability", **asked))
    if as_json:
        print_json(found)
        return
    cost = found["cost"]
    console.print(
        f"[bold]{found['points']:,} points[/] outstanding, at a cost of "
        f"{money(cost['amount'], cost['currency'])}; {found['expected_breakage']:,} will likely expire",
        highlight=False,
    )
    months = [
        {
            **month,
            "month": month["month"] or "never expire",
            "cost": money(month["cost"], cost["currency"]),
        }
        for month in found["by_expiry"]
    ]
    print_table(months, ("month", "points", "cost"), empty="nothing is outstanding")
    moved = found["period"]
    console.print(f"{_minute(moved['from'])} to {_minute(moved['to'])}", highlight=False)
    names = ("opening", "earned", "spent", "expired", "adjusted", "reversed", "closing")
    print_table([moved], names, empty="")


@coupons.command("issue")
def issue(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's id.")],
    count: Annotated[int, typer.Argument(min=1, max=MOST_CODES, help="How many codes.")],
    file: CodesFile = None,
) -> None:
    """Have codes made, watch it, and write them one to a line.

    The service makes them whether we watch or not: after an interruption `c360 coupons export` goes on.

    Example: c360 coupons issue 0198c5b2-... 100000 --file codes.txt
    """
    asyncio.run(_issue(campaign, count, file))


@coupons.command("export")
def export(
    issued: Annotated[str, typer.Argument(metavar="ISSUE", help="Its id, as `c360 coupons issue` said.")],
    file: CodesFile = None,
) -> None:
    """Write the codes of an issue one to a line; waits until all are made.

    Example: c360 coupons export 0198c5b2-... --file codes.txt
    """
    asyncio.run(_export(issued, file))


def _tier(tier: Mapping[str, Any], currency: str | None) -> str:
    """Where a member stands; `currency`: in which what qualifies is counted, None for points."""
    following = tier["next"]
    said = f"tier {tier['name']}"
    if following is not None:
        missing = following["missing"]
        more = f"{missing:,} points" if currency is None else money(missing, currency)
        said += f"; {more} more to {following['name']}"
    if tier["falls_at"]:
        said += f"; falls on {_minute(tier['falls_at'])} unless more is bought"
    return said


def _minute(time: str) -> str:
    """A time of an answer, in UTC, as a person reads it."""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


async def _get(path: str, **query: Any) -> Any:
    async with Gateway() as gateway:
        return await gateway.get(path, params=query)


async def _member(customer: str) -> tuple[Any, list[Any], Any]:
    """What a customer has, their lots, and the tiers there are."""
    async with Gateway() as gateway:
        path = f"/v1/loyalty/{await _id_of(gateway, customer)}"
        member = await gateway.get(path)
        lots = await gateway.get(f"{path}/lots", params={"limit": PAGE})
        return member, lots["items"], await gateway.get("/v1/tiers")


async def _statement(customer: str, account: str, limit: int) -> list[Any]:
    async with Gateway() as gateway:
        path = f"/v1/loyalty/{await _id_of(gateway, customer)}/entries"
        lines: list[Any] = []
        query: dict[str, Any] = {"account": account}
        while len(lines) < limit:
            page = await gateway.get(path, params={**query, "limit": min(PAGE, limit - len(lines))})
            lines += page["items"]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        return lines


async def _id_of(gateway: Gateway, customer: str) -> str:
    """The id, as part of a path; an address is looked up."""
    if "@" not in customer:
        return quote(customer, safe="")
    found = await gateway.get("/v1/customers/360", params={"email": customer})
    return str(found["customer_id"])


async def _issue(campaign: str, count: int, file: Path | None) -> None:
    async with Gateway() as gateway:
        # One key for all attempts of this call: a repeat after a lost answer makes no second issue.
        made = await gateway.post(
            f"/v1/coupon-campaigns/{quote(campaign, safe='')}/issues",
            json={"count": count},
            headers={"Idempotency-Key": str(uuid4())},
        )
        print(f"issue {made['id']}", file=sys.stderr)
        await _write_codes(gateway, made["id"], file)


async def _export(issued: str, file: Path | None) -> None:
    async with Gateway() as gateway:
        await _write_codes(gateway, quote(issued, safe=""), file)


async def _write_codes(gateway: Gateway, issued: str, file: Path | None) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        made = await _made(gateway, issued, bar)
        task = bar.add_task("writing", total=made)
        out: TextIO = sys.stdout if file is None else stack.enter_context(file.open("w", encoding="ascii"))
        path: str | None = f"/v1/coupon-issues/{issued}/codes?format=csv"
        while path is not None:
            page = await gateway.send("GET", path)
            codes = [line for line in page.text.splitlines() if line != "code"]
            out.writelines(f"{code}\n" for code in codes)
            bar.advance(task, len(codes))
            path = page.links["next"]["url"] if "next" in page.links else None


async def _made(gateway: Gateway, issued: str, bar: Progress) -> int:
    """Wait until all codes of an issue are made; returns how many.

    Raises:
        Refused: none was made for a while.
    """
    task = bar.add_task("making", total=None)
    before, still_s = -1, 0.0
    while True:
        state = await gateway.get(f"/v1/coupon-issues/{issued}")
        bar.update(task, completed=state["issued"], total=state["wanted"])
        if state["status"] == "done":
            return int(state["issued"])
        still_s = still_s + LOOK_AGAIN_S if state["issued"] == before else 0.0
        if still_s > PATIENCE_S:
            raise Refused(
                f"No code was made for {PATIENCE_S:.0f} s; see `c360 jobs`, "
                f"then `c360 coupons export {issued}`."
            )
        before = state["issued"]
        await asyncio.sleep(LOOK_AGAIN_S)
