"""Whom to contact, which model to trust, and how well it does. Pure: numpy in, small values out.

Customers are given as probabilities of leaving and what came, shape (n,) each.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from services.scoring.facts.histories import Floats

DECILES = 10
AUC_TOLERANCE = 0.01  # how much better the complicated model must rank at least to be chosen
SKILL_TOLERANCE = 0.02  # how much less a new version may explain and still serve
CHANCE_SIGMAS = 2.0  # an AUC nearer to a half than so many standard errors is chance


@dataclass(frozen=True, slots=True)
class Terms:
    """What keeping a customer costs and brings, in one unit of money.

    Contacting costs `contact_cost`; of those who would leave, the share `success_rate` stays for it, and each
    of them is worth `customer_value`.
    """

    contact_cost: float = 1.0
    success_rate: float = 0.2
    customer_value: float = 50.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which risk on contacting pays. `risk` is None where it never does.

    Gains are of these customers together: `expected_gain` by the probabilities, `observed_gain` by who did
    leave, `gain_of_all` were everyone contacted.
    """

    risk: float | None
    contacted: int
    expected_gain: float
    observed_gain: float
    gain_of_all: float
    contact_cost: float
    success_rate: float
    customer_value: float


@dataclass(frozen=True, slots=True)
class Decile:
    """A tenth of the customers, the most likely to leave first.

    `predicted` and `observed` are shares; `lift` is observed over that of all; `captured` is the share of
    all who left that is in this decile and those before it.
    """

    decile: int
    customers: int
    predicted: float
    observed: float
    left: int
    lift: float
    captured: float


@dataclass(frozen=True, slots=True)
class Judged:
    """How well a model does on customers whom it had not learnt from.

    `auc` is the mean over the folds and `auc_error` its standard error; `brier_base_rate` is the score of
    giving everyone the share of leavers that was known before. `skill` is 1 - brier / brier_base_rate.
    """

    auc: float
    auc_error: float
    brier: float
    brier_base_rate: float
    skill: float
    calibration_error: float
    deciles: tuple[Decile, ...]


def choose_threshold(risk: Floats, left: Floats, values: Floats, terms: Terms) -> Threshold:
    """The risk from which on contacting brings the most by the probabilities.

    Contacting a customer gains risk × success rate × value - cost. Where all are worth the same it pays
    exactly from cost / (success rate × value) on. `values` are what each is worth, shape (n,).
    """
    order = np.argsort(-risk, kind="stable")
    gains = np.cumsum(risk[order] * terms.success_rate * values[order] - terms.contact_cost)
    # Who is equally likely to leave is contacted together.
    last = np.append(np.diff(risk[order]) != 0, True)
    best = int(np.argmax(np.where(last, gains, -np.inf)))
    pays = bool(gains[best] > 0)
    chosen = order[: best + 1] if pays else order[:0]
    came = left * terms.success_rate * values - terms.contact_cost
    cut = float(risk[order[best]])
    if np.ptp(values) == 0 and terms.success_rate * values[0] > 0:
        cut = min(cut, terms.contact_cost / (terms.success_rate * float(values[0])))
    return Threshold(
        risk=round(cut, 6) if pays else None,
        contacted=chosen.size,
        expected_gain=float(gains[best]) if pays else 0.0,
        observed_gain=float(came[chosen].sum()),
        gain_of_all=float(came.sum()),
        contact_cost=terms.contact_cost,
        success_rate=terms.success_rate,
        customer_value=float(values.mean()),
    )


def deciles(risk: Floats, left: Floats) -> tuple[Decile, ...]:
    """Calibration and lift by tenths of the customers."""
    order = np.argsort(-risk, kind="stable")
    base, captured = float(left.mean()), 0
    found = []
    for number, rows in enumerate(np.array_split(order, DECILES), start=1):
        gone = int(left[rows].sum())
        captured += gone
        observed = gone / max(rows.size, 1)
        found.append(
            Decile(
                number,
                rows.size,
                float(risk[rows].mean()) if rows.size else 0.0,
                observed,
                gone,
                observed / base,
                captured / float(left.sum()),
            )
        )
    return tuple(found)


def judge(risk: Floats, left: Floats, base: Floats, aucs: list[float]) -> Judged:
    """The quality of predictions for customers not learnt from.

    `base` is the share of leavers among those learnt from, shape (n,); `aucs` are those of the folds. The
    AUC's standard error is that of Hanley, J. A. & McNeil, B. J. (1982), "The meaning and use of the area
    under a receiver operating characteristic (ROC) curve", Radiology 143(1), 29-36.
    """
    by_decile = deciles(risk, left)
    auc = float(np.mean(aucs))
    brier, reference = float(np.mean((risk - left) ** 2)), float(np.mean((base - left) ** 2))
    ones = float(left.sum())
    return Judged(
        auc=auc,
        auc_error=_auc_error(auc, ones, left.size - ones),
        brier=brier,
        brier_base_rate=reference,
        skill=1 - brier / reference,
        calibration_error=sum(d.customers * abs(d.predicted - d.observed) for d in by_decile) / left.size,
        deciles=by_decile,
    )


def choose(logistic: Judged, boosting: Judged) -> tuple[Literal["logistic", "boosting"], str]:
    """Which of the two serves, and why: the one that explains itself, unless the other ranks better.

    Better by more than the tolerance and by more than a standard error: chance does as much on few customers.
    """
    gap, asked = boosting.auc - logistic.auc, max(AUC_TOLERANCE, logistic.auc_error)
    if gap > asked:
        return "boosting", (
            f"its AUC is {gap:.4f} above that of the logistic regression, more than the {asked:.4f} that a "
            "model which explains itself is worth"
        )
    return "logistic", (
        f"boosting's AUC is {abs(gap):.4f} {'above' if gap > 0 else 'below'} its own; it would have to be "
        f"more than {asked:.4f} above to be worth a model that is harder to explain"
    )


def promote(auc: float, auc_error: float, skill: float, serving_skill: float | None) -> tuple[bool, str]:
    """Whether a new version serves, and why; `serving_skill` is that of the one of this label that does."""
    if auc - 0.5 <= CHANCE_SIGMAS * auc_error or skill <= 0:
        return False, (
            f"not promoted: with an AUC of {auc:.3f} and a skill of {skill:.3f} it knows no more than the "
            "share of leavers does"
        )
    if serving_skill is None:
        return True, "serves: no classifier of this label served before"
    if skill < serving_skill - SKILL_TOLERANCE:
        return (
            False,
            f"not promoted: its skill is {skill:.3f}, that of the one that serves {serving_skill:.3f}",
        )
    return True, f"serves: its skill is {skill:.3f}, that of the one before {serving_skill:.3f}"


def rearm_below(threshold: float, margin: float) -> float:
    """Below which risk a customer can come above the threshold anew: the margin, or half way to none."""
    return threshold - min(margin, threshold / 2)


def _auc_error(auc: float, positives: float, negatives: float) -> float:
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    return float(np.sqrt(max(spread, 0.0) / (positives * negatives)))
