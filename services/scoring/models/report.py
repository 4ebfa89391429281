"""All models side by side on one log: what they predict of a hold-out, as tables and as a chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from services.scoring.facts.histories import Purchased, Unit
from services.scoring.models import evaluation, gamma_gamma
from services.scoring.models.catalogue import OCCASION_KINDS, PURCHASE_KINDS
from services.scoring.models.chart import line_chart
from services.scoring.models.evaluation import Quality, SpendQuality
from services.scoring.models.gamma_gamma import GammaGamma
from shared.problems import Conflict

# What cannot be judged by a log of purchases, and why.
LEFT_OUT = {
    "shifted_beta_geometric": "is of subscribers, who renew or leave; a log of purchases does not say who "
    "has left. Fit it to cohorts: c360 score fit --model shifted_beta_geometric --csv COHORTS."
}


@dataclass(frozen=True, slots=True)
class Judged:
    """A model's log-likelihood on the calibration window and its quality, or why it refused."""

    model: str
    log_likelihood: float | None
    quality: Quality | SpendQuality | None
    refused: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All models on the same windows. Models of occasions count periods with a purchase."""

    calibration_end: str
    until: str
    unit: Unit
    models: tuple[Judged, ...]
    left_out: Mapping[str, str] = field(default_factory=lambda: dict(LEFT_OUT))


def compare(purchases: Sequence[Purchased], *, calibration_end: date, until: date, unit: Unit) -> Comparison:
    """Fit each model to the calibration window and judge it by the hold-out.

    Raises:
        ValueError: the hold-out is shorter than one unit of time.
    """
    judged: list[Judged] = []
    for kinds, occasions in ((PURCHASE_KINDS, False), (OCCASION_KINDS, True)):
        hold_out = evaluation.split(
            purchases, calibration_end=calibration_end, until=until, unit=unit, occasions=occasions
        )
        for name, kind in kinds.items():
            try:
                estimate = kind.fit(hold_out.folded())
            except Conflict as refusal:
                judged.append(Judged(name, None, None, refusal.detail))
                continue
            quality = evaluation.evaluate(kind.make(**estimate.params), hold_out)
            judged.append(Judged(name, estimate.log_likelihood, quality, None))
    try:
        later = evaluation.split_spending(purchases, calibration_end=calibration_end, until=until)
        spend = gamma_gamma.fit(later.spending)
        error = evaluation.evaluate_spend(GammaGamma(**spend.params), later)
        judged.append(Judged("gamma_gamma", spend.log_likelihood, error, None))
    except Conflict as refusal:
        judged.append(Judged("gamma_gamma", None, None, refusal.detail))
    return Comparison(str(calibration_end), str(until), unit, tuple(judged))


def print_tables(comparison: Comparison) -> None:
    """For people: quality of each model, then purchases in the hold-out by purchases before it."""
    from rich.table import Table

    from shared.terminal import output

    console = output()
    title = f"hold-out {comparison.calibration_end} to {comparison.until}, mean absolute error per customer"
    errors = Table("model", "of", "log-likelihood", "error", "heuristic", "customers", title=title)
    for one in comparison.models:
        if one.quality is None or one.log_likelihood is None:
            errors.add_row(one.model, "", "", f"refused: {one.refused}")
            continue
        errors.add_row(
            one.model,
            _measured(one),
            f"{one.log_likelihood:.1f}",
            f"{one.quality.error:.4f}",
            f"{one.quality.heuristic_error:.4f}",
            str(one.quality.customers),
        )
    console.print(errors)
    for name, why in comparison.left_out.items():
        console.print(f"{name} {why}")
    for counted, judged in _by_measure(comparison).items():
        first = judged[0][1]
        table = Table(
            "repeat purchases", "customers", "came", *(name for name, _ in judged), "heuristic",
            title=f"{counted} in the hold-out, mean per customer",
        )  # fmt: skip
        for number, group in enumerate(first.groups):
            predicted = [f"{quality.groups[number].predicted:.3f}" for _, quality in judged]
            table.add_row(
                group.name,
                str(group.customers),
                f"{group.bought:.3f}",
                *predicted,
                f"{group.heuristic:.3f}",
            )
        console.print(table)


def as_svg(comparison: Comparison) -> str:
    """The calibration by number of purchases of the models that count purchases, as a chart.

    Raises:
        ValueError: no model could be fitted.
    """
    judged = _by_measure(comparison).get("purchases", [])
    if not judged:
        raise ValueError("No model of purchases could be fitted, so there is nothing to draw.")
    groups = judged[0][1].groups
    lines = {"came": [group.bought for group in groups]}
    lines |= {name: [group.predicted for group in quality.groups] for name, quality in judged}
    lines["heuristic"] = [group.heuristic for group in groups]
    return line_chart(
        f"Hold-out {comparison.calibration_end} to {comparison.until}",
        "repeat purchases in the calibration window",
        "purchases per customer",
        [group.name for group in groups],
        lines,
    )


def _by_measure(comparison: Comparison) -> dict[str, list[tuple[str, Quality]]]:
    found: dict[str, list[tuple[str, Quality]]] = {}
    for one in comparison.models:
        if isinstance(one.quality, Quality):
            found.setdefault(_measured(one), []).append((one.model, one.quality))
    return found


def _measured(judged: Judged) -> str:
    if judged.model in OCCASION_KINDS:
        return "periods with a purchase"
    return "purchases" if judged.model in PURCHASE_KINDS else "value of a purchase"
