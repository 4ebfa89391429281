"""Whom a treatment moves: models of uplift, and how well they rank customers by it.

Two models: the chance of converting when treated less that when not, each learnt from its own arm. Class
transformation (Jaskowski & Jaroszewicz 2012, "Uplift modeling for clinical trial data", ICML workshop on
clinical data analysis): z = 1 for who was treated and converted, or was not and did not; with arms of equal
weight the uplift is 2 P(z = 1) - 1, so customers are weighted by one over their arm's size.

Ranking is judged on customers whom the model has not seen (cross-validation). The curve of incremental gains
of Radcliffe (2007), "Using control groups to target on predicted lift", Direct Marketing Analytics Journal,
14-21, is for the best so many customers: converted treated over all treated, less converted controls over all
controls; the diagonal to its end is ranking at random. The Qini coefficient is the area between the two, as
the R package uplift (Guelman) has it: 0 at random, in units of the conversion rate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from services.scoring.processes import one_thread

Floats = NDArray[np.float64]
Method = Literal["two_model", "class_transformation"]
Learner = Literal["logistic", "gradient_boosting"]

FOLDS = 5
SHUFFLES = 50  # random orders that show how far from 0 a Qini coefficient comes by chance
POINTS = 11
SEED = 20120626  # folds and shuffles are the same each time


@dataclass(frozen=True, slots=True)
class Fifth:
    """A fifth of the customers by predicted uplift, best first: the mean predicted, and what was observed."""

    customers: int
    predicted: float
    observed: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well a model ranks: `curve` and `random` are the gains at 0, 10, … 100 % of the customers.

    `by_chance` is what the best of as many random orders as there are models mostly (95 %) stays below.
    """

    method: Method
    learner: Learner
    qini: float
    by_chance: float
    curve: list[float]
    random: list[float]
    fifths: list[Fifth]


def rank(x: Floats, treated: NDArray[np.bool_], y: NDArray[np.bool_]) -> list[Ranking]:
    """All models of uplift, the best ranking first.

    Args:
        x: what was known before exposure, shape (n, features); nan where not known.
        treated: shape (n,).
        y: who converted, shape (n,).
    """
    with one_thread("sklearn.ensemble"):
        return _rank(_learners(), x, treated, y)


def gains(score: Floats, treated: NDArray[np.bool_], y: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The curve of incremental gains: the share of customers and the gain there, from (0, 0).

    Customers of equal score come together: between them the curve is straight, as at random.
    """
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), score.size - 1)
    won = np.where(treated, y / max(treated.sum(), 1), -(y / max((~treated).sum(), 1)))[order].cumsum()[ends]
    return np.append(0.0, (ends + 1) / score.size), np.append(0.0, won)


def qini(score: Floats, treated: NDArray[np.bool_], y: NDArray[np.bool_]) -> float:
    """The area between the curve of gains and the diagonal."""
    share, won = gains(score, treated, y)
    return float(np.trapezoid(won, share) - won[-1] / 2)


def _rank(
    learners: dict[Learner, Callable[[], Any]], x: Floats, treated: NDArray[np.bool_], y: NDArray[np.bool_]
) -> list[Ranking]:
    by_chance = _by_chance(treated, y, models=len(learners) * len(_METHODS))
    rankings = [
        _judge(
            _unseen(predict, make, x, treated, y),
            treated,
            y,
            method=method,
            learner=learner,
            by_chance=by_chance,
        )
        for learner, make in learners.items()
        for method, predict in _METHODS.items()
    ]
    return sorted(rankings, key=lambda ranking: -ranking.qini)


def _judge(
    score: Floats,
    treated: NDArray[np.bool_],
    y: NDArray[np.bool_],
    *,
    method: Method,
    learner: Learner,
    by_chance: float,
) -> Ranking:
    share, won = gains(score, treated, y)
    at = np.linspace(0, 1, POINTS)
    order = np.argsort(-score, kind="stable")
    return Ranking(
        method,
        learner,
        qini(score, treated, y),
        by_chance,
        [float(gain) for gain in np.interp(at, share, won)],
        [float(gain) for gain in at * won[-1]],
        [_fifth(some, score, treated, y) for some in np.array_split(order, 5)],
    )


def _fifth(some: NDArray[np.int64], score: Floats, treated: NDArray[np.bool_], y: NDArray[np.bool_]) -> Fifth:
    here, converted = treated[some], y[some]
    both = here.any() and not here.all()
    observed = float(converted[here].mean() - converted[~here].mean()) if both else None
    return Fifth(some.size, float(score[some].mean()), observed)


def _by_chance(treated: NDArray[np.bool_], y: NDArray[np.bool_], *, models: int) -> float:
    rng = np.random.default_rng(SEED)
    deviation = np.std([qini(rng.random(y.size), treated, y) for _ in range(SHUFFLES)])
    return float(NormalDist().inv_cdf(1 - 0.05 / models) * deviation)


def _unseen(
    predict: Callable[..., Floats],
    make: Callable[[], Any],
    x: Floats,
    treated: NDArray[np.bool_],
    y: NDArray[np.bool_],
) -> Floats:
    """Each customer's uplift as predicted by a model that was learnt from the others."""
    from sklearn.model_selection import StratifiedKFold

    found = np.empty(y.size)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    for seen, unseen in folds.split(x, treated * 2 + y):
        found[unseen] = predict(make, x[seen], treated[seen], y[seen], x[unseen])
    return found


def _two_model(
    make: Callable[[], Any], x: Floats, treated: NDArray[np.bool_], y: NDArray[np.bool_], others: Floats
) -> Floats:
    chances = [make().fit(x[arm], y[arm]).predict_proba(others)[:, 1] for arm in (treated, ~treated)]
    return np.asarray(chances[0] - chances[1], dtype=np.float64)


def _class_transformation(
    make: Callable[[], Any], x: Floats, treated: NDArray[np.bool_], y: NDArray[np.bool_], others: Floats
) -> Floats:
    weights = np.where(treated, 1 / treated.mean(), 1 / (~treated).mean()) / 2
    model = make()
    last = model.steps[-1][0]
    model.fit(x, treated == y, **{f"{last}__sample_weight": weights})
    return np.asarray(2 * model.predict_proba(others)[:, 1] - 1, dtype=np.float64)


def _learners() -> dict[Learner, Callable[[], Any]]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "logistic": lambda: make_pipeline(
            SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(max_iter=500),
        ),
        "gradient_boosting": lambda: make_pipeline(
            HistGradientBoostingClassifier(
                max_iter=40, max_leaf_nodes=8, min_samples_leaf=50, learning_rate=0.08, random_state=SEED
            )
        ),
    }


_METHODS: dict[Method, Callable[..., Floats]] = {
    "two_model": _two_model,
    "class_transformation": _class_transformation,
}
