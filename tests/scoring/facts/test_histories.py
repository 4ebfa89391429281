"""Histories from a purchase log: what counts as one purchase, and the times between."""

from datetime import date

import pytest

from services.scoring.facts.histories import Purchased, fold, read_log


def test_purchases_of_one_day_count_as_one() -> None:
    log = [
        Purchased("a", date(2026, 1, 1), 10.0),
        Purchased("a", date(2026, 1, 15), 20.0),
        Purchased("a", date(2026, 1, 15), 5.0),
        Purchased("b", date(2026, 1, 3), 7.0),
    ]
    histories, spending = read_log(log, end=date(2026, 2, 1), unit="day")
    assert histories.frequency.tolist() == [0, 1]
    assert histories.recency.tolist() == [0, 14]
    assert histories.age.tolist() == [29, 31]
    assert spending.purchases.tolist() == [1]
    assert spending.mean.tolist() == [25.0]


def test_the_order_of_the_log_does_not_matter() -> None:
    log = [Purchased(c, date(2026, 1, d), float(d)) for c, d in [("a", 1), ("b", 9), ("a", 20), ("a", 4)]]
    one, spent = read_log(log, end=date(2026, 3, 1), unit="week")
    two, spent_too = read_log(reversed(log), end=date(2026, 3, 1), unit="week")
    assert [c.tolist() for c in (one.frequency, one.recency, one.age)] == [
        c.tolist() for c in (two.frequency, two.recency, two.age)
    ]
    assert spent.mean.tolist() == spent_too.mean.tolist()


def test_what_happens_after_the_end_is_not_known_yet() -> None:
    log = [
        Purchased("a", date(2026, 1, 1)),
        Purchased("a", date(2026, 5, 1)),
        Purchased("b", date(2026, 5, 1)),
    ]
    histories, spending = read_log(log, end=date(2026, 1, 8), unit="week")
    assert histories.total == 1
    assert histories.age.tolist() == [1.0]
    assert spending.mean.size == 0


def test_folding_counts_customers() -> None:
    histories = fold([1, 0, 1], [2, 0, 2], [7, 7, 7], [5, 1, 2])
    assert histories.customers.tolist() == [1.0, 7.0]
    assert histories.total == 8


def test_nothing_folds_to_nothing() -> None:
    assert fold([], [], []).total == 0
    assert read_log([], end=date(2026, 1, 1), unit="day")[0].total == 0


@pytest.mark.parametrize("unit", ["day", "week"])
def test_times_are_in_the_unit(unit: str) -> None:
    log = [Purchased("a", date(2026, 1, 1)), Purchased("a", date(2026, 1, 29))]
    histories, _ = read_log(log, end=date(2026, 2, 12), unit=unit)  # type: ignore[arg-type]
    assert histories.age.tolist() == [42 / (7 if unit == "week" else 1)]
