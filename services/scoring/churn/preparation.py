"""A table made ready to learn from: its labelled rows in a canonical order, its columns, how it is split.

Rows are put in the order of what they say, so that the same table gives the same result in whatever order
it came.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.scoring.churn.rules import Terms
from services.scoring.churn.table import (
    ColumnKind,
    Table,
    fingerprints,
    is_missing,
    kind_of,
    numbers,
    read_labels,
    read_text,
)
from services.scoring.facts.histories import Floats
from shared.problems import Conflict, FieldError

Ints = NDArray[np.int64]

FOLDS = 5
LEAST_ROWS, LEAST_OF_CLASS = 50, 10
LEAST_OF_LEVEL, LEAST_SHARE_OF_LEVEL = 10, 0.005
LEAK_AUC = 0.99


class TooFewRows(Conflict):
    slug, title = "too-few-rows", "The table is too small to learn from"


class OneClass(Conflict):
    slug, title = "one-class", "The label says the same of everyone"


class NoUsableColumn(Conflict):
    slug, title = "no-usable-column", "No column can tell customers apart"


class TimeDoesNotSplit(Conflict):
    slug, title = "time-does-not-split", "The time column does not order the rows"


@dataclass(frozen=True, slots=True)
class Options:
    """Which columns mean what. `positive` is the label's value that says who left."""

    label: str
    time: str | None = None
    id: str | None = None
    value: str | None = None
    positive: str | None = None
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the table says of one column, and whether it is used."""

    name: str
    kind: ColumnKind
    missing: int
    used: bool
    why: str | None = None


@dataclass(slots=True)
class Data:
    """Labelled rows in their canonical order: features, labels, worth, and the fold each is tested in.

    `features` has numbers and the codes of levels, nan where a number is missing, shape (n, columns).
    `folds` are pairs of rows to learn from and to be tested on.
    """

    table: Table
    left: Floats
    values: Floats
    folds: list[tuple[Ints, Ints]]
    split: str
    seen: list[Seen]
    names: list[str]
    kinds: list[ColumnKind]
    levels: dict[str, list[str]]
    features: Floats
    dropped: dict[str, int]
    warnings: list[str] = field(default_factory=list)


def prepare(table: Table, options: Options) -> Data:
    """The labelled rows in their canonical order, how they are split, and which columns are of use."""
    left = read_labels(table.column(options.label, "label"), options.positive)
    dropped = {"label_missing": int(np.isnan(left).sum())}
    keep = ~np.isnan(left)
    when = _times(table, options)
    if when is not None:
        dropped["time_missing"] = int((keep & np.isnan(when)).sum())
        keep &= ~np.isnan(when)
    worth = np.full(table.rows, options.terms.customer_value)
    if options.value is not None:
        given = numbers(table.column(options.value, "value"), "number")
        worth = np.maximum(np.where(np.isnan(given), 0.0, given), 0.0)
    if options.id is not None:
        table.column(options.id, "id")
    _check_classes(left[keep], dropped["label_missing"])
    meaning = {options.label, options.time, options.id, options.value}
    says = Table({n: c for n, c in table.columns.items() if n != options.id}, table.rows)
    order = _canonical(says, keep, when)
    features = Table({n: c for n, c in table.columns.items() if n not in meaning}, table.rows).taken(
        order.tolist()
    )
    ordered = left[order]
    folds = list(_stratified(ordered)) if when is None else list(_forward(when[order], ordered))
    seen, used, matrix, levels = _columns(features)
    data = Data(
        features,
        ordered,
        worth[order],
        folds,
        "stratified" if when is None else "time",
        seen,
        [name for name, _ in used],
        [kind for _, kind in used],
        levels,
        matrix,
        dropped,
    )
    data.warnings += _leaks(data)
    if when is not None and len(folds) < FOLDS:
        data.warnings.append(
            f"{FOLDS - len(folds)} of {FOLDS} periods have too few who left or stayed and are not judged by"
        )
    return data


def least_of_level(rows: int) -> int:
    """How many rows a category needs to be told apart from the rare ones."""
    return max(LEAST_OF_LEVEL, round(LEAST_SHARE_OF_LEVEL * rows))


def _times(table: Table, options: Options) -> Floats | None:
    if options.time is None:
        return None
    cells = table.column(options.time, "time")
    kind = kind_of(cells)
    if kind == "category":
        raise TimeDoesNotSplit(
            f"{options.time} holds neither dates of ISO 8601 nor numbers.",
            errors=[FieldError("time", "neither dates nor numbers")],
        )
    return numbers(cells, kind)


def _check_classes(left: Floats, missing: int) -> None:
    if left.size < LEAST_ROWS:
        raise TooFewRows(
            f"{left.size} rows have a label ({missing} have none); at least {LEAST_ROWS} are needed."
        )
    gone = int(left.sum())
    if gone in (0, left.size):
        raise OneClass(
            f"All {left.size} labelled customers {'left' if gone else 'stayed'}: nothing tells them apart.",
            errors=[FieldError("label", "has one class")],
        )
    if min(gone, left.size - gone) < LEAST_OF_CLASS:
        raise TooFewRows(
            f"{gone} left and {left.size - gone} stayed; at least {LEAST_OF_CLASS} of each are needed."
        )


def _canonical(table: Table, keep: NDArray[np.bool_], when: Floats | None) -> Ints:
    """The rows to keep, by time and then by what they say."""
    marks = fingerprints(table)
    rows = np.flatnonzero(keep)
    times = np.zeros(table.rows) if when is None else when
    return np.array(sorted(rows.tolist(), key=lambda row: (times[row], marks[row])), dtype=np.int64)


def _stratified(left: Floats) -> Iterator[tuple[Ints, Ints]]:
    from sklearn.model_selection import StratifiedKFold

    yield from StratifiedKFold(FOLDS).split(left[:, None], left)


def _forward(when: Floats, left: Floats) -> Iterator[tuple[Ints, Ints]]:
    """Each of five periods, tested by what was learnt from all before it; rows of one time stay together.

    Raises:
        TimeDoesNotSplit: no period has both classes before and in it.
    """
    block = np.searchsorted(when, when, side="left") * (FOLDS + 1) // when.size
    some = False
    for number in range(1, FOLDS + 1):
        known, tested = np.flatnonzero(block < number), np.flatnonzero(block == number)
        enough = min(left[known].sum(), known.size - left[known].sum()) >= LEAST_OF_CLASS
        if enough and 0 < left[tested].sum() < tested.size:
            some = True
            yield known, tested
    if not some:
        raise TimeDoesNotSplit(
            "No period has both customers who left and who stayed, with enough of both before it; leave the "
            "time column out or bring more data.",
            errors=[FieldError("time", "does not split the rows")],
        )


def _columns(
    table: Table,
) -> tuple[list[Seen], list[tuple[str, ColumnKind]], Floats, dict[str, list[str]]]:
    """What is said of each column, those that are used, their matrix, and the levels behind its codes."""
    seen: list[Seen] = []
    used: list[tuple[str, ColumnKind]] = []
    parts: list[Floats] = []
    levels: dict[str, list[str]] = {}
    for name in sorted(table.columns):
        cells = table.columns[name]
        kind = kind_of(cells)
        unknown = sum(map(is_missing, cells))
        if kind == "category":
            texts = [read_text(cell) for cell in cells]
            known, codes, counts = np.unique(np.array(texts), return_inverse=True, return_counts=True)
            frequent = int((counts >= least_of_level(table.rows)).sum())
            column = codes.astype(np.float64)
            why = _useless(known.size, unknown, table.rows) or (
                None if frequent else "nearly every row has a value of its own"
            )
            levels[name] = [str(level) for level in known]
        else:
            column = numbers(cells, kind)
            distinct = np.unique(column[~np.isnan(column)]).size + (unknown > 0)
            why = _useless(distinct, unknown, table.rows)
        seen.append(Seen(name, kind, unknown, why is None, why))
        if why is None:
            used.append((name, kind))
            parts.append(column)
    if not used:
        reasons = "; ".join(f"{one.name}: {one.why}" for one in seen[:10]) or "there is none"
        raise NoUsableColumn(f"Besides the label no column is of use ({reasons}).")
    return seen, used, np.stack(parts, axis=1), levels


def _useless(distinct: int, unknown: int, rows: int) -> str | None:
    if unknown == rows:
        return "never known"
    return "the same in every row" if distinct < 2 else None


def _leaks(data: Data) -> list[str]:
    """Columns that tell the label alone: mostly they are known only once a customer has left."""
    from sklearn.metrics import roc_auc_score

    found = []
    for place, (name, kind) in enumerate(zip(data.names, data.kinds, strict=True)):
        column = data.features[:, place]
        if kind == "category":
            codes = column.astype(np.int64)
            counts = np.bincount(codes)
            rare = counts < least_of_level(codes.size)
            gone = np.bincount(codes, weights=data.left)
            pooled = gone[rare].sum() / max(counts[rare].sum(), 1)
            alone = [np.where(rare, pooled, gone / counts)[codes]]
        else:
            unknown = np.isnan(column)
            alone = [np.where(unknown, np.nanmedian(column), column), unknown.astype(np.float64)]
        aucs = [float(roc_auc_score(data.left, one)) for one in alone]
        best = max(max(auc, 1 - auc) for auc in aucs)
        if best >= LEAK_AUC:
            found.append(
                f"{name} tells the label alone (AUC {best:.3f}): leave it out if it is known only after a "
                "customer has left"
            )
    return found
