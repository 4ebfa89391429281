"""A fitted classifier of who leaves: it turns attributes into a risk and into the reasons for it. Pure.

Plain numbers that numpy predicts with, made by `fitting` and kept as JSON: whoever scores a customer loads
no model library, runs no code that was stored, and holds no customer's row. A number counts as its distance
from the mean in standard deviations, a missing one as the median and as missing; a category as its level.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from services.scoring.churn.table import (
    MISSING,
    Cell,
    ColumnKind,
    Table,
    is_missing,
    numbers,
    read_text,
    write_date,
)
from services.scoring.facts.histories import Floats

MOST_REASONS = 3
LEAST_CONTRIBUTION = 0.05  # in log-odds: what moves the risk less is no reason


@dataclass(frozen=True, slots=True)
class Column:
    """How one column counts. `typical` is the median of numbers, the most frequent of levels.

    Of numbers: `fill` stands in where missing, `centre` and `scale` standardise; `missing` are those two for
    being missing, None where no value was. Of categories: `levels` are those frequent enough to tell apart,
    `rare` says whether there is a place for all others.
    """

    name: str
    kind: ColumnKind
    typical: float | str
    fill: float = 0.0
    centre: float = 0.0
    scale: float = 1.0
    missing: tuple[float, float] | None = None
    levels: tuple[str, ...] = ()
    rare: bool = False

    @property
    def width(self) -> int:
        """How many features the column makes."""
        if self.kind == "category":
            return len(self.levels) + self.rare
        return 1 if self.missing is None else 2

    def encode(self, cells: Sequence[Cell]) -> Floats:
        """The features of these cells, shape (n, width)."""
        if self.kind != "category":
            return self.standardised(numbers(cells, self.kind))
        place = {level: n for n, level in enumerate(self.levels)}
        other = len(self.levels) if self.rare else -1
        places = np.array([place.get(read_text(cell), other) for cell in cells], dtype=np.int64)
        encoded = np.zeros((places.size, self.width))
        known = places >= 0
        encoded[np.flatnonzero(known), places[known]] = 1.0
        return encoded

    def standardised(self, values: Floats) -> Floats:
        """The features of numbers, nan where missing, shape (n, width)."""
        unknown = np.isnan(values)
        features = [(np.where(unknown, self.fill, values) - self.centre) / self.scale]
        if self.missing is not None:
            features.append((unknown - self.missing[0]) / self.missing[1])
        return np.stack(features, axis=1)


@dataclass(frozen=True, slots=True)
class Logistic:
    """Log-odds as a weighted sum. `average` are the mean features of whom it was fitted to."""

    intercept: float
    weights: tuple[float, ...]
    average: tuple[float, ...]
    kind: Literal["logistic"] = "logistic"


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree in arrays by node; a leaf is its own left and right."""

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]
    depth: int


@dataclass(frozen=True, slots=True)
class Boosting:
    """Log-odds as a sum of trees."""

    baseline: float
    trees: tuple[Tree, ...]
    kind: Literal["boosting"] = "boosting"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Log-odds to probabilities: 1 / (1 + e^(a·f + b)), or straight lines between the points (x, y).

    None is nearer to certainty than `doubt`: the lines end where nobody, or everybody, happened to leave.
    """

    a: float = -1.0
    b: float = 0.0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    doubt: float = 0.0

    def __call__(self, log_odds: Floats) -> Floats:
        """Probabilities, shape (n,)."""
        if self.x:
            told = np.interp(log_odds, self.x, self.y).astype(np.float64)
            return np.clip(told, self.doubt, 1 - self.doubt)
        with np.errstate(over="ignore"):
            probability: Floats = 1 / (1 + np.exp(self.a * log_odds + self.b))
        return probability


@dataclass(frozen=True, slots=True)
class Reason:
    """What a column does to a customer's risk; `contribution` in log-odds."""

    column: str
    value: str
    effect: Literal["raises", "lowers"]
    contribution: float
    words: str


