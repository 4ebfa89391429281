"""Tables of any types: what a column is of, what is missing, who left, and what is refused."""

import math

import numpy as np
import pytest

from services.scoring.churn.classifier import Column
from services.scoring.churn.table import (
    MISSING,
    Cell,
    ColumnKind,
    LabelNotBinary,
    NotATable,
    kind_of,
    numbers,
    read_labels,
    read_table,
    read_text,
)
from shared.problems import Malformed


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", "", "NA"], "number"),
        ([1, None, 2.5, float("nan")], "number"),
        (["2024-01-31", "2024-01-31T10:00:00+08:00", "?"], "date"),
        ([True, False, None], "category"),
        (["1", "two"], "category"),
        (["", None], "category"),
        (["infinity", "1e999", "1e101"], "category"),
    ],
)
def test_a_column_is_of_what_all_its_known_cells_are(cells: list[Cell], kind: ColumnKind) -> None:
    assert kind_of(cells) == kind


def test_cells_are_read_by_the_kind_of_their_column() -> None:
    assert np.array_equal(
        numbers(["1", None, "NaN", "1e999", "x", 10**400, 2], "number"),
        [1, *[math.nan] * 5, 2],
        equal_nan=True,
    )
    assert numbers(["1970-01-02T12:00:00+00:00", "soon"], "date")[0] == 1.5
    assert [read_text(cell) for cell in (True, 1, "  a ", "", None)] == ["true", "1", "a", MISSING, MISSING]


def test_a_label_says_yes_or_no_in_any_of_the_usual_ways() -> None:
    said: list[Cell] = ["Yes", "no", True, False, 1, 0.0, "1.0", "T", None, "null"]
    expected = [1, 0, 1, 0, 1, 0, 1, 1, math.nan, math.nan]
    assert np.array_equal(read_labels(said, None), expected, equal_nan=True)
    assert read_labels(["gone", "Active", "GONE"], "gone").tolist() == [1, 0, 1]
    with pytest.raises(LabelNotBinary):
        read_labels(["gone", "active"], None)


def test_csv_and_json_make_the_same_table() -> None:
    csv = read_table('\ufeffname;left\n"a;b";1\n\nc;\n'.encode(), "csv")
    assert (csv.rows, dict(csv.columns)) == (2, {"name": ["a;b", "c"], "left": ["1", ""]})
    json = read_table(b'{"rows": [{"name": "a;b", "left": 1}, {"name": "c"}]}', "json")
    assert (json.rows, dict(json.columns)) == (2, {"name": ["a;b", "c"], "left": [1, None]})
    assert read_table(b"[]", "json").rows == read_table(b"a,b\n", "csv").rows == 0


@pytest.mark.parametrize(
    ("body", "kind", "refusal"),
    [
        (b"\xff\xfe", "csv", Malformed),
        (b"a\x00,b\n", "csv", Malformed),
        (b"", "csv", NotATable),
        (b"a,,c\n1,2,3\n", "csv", NotATable),
        (b"a,a\n1,2\n", "csv", NotATable),
        (b"a,b\n1,2,3\n", "csv", NotATable),
        (b'a,b\n"1,2\n', "csv", NotATable),
        (",".join(f"c{n}" for n in range(501)).encode(), "csv", NotATable),
        (b"{", "json", Malformed),
        (b"3", "json", NotATable),
        (b'{"rows": [1]}', "json", NotATable),
        (b'{"rows": [{"a": {}}]}', "json", NotATable),
    ],
)
def test_what_is_no_table_is_refused(body: bytes, kind: str, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        read_table(body, kind)  # type: ignore[arg-type]


def test_what_a_column_never_saw_counts_as_rare_or_as_nothing() -> None:
    rare = Column("plan", "category", "pro", levels=("basic", "pro"), rare=True)
    assert rare.encode(["pro", "gold", None]).tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1]]
    none = Column("plan", "category", "pro", levels=("basic", "pro"))
    assert none.encode(["gold"]).tolist() == [[0, 0]]
    months = Column("months", "number", 10.0, fill=10.0, centre=12.0, scale=2.0, missing=(0.1, 0.3))
    assert months.encode([14, "soon"]).tolist() == [[1, pytest.approx(-1 / 3)], [-1, pytest.approx(3)]]
