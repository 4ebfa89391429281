"""Results as a person and as a program reads them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.bench.figures import Figure, Spread

RESULTS = Path(__file__).with_name("results")
MARKS = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one benchmark: its figures, or why it failed."""

    name: str
    title: str
    against: str
    took_s: float
    figures: Sequence[Figure] = ()
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One run."""

    started_at: datetime
    effort: str
    machine: dict[str, str]
    outcomes: list[Outcome] = field(default_factory=list)


def as_json(report: Report) -> dict[str, Any]:
    """Everything, every repeat included."""
    return {
        "started_at": report.started_at.isoformat(timespec="seconds"),
        "effort": report.effort,
        "machine": report.machine,
        "benchmarks": [
            {
                "name": outcome.name,
                "title": outcome.title,
                "against": outcome.against,
                "took_s": round(outcome.took_s, 1),
                "failed": outcome.failed,
                "figures": [_figure_json(figure) for figure in outcome.figures],
            }
            for outcome in report.outcomes
        ],
    }


def as_markdown(report: Report) -> str:
    """A table with one line a figure; ratios are the point, absolute numbers tell the scale."""
    facts = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    lines = [
        f"# Benchmarks, {report.started_at:%Y-%m-%d %H:%M} UTC ({report.effort})",
        "",
        f"{facts}.",
        "",
        "| | figure | ours | yardstick | ratio (lowest to highest) | reach | reached |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for outcome in report.outcomes:
        lines += [_row(outcome, figure) for figure in outcome.figures]
        if outcome.failed is not None:
            lines.append(f"| {outcome.name} | {outcome.title} | failed | | | | **no** |")
    lines += ["", "What was measured, and against what:", ""]
    for outcome in report.outcomes:
        lines.append(f"- **{outcome.name}** {outcome.title}. Against: {outcome.against}.")
        lines += [f"  {figure.what}: {figure.note}." for figure in outcome.figures if figure.note]
        if outcome.failed is not None:
            lines.append(f"  Failed: {' '.join(outcome.failed.split())[:600]}")
    return "\n".join(lines) + "\n"


def write(report: Report, folder: Path = RESULTS) -> None:
    """latest.json and latest.md."""
    folder.mkdir(exist_ok=True)
    written = json.dumps(as_json(report), indent=2, ensure_ascii=False)
    (folder / "latest.json").write_text(written + "\n", encoding="utf-8")
    (folder / "latest.md").write_text(as_markdown(report), encoding="utf-8")


def _row(outcome: Outcome, figure: Figure) -> str:
    ours = number(Spread.of(figure.ours).median)
    theirs = number(Spread.of(figure.against).median) if figure.against else ""
    if figure.against:
        ratio = Spread.of(figure.ratios)
        said = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
    else:
        spread = Spread.of(figure.ours)
        said = f"({number(spread.low)} to {number(spread.high)})"
    cells = [outcome.name, figure.what, ours, theirs, said, str(figure.reach or ""), MARKS[figure.reached]]
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _figure_json(figure: Figure) -> dict[str, Any]:
    said: dict[str, Any] = {
        "what": figure.what,
        "ours": _spread_json(figure.ours),
        "reach": str(figure.reach) if figure.reach else None,
        "reached": figure.reached,
        "note": figure.note or None,
    }
    if figure.against:
        said |= {"against": _spread_json(figure.against), "ratio": _spread_json(figure.ratios)}
    return said


def _spread_json(values: Sequence[float]) -> dict[str, Any]:
    return asdict(Spread.of(values)) | {"runs": list(values)}