@dataclass(frozen=True, slots=True)
class Classifier:
    """Columns, what is made of them, and how that becomes a probability."""

    columns: tuple[Column, ...]
    head: Logistic | Boosting
    calibration: Calibration

    def encode(self, table: Table) -> Floats:
        """The features of all rows, shape (n, features); a column that is not there is missing."""
        nothing: list[Cell] = [None] * table.rows
        return np.concatenate(
            [column.encode(table.columns.get(column.name, nothing)) for column in self.columns], axis=1
        )

    def log_odds(self, features: Floats) -> Floats:
        """Before calibration, shape (n,)."""
        if isinstance(self.head, Logistic):
            linear: Floats = features @ np.array(self.head.weights) + self.head.intercept
            return linear
        return _boosted(self.head, features)

    def risk(self, features: Floats) -> Floats:
        """The probability of leaving, shape (n,)."""
        return self.calibration(self.log_odds(features))

    def contributions(self, features: Floats) -> Floats:
        """What each column adds to a customer's log-odds, shape (n, columns).

        Logistic: its weighted features less those of the average customer. Boosting: the log-odds less what
        they would be were the column's value the typical one.
        """
        found = np.zeros((features.shape[0], len(self.columns)))
        whole = self.log_odds(features)
        start = 0
        for place, column in enumerate(self.columns):
            own = slice(start, start + column.width)
            start += column.width
            if isinstance(self.head, Logistic):
                weights, average = np.array(self.head.weights[own]), np.array(self.head.average[own])
                found[:, place] = (features[:, own] - average) @ weights
            else:
                usual = features.copy()
                usual[:, own] = _typical(column)
                found[:, place] = whole - self.log_odds(usual)
        return found

    def reasons(self, table: Table, features: Floats) -> list[list[Reason]]:
        """What moves each customer's risk most, in words."""
        found = self.contributions(features)
        order = np.argsort(-np.abs(found), axis=1, kind="stable")[:, :MOST_REASONS]
        return [
            [
                self._reason(self.columns[place], table, row, found[row, place])
                for place in places
                if abs(found[row, place]) >= LEAST_CONTRIBUTION
            ]
            for row, places in enumerate(order.tolist())
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "Classifier":
        """The classifier that `as_json` wrote."""
        head = dict(said["head"])
        logistic = head["kind"] == "logistic"
        if not logistic:
            head["trees"] = tuple(Tree(**tree) for tree in head["trees"])
        return cls(
            tuple(Column(**column) for column in said["columns"]),
            Logistic(**head) if logistic else Boosting(**head),
            Calibration(**said["calibration"]),
        )

    @staticmethod
    def _reason(column: Column, table: Table, row: int, contribution: float) -> Reason:
        cells = table.columns.get(column.name)
        value, words = _said(column, None if cells is None else cells[row])
        effect: Literal["raises", "lowers"] = "raises" if contribution > 0 else "lowers"
        return Reason(
            column.name, value, effect, round(float(contribution), 4), f"{words}: {effect} the risk"
        )


def _boosted(head: Boosting, features: Floats) -> Floats:
    log_odds = np.full(features.shape[0], head.baseline)
    rows = np.arange(features.shape[0])
    for tree in head.trees:
        feature, threshold = np.array(tree.feature), np.array(tree.threshold)
        left, right = np.array(tree.left), np.array(tree.right)
        node = np.zeros(rows.size, dtype=np.int64)
        for _ in range(tree.depth):
            node = np.where(features[rows, feature[node]] <= threshold[node], left[node], right[node])
        log_odds += np.array(tree.value)[node]
    return log_odds


def _typical(column: Column) -> Floats:
    """The features of the typical value, shape (width,)."""
    if isinstance(column.typical, str):
        row = column.encode([column.typical])
    else:
        row = column.standardised(np.array([column.typical]))
    return np.ravel(row)


def _said(column: Column, cell: Cell) -> tuple[str, str]:
    """A cell's value, and a sentence about it."""
    if is_missing(cell):
        return MISSING, f"{column.name} is not known"
    if column.kind == "category" or isinstance(column.typical, str):
        value = read_text(cell)
        rare = "" if value in column.levels else ", as with few others"
        return value, f"{column.name} is {value}{rare}"
    (number,) = numbers([cell], column.kind)
    if np.isnan(number):  # of another type than when the model was fitted
        return MISSING, f"{column.name} is not known"
    show = write_date if column.kind == "date" else _short
    return show(number), f"{column.name} is {show(number)}, typically {show(column.typical)}"


def _short(number: float) -> str:
    """A number with four digits, no exponent where it is not needed."""
    return f"{number:,.0f}".replace(",", "") if abs(number) >= 1000 else f"{number:.4g}"
