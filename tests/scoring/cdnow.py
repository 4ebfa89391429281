"""The CDNOW logs, when they are at hand: data to develop with, never part of the project."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest

from services.scoring.facts.histories import Purchased

DATA = Path(__file__).parents[3] / "shared" / "data"
SAMPLE = DATA / "cdnow_sample.txt"
CALIBRATION_END = date(1997, 9, 30)

needs_sample = pytest.mark.skipif(not SAMPLE.exists(), reason=f"needs {SAMPLE.name} in ../shared/data")


def sample() -> Iterator[Purchased]:
    """The 1/10 sample: 2,357 customers who first bought in the first quarter of 1997."""
    for line in SAMPLE.read_text().splitlines():
        _, customer, day, _, dollars = line.split()
        yield Purchased(customer, datetime.strptime(day, "%Y%m%d").date(), float(dollars))  # noqa: DTZ007
