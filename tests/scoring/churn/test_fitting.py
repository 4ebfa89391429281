"""Learning from tables whose truth is known: drivers, quality, order, refusals and the same numbers twice."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from services.scoring.churn import rules
from services.scoring.churn.classifier import Classifier, Logistic
from services.scoring.churn.fitting import learn
from services.scoring.churn.preparation import (
    NoUsableColumn,
    OneClass,
    Options,
    TimeDoesNotSplit,
    TooFewRows,
    prepare,
)
from services.scoring.churn.report import report_of
from services.scoring.churn.rules import Terms
from services.scoring.churn.table import Cell, LabelNotBinary, NoSuchColumn, Table
from tests.scoring.churn.made import customers

OPTIONS = Options("left", id="customer")


def auc(left: Sequence[float], risk: Sequence[float]) -> float:
    """The share of pairs of one who left and one who stayed that are ranked rightly."""
    order = np.argsort(risk, kind="stable")
    ranks = np.empty(order.size)
    ranks[order] = np.arange(1, order.size + 1)
    gone = np.asarray(left) == 1
    return float((ranks[gone].sum() - gone.sum() * (gone.sum() + 1) / 2) / gone.sum() / (~gone).sum())


def test_planted_drivers_are_found_and_named() -> None:
    made = customers(1000)
    outcome = learn(made.table, OPTIONS)
    report = report_of(made.table, OPTIONS, outcome, made.table.rows)
    best = auc(made.left.tolist(), made.risk.tolist())
    assert outcome.chosen == "logistic"
    assert best - 0.03 < report.auc < best + 0.01
    assert report.auc_error == pytest.approx(0.0145, abs=0.004)
    assert report.brier < report.brier_base_rate - 0.03
    assert report.calibration_error < 0.06
    assert [tenth.customers for tenth in report.calibration] == [100] * 10
    assert report.lift[0].lift > 1.4
    assert report.lift[-1].captured == 1
    assert {driver.column for driver in report.drivers[:3]} == {"contract", "months", "calls"}
    assert report.columns[0].name == "calls"
    assert next(one for one in report.columns if one.name == "months").missing > 70
    at_most, at_least = report.customers[0], report.customers[-1]
    assert "contract is monthly: raises the risk" in [r.words for r in at_most.reasons]
    assert all(reason.effect == "lowers" for reason in at_least.reasons)
    risks = np.array([c.risk for c in sorted(report.customers, key=lambda c: int(c.id[1:]))])
    assert np.abs(risks - made.risk).mean() < 0.08  # the months of a tenth are not known
    # The classifier from its JSON gives the same, to those of whom it knows little too.
    kept = Classifier.from_json(json.loads(json.dumps(outcome.classifier.as_json())))
    strangers = Table({"contract": ["weekly", None], "months": ["soon", float("inf")]}, 2)
    assert np.array_equal(
        kept.risk(kept.encode(strangers)), outcome.classifier.risk(outcome.classifier.encode(strangers))
    )
    assert isinstance(kept.head, Logistic)


def test_boosting_serves_where_a_weighted_sum_cannot_say_it() -> None:
    made = customers(900, bend=1.5)
    # Split by time: each period is told from those before it.
    options = Options("left", time="joined", id="customer")
    outcome = learn(made.table, options)
    assert outcome.chosen == "boosting"
    assert outcome.judged["boosting"].auc > outcome.judged["logistic"].auc + rules.AUC_TOLERANCE
    assert (outcome.data.split, len(outcome.data.folds)) == ("time", 5)
    when = sorted(str(cell) for cell in made.table.columns["joined"])
    for known, tested in outcome.data.folds:
        assert when[known.max()] < when[tested.min()]
    report = report_of(made.table, options, outcome, 5)
    assert "were the column's value the typical one" in report.reasons_method
    assert {driver.column for driver in report.drivers[:3]} == {"contract", "months", "calls"}
    assert all(customer.reasons for customer in report.customers)
    assert "joined" not in {column.name for column in report.columns}
    kept = Classifier.from_json(json.loads(json.dumps(outcome.classifier.as_json())))
    features = kept.encode(made.table)
    assert np.array_equal(kept.risk(features), outcome.classifier.risk(features))


def test_what_determines_no_model_is_refused() -> None:
    good = dict(customers(60).table.columns)

    def with_column(name: str, cells: Sequence[Cell]) -> Table:
        return Table(good | {name: list(cells)}, 60)

    with pytest.raises(OneClass, match="All 60 labelled customers left"):
        prepare(with_column("left", [1] * 60), OPTIONS)
    with pytest.raises(TooFewRows, match="9 left and 51 stayed"):
        prepare(with_column("left", [True] * 9 + [False] * 51), OPTIONS)
    with pytest.raises(TooFewRows, match="40 rows have a label \\(20 have none\\)"):
        prepare(with_column("left", [1, 0] * 20 + [float("nan"), ""] * 10), OPTIONS)
    with pytest.raises(LabelNotBinary):
        prepare(with_column("left", ["active", "gone"] * 30), OPTIONS)
    with pytest.raises(NoSuchColumn, match="there is no column 'churned'"):
        prepare(Table(good, 60), Options("churned"))
    only = {"left": good["left"], "note": [f"note {n}" for n in range(60)], "one": [1] * 60}
    with pytest.raises(NoUsableColumn, match="note: nearly every row has a value of its own"):
        prepare(Table(only, 60), Options("left"))
    with pytest.raises(TimeDoesNotSplit):
        prepare(with_column("joined", ["2024-01-01"] * 60), Options("left", time="joined"))
    with pytest.raises(TimeDoesNotSplit, match="neither dates"):
        prepare(Table(good, 60), Options("left", time="contract"))


def test_a_column_that_tells_the_label_alone_is_warned_of() -> None:
    table = customers(200).table
    gone = [cell == "yes" for cell in table.columns["left"]]
    leaking = Table(
        {**table.columns, "closed on": ["2026-01-01" if g else None for g in gone], "status": gone}, 200
    )
    data = prepare(leaking, Options("left", id="customer", positive="Yes"))
    assert [warning.split(" tells")[0] for warning in data.warnings] == ["closed on", "status"]


def test_contacting_pays_from_cost_over_what_success_brings() -> None:
    rng = np.random.default_rng(1)
    risk = rng.random(1000)
    left = (rng.random(1000) < risk).astype(np.float64)
    even = rules.choose_threshold(risk, left, np.full(1000, 50.0), Terms(1, 0.1, 50))
    assert even.risk == pytest.approx(0.2)
    assert even.contacted == int((risk >= 0.2).sum())
    assert even.expected_gain == pytest.approx(float((risk[risk >= 0.2] * 5 - 1).sum()))
    assert even.observed_gain == pytest.approx(even.expected_gain, rel=0.1)
    assert even.observed_gain > even.gain_of_all
    dear = rules.choose_threshold(risk, left, np.full(1000, 5.0), Terms(1, 0.1, 5))
    assert (dear.risk, dear.contacted, dear.expected_gain) == (None, 0, 0.0)
    mixed = rules.choose_threshold(risk, left, np.where(risk > 0.5, 200.0, 1.0), Terms(1, 0.1, 50))
    assert mixed.risk == pytest.approx(0.5, abs=0.01)


def test_a_version_serves_when_it_knows_more_than_chance_and_no_less_than_before() -> None:
    assert rules.promote(0.8, 0.01, 0.2, None)[0]
    assert rules.promote(0.8, 0.01, 0.2, 0.21)[0]
    assert not rules.promote(0.8, 0.01, 0.2, 0.3)[0]
    assert not rules.promote(0.52, 0.02, 0.01, None)[0]
    assert not rules.promote(0.6, 0.02, -0.01, None)[0]
    assert rules.rearm_below(0.8, 0.1) == pytest.approx(0.7)
    assert rules.rearm_below(0.08, 0.1) == pytest.approx(0.04)
