"""`c360 score recommend`: learn what goes with what from a log of items, and judge it. Needs no server."""

import csv as csv_files
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from services.scoring.facts.logs import CUSTOMER_COLUMNS, DATE_COLUMNS, UnreadableLog
from services.scoring.recommendations.rules import traits
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.problems import Problem

FIELDS = ScoringSettings.model_fields

app = typer.Typer()


@dataclass(frozen=True, slots=True)
class BoughtItem:
    """A row of the log."""

    customer: str
    on: date
    sku: str
    category: str | None


@app.command()
def recommend(
    *,
    csv: Annotated[
        Path,
        typer.Option(
            help="CSV: customer_id, date, sku and, if known, category.", exists=True, dir_okay=False
        ),
    ],
    split: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day to learn from when judging; three quarters in."),
    ] = None,
    customer: Annotated[str | None, typer.Option(help="Also print what to offer this customer.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Items to offer.")] = 10,
    half_life_days: Annotated[
        float, typer.Option(min=1, max=36500, help="A purchase this old counts half.")
    ] = FIELDS["recommend_half_life_days"].default,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Learn what goes with what from a purchase log, judged against what everybody buys."""
    try:
        answer = _learn(list(_read(csv)), split.date() if split else None, customer, limit, half_life_days)
    except Problem as problem:
        _refuse(f"{problem.title}: {problem.detail}")
    except (ValueError, OSError) as error:
        _refuse(str(error))
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        _print(answer)


def _learn(
    rows: list[BoughtItem], split_on: date | None, customer: str | None, limit: int, half_life_days: float
) -> dict[str, Any]:
    import numpy as np

    from services.scoring.recommendations import worker
    from services.scoring.recommendations.neighbours import Terms, best, learn, mix

    end = max((row.on for row in rows), default=date.max)
    first = min((row.on for row in rows), default=end)
    share = FIELDS["hold_out_share"].default
    split_days = (end - split_on).days if split_on else int((end - first).days * share)
    if split_days < 0:
        raise ValueError(f"--split lies after the log's last day, {end}.")
    skus, customers = sorted({row.sku for row in rows}), sorted({row.customer for row in rows})
    place = {sku: n for n, sku in enumerate(skus)}
    of = {name: n for n, name in enumerate(customers)}
    category: dict[str, str | None] = {}
    ages: dict[tuple[int, int], list[int]] = {}
    for row in sorted(rows, key=lambda row: row.on):
        category[row.sku] = row.category or category.get(row.sku)
        ages.setdefault((of[row.customer], place[row.sku]), []).append((end - row.on).days)
    keys = sorted(ages)
    seen = [min((age for age in ages[key] if age >= split_days), default=-1) for key in keys]
    terms = Terms(
        half_life_days,
        *(
            FIELDS[f"recommend_{name}"].default
            for name in ("neighbours", "support", "together", "alike", "popular")
        ),
    )
    task = worker.Task(
        customer=np.array([key[0] for key in keys], dtype=np.float64),
        item=np.array([key[1] for key in keys], dtype=np.float64),
        age_days=np.array([min(ages[key]) for key in keys], dtype=np.float64),
        seen_age_days=np.array(seen, dtype=np.float64),
        grouping=np.zeros(len(keys)),
        numbers=range(len(skus)),
        traits=[traits(category[sku], {}) for sku in skus],
        groups=1,
        split_days=split_days,
        terms=terms,
        version=1,
    )
    worker.check(task)
    learnt = worker.work(task)
    answer: dict[str, Any] = {
        "customers": learnt.customers,
        "items": learnt.items,
        "pairs": learnt.pairs,
        "split_on": str(end - timedelta(days=split_days)),
        "quality": learnt.quality,
    }
    if customer is not None:
        if customer not in of:
            raise ValueError(f"The log holds no purchase of {customer}.")
        pairs, _, group_of = worker.numbered(task)
        model = learn(pairs, task.traits, group_of, 1, terms)
        ((_, scores),) = mix(model, pairs, np.array([of[customer]]), group_of, terms)
        scores[0, pairs.item[pairs.customer == of[customer]]] = -1
        answer["recommendations"] = [
            {"sku": skus[item], "score": float(scores[0, item])}
            for item in best(scores, limit)[0]
            if scores[0, item] > 0
        ]
    return answer


def _read(path: Path) -> Iterator[BoughtItem]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            rows = csv_files.DictReader(lines)
            names = rows.fieldnames or []
            customer, on = (
                next((name for name in wanted if name in names), None)
                for wanted in (CUSTOMER_COLUMNS, DATE_COLUMNS)
            )
            if customer is None or on is None or "sku" not in names:
                raise UnreadableLog("The header needs the columns customer_id, date and sku.")
            for row in rows:
                yield _row(rows.line_num, row[customer], row[on], row["sku"], row.get("category"))
        except UnicodeDecodeError as error:
            raise UnreadableLog("The file is not UTF-8 text.") from error
        except csv_files.Error as error:
            raise UnreadableLog(f"The file is not CSV: {error}.") from error


def _row(
    number: int, customer: str | None, on: str | None, sku: str | None, category: str | None
) -> BoughtItem:
    try:
        day = date.fromisoformat((on or "")[:10])
    except ValueError as error:
        raise UnreadableLog(f"Line {number}: {on!r} is not a date (YYYY-MM-DD or YYYYMMDD).") from error
    if day > utc_now().date():
        raise UnreadableLog(f"Line {number}: {day} lies in the future.")
    if not (customer or "").strip() or not (sku or "").strip():
        raise UnreadableLog(f"Line {number} names no customer or no sku.")
    return BoughtItem(str(customer), day, str(sku), category or None)


def _print(answer: dict[str, Any]) -> None:
    from rich.table import Table

    from shared.terminal import output

    console = output()
    console.print(f"{answer['customers']} customers bought {answer['items']} items, {answer['pairs']} pairs")
    quality = answer["quality"]
    if quality is None:
        console.print("nobody bought anything new after the split, so there is nothing to judge by")
    else:
        k = quality["k"]
        table = Table(
            "", f"precision@{k}", f"recall@{k}", "hit rate", "coverage",
            title=f"learnt until {answer['split_on']}, judged by {quality['customers']} customers since",
        )  # fmt: skip
        for name in ("mixed", "popularity"):
            table.add_row(name, *(f"{number:.4f}" for number in quality[name].values()))
        console.print(table)
    for offer in answer.get("recommendations", []):
        console.print(f"{offer['score']:.4f}  {offer['sku']}")


def _refuse(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
