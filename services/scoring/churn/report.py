"""What was learnt from a table as a report: quality, threshold, drivers, each customer's reasons. Pure."""

from dataclasses import asdict

import numpy as np

from services.scoring.churn.classifier import Classifier
from services.scoring.churn.fitting import Outcome
from services.scoring.churn.preparation import Options
from services.scoring.churn.rules import Judged
from services.scoring.churn.schemas import (
    CalibrationOut,
    ChurnReport,
    ColumnOut,
    CustomerOut,
    DriverOut,
    LiftOut,
    QualityOut,
    ReasonOut,
    ThresholdOut,
)
from services.scoring.churn.table import Table, is_missing, read_label, read_text

RISK_DIGITS = 6
DRIVER_ROWS = 2_000
METHODS = {
    "logistic": "a column's part of the log-odds, less that of the average customer",
    "boosting": "the log-odds less what they would be were the column's value the typical one: the median, "
    "or the most frequent category",
}


def report_of(table: Table, options: Options, outcome: Outcome, customers: int) -> ChurnReport:
    """The report of what was learnt; `customers` of the table, the likeliest to leave first."""
    data = outcome.data
    return ChurnReport(
        **_quality(outcome.judged[outcome.chosen]).model_dump(),
        label=options.label,
        rows=table.rows,
        used=int(data.left.size),
        dropped=data.dropped,
        base_rate=float(data.left.mean()),
        columns=[ColumnOut(**asdict(one)) for one in data.seen],
        split=data.split,
        folds=len(data.folds),
        calibration_method=outcome.calibration,
        models={name: _quality(judged) for name, judged in outcome.judged.items()},
        chosen=outcome.chosen,
        why=outcome.why,
        threshold=ThresholdOut(**asdict(outcome.threshold)),
        drivers=_drivers(outcome.classifier, data.table),
        reasons_method=METHODS[outcome.chosen],
        warnings=data.warnings,
        customers=_customers(table, options, outcome, customers),
    )


def _quality(judged: Judged) -> QualityOut:
    said = asdict(judged)
    tenths = said.pop("deciles")
    return QualityOut(
        **said,
        calibration=[CalibrationOut(**tenth) for tenth in tenths],
        lift=[LiftOut(**tenth) for tenth in tenths],
    )


def _drivers(classifier: Classifier, table: Table) -> list[DriverOut]:
    some = table.taken(range(min(table.rows, DRIVER_ROWS)))
    size = np.abs(classifier.contributions(classifier.encode(some))).mean(axis=0)
    return [
        DriverOut(column=classifier.columns[place].name, mean_contribution=round(float(size[place]), 4))
        for place in np.argsort(-size, kind="stable").tolist()
    ]


def _customers(table: Table, options: Options, outcome: Outcome, limit: int) -> list[CustomerOut]:
    features = outcome.classifier.encode(table)
    log_odds = outcome.classifier.log_odds(features)
    risk = np.round(outcome.classifier.risk(features), RISK_DIGITS)
    ids = [str(row) for row in range(1, table.rows + 1)]
    if options.id is not None:
        ids = [read_text(cell) for cell in table.columns[options.id]]
    order = sorted(range(table.rows), key=lambda row: (-risk[row], -log_odds[row], ids[row]))[:limit]
    some = table.taken(order)
    reasons = outcome.classifier.reasons(some, features[order])
    labels = some.columns[options.label]
    cut = outcome.threshold.risk
    return [
        CustomerOut(
            id=ids[row],
            risk=float(risk[row]),
            above=cut is not None and bool(risk[row] >= cut),
            label=None if is_missing(cell) else bool(read_label(cell, options.positive)),
            reasons=[ReasonOut(**asdict(reason)) for reason in why],
        )
        for row, cell, why in zip(order, labels, reasons, strict=True)
    ]
