"""Learning who leaves from a table with a label: two models, judged on customers they have not seen.

A logistic regression, which explains itself, and gradient boosting, both behind the same encoding of the
columns and calibrated (scikit-learn). Runs in a process of its own: see `worker`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from services.scoring.churn import rules
from services.scoring.churn.classifier import Boosting, Calibration, Classifier, Column, Logistic, Tree
from services.scoring.churn.preparation import Data, Ints, Options, least_of_level, prepare
from services.scoring.churn.rules import Judged
from services.scoring.churn.table import Table
from services.scoring.facts.histories import Floats
from services.scoring.processes import one_thread

Name = Literal["logistic", "boosting"]
NAMES: tuple[Name, Name] = ("logistic", "boosting")

SEED = 20260701
INNER_FOLDS = 3
ISOTONIC_FROM = 1_000  # of the rarer class: scikit-learn advises against isotonic calibration with far fewer
MOST_LEVELS = 20
AGREEMENT = 1e-6  # how exactly the exported classifier gives the library's probabilities


@dataclass(frozen=True, slots=True)
class Outcome:
    """The classifier that was chosen, how well each does on those it had not seen, and from when it pays."""

    classifier: Classifier
    judged: dict[Name, Judged]
    chosen: Name
    why: str
    threshold: rules.Threshold
    data: Data
    calibration: str


def learn(table: Table, options: Options) -> Outcome:
    """Fit both models, judge them by cross-validation, and keep the one that the rule chooses.
    Raises:
        NoSuchColumn, LabelNotBinary: the options do not fit the table.
        TooFewRows, OneClass, NoUsableColumn, TimeDoesNotSplit: the table does not determine a model.
    """
    data = prepare(table, options)
    with one_thread("sklearn.ensemble"):
        predicted: dict[Name, Floats] = {name: _predict_unseen(name, data) for name in NAMES}
        judged = {name: _judged(data, risk) for name, risk in predicted.items()}
        chosen, why = rules.choose(judged["logistic"], judged["boosting"])
        model = _model(chosen, data, data.left)
        model.fit(data.features, data.left)
        classifier = export(model, data)
    tested = ~np.isnan(predicted[chosen])
    threshold = rules.choose_threshold(
        predicted[chosen][tested], data.left[tested], data.values[tested], options.terms
    )
    return Outcome(classifier, judged, chosen, why, threshold, data, _method(data.left))


def export(model: Any, data: Data) -> Classifier:
    """The fitted model as plain numbers, checked to give the same probabilities.

    Reads the trees of scikit-learn's gradient boosting from where it keeps them, which is no public place:
    the check is what stands between a change there and a wrong risk.

    Raises:
        RuntimeError: it does not.
    """
    fitted = model.calibrated_classifiers_[0]
    encoder, head = fitted.estimator.steps[0][1], fitted.estimator.steps[1][1]
    columns, order = _exported_columns(encoder, data)
    calibrator = fitted.calibrators[0]
    if hasattr(calibrator, "X_thresholds_"):
        calibration = Calibration(
            x=_floats(calibrator.X_thresholds_),
            y=_floats(calibrator.y_thresholds_),
            doubt=_doubt(data.left),
        )
    else:
        calibration = Calibration(a=float(calibrator.a_), b=float(calibrator.b_))
    if hasattr(head, "coef_"):
        average = encoder.transform(data.features).mean(axis=0)[order]
        own: Logistic | Boosting = Logistic(
            float(head.intercept_[0]), _floats(head.coef_[0][order]), _floats(average)
        )
    else:
        place = np.argsort(order)
        own = Boosting(
            float(np.ravel(head._baseline_prediction)[0]),
            tuple(_tree(tree.nodes, place) for (tree,) in head._predictors),
        )
    classifier = Classifier(tuple(columns), own, calibration)
    told = classifier.risk(classifier.encode(data.table))
    if not np.allclose(told, _risk(model, data.features, data.left), rtol=0, atol=AGREEMENT):
        raise RuntimeError("the exported classifier differs from the fitted one")
    return classifier


def _model(name: Name, data: Data, left: Floats) -> Any:
    """A calibrated model that is not fitted yet; one calibrator over predictions for unseen rows."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    of_levels = [n for n, kind in enumerate(data.kinds) if kind == "category"]
    of_numbers = [n for n, kind in enumerate(data.kinds) if kind != "category"]
    filled = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    coded = OneHotEncoder(
        min_frequency=least_of_level(data.table.rows),
        max_categories=MOST_LEVELS,
        handle_unknown="infrequent_if_exist",
        sparse_output=False,
    )
    encoder = ColumnTransformer(
        [
            ("numbers", Pipeline([("fill", filled), ("scale", StandardScaler())]), of_numbers),
            ("levels", coded, of_levels),
        ]
    )
    head: Any
    if name == "logistic":
        head = LogisticRegression(max_iter=2_000)
    else:
        head = HistGradientBoostingClassifier(
            max_iter=100,
            max_leaf_nodes=8,
            max_depth=4,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=SEED,
        )
    return CalibratedClassifierCV(
        Pipeline([("encode", encoder), ("model", head)]),
        method=_method(left),
        cv=StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=SEED),
        ensemble=False,
    )


def _method(left: Floats) -> str:
    rarer = min(left.sum(), left.size - left.sum())
    return "isotonic" if rarer >= ISOTONIC_FROM else "sigmoid"


def _doubt(left: Floats) -> float:
    """How near to certainty a risk may be: as after having seen all of the rarer class agree."""
    rarer = min(left.sum(), left.size - left.sum())
    return 1 / (float(rarer) + 2) if _method(left) == "isotonic" else 0.0


def _risk(model: Any, features: Floats, left: Floats) -> Floats:
    """What a model that was fitted to these labels says, shape (n,)."""
    doubt = _doubt(left)
    told: Floats = np.clip(model.predict_proba(features)[:, 1], doubt, 1 - doubt)
    return told


def _predict_unseen(name: Name, data: Data) -> Floats:
    """The risk of each row by models that have not seen it, nan where it is in no test, shape (n,)."""
    risk = np.full(data.left.size, np.nan)
    for known, tested in data.folds:
        model = _model(name, data, data.left[known])
        model.fit(data.features[known], data.left[known])
        risk[tested] = _risk(model, data.features[tested], data.left[known])
    return risk


def _judged(data: Data, risk: Floats) -> Judged:
    from sklearn.metrics import roc_auc_score

    base = np.full(risk.size, np.nan)
    aucs = []
    for known, tested in data.folds:
        base[tested] = data.left[known].mean()
        aucs.append(float(roc_auc_score(data.left[tested], risk[tested])))
    all_tested = ~np.isnan(risk)
    return rules.judge(risk[all_tested], data.left[all_tested], base[all_tested], aucs)


def _exported_columns(encoder: Any, data: Data) -> tuple[list[Column], Ints]:
    """The columns, and where each of their features is among the library's."""
    columns: list[Column] = []
    places: list[int] = []
    of_numbers = [n for n, kind in enumerate(data.kinds) if kind != "category"]
    of_levels = [n for n, kind in enumerate(data.kinds) if kind == "category"]
    start = 0
    if of_numbers:
        steps = encoder.named_transformers_["numbers"].named_steps
        fill, scale = steps["fill"], steps["scale"]
        indicated = list(fill.indicator_.features_)
        for n, column in enumerate(of_numbers):
            places.append(n)
            missing = None
            if n in indicated:
                at = len(of_numbers) + indicated.index(n)
                places.append(at)
                missing = (float(scale.mean_[at]), float(scale.scale_[at]))
            columns.append(
                Column(
                    data.names[column],
                    data.kinds[column],
                    float(fill.statistics_[n]),
                    fill=float(fill.statistics_[n]),
                    centre=float(scale.mean_[n]),
                    scale=float(scale.scale_[n]),
                    missing=missing,
                )
            )
        start = len(of_numbers) + len(indicated)
    if of_levels:
        coded = encoder.named_transformers_["levels"]
        for n, column in enumerate(of_levels):
            name = data.names[column]
            rare = coded.infrequent_categories_[n]
            hidden = set() if rare is None else set(rare.tolist())
            kept = [int(code) for code in coded.categories_[n].tolist() if code not in hidden]
            codes = data.features[:, column].astype(np.int64)
            typical = data.levels[name][int(np.bincount(codes).argmax())]
            made = Column(
                name,
                "category",
                typical,
                levels=tuple(data.levels[name][code] for code in kept),
                rare=bool(hidden),
            )
            columns.append(made)
            places.extend(range(start, start + made.width))
            start += made.width
    return columns, np.array(places, dtype=np.int64)


def _tree(nodes: Any, place: Ints) -> Tree:
    """A tree of scikit-learn's gradient boosting; its leaves lead to themselves."""
    own = np.arange(nodes.size)
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        tuple(np.where(leaf, 0, place[nodes["feature_idx"] * ~leaf]).tolist()),
        tuple(np.where(leaf, 0.0, nodes["num_threshold"]).tolist()),
        tuple(np.where(leaf, own, nodes["left"]).tolist()),
        tuple(np.where(leaf, own, nodes["right"]).tolist()),
        tuple(nodes["value"].tolist()),
        int(nodes["depth"].max()),
    )


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in np.ravel(values))
