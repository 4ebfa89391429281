"""Customers who leave for planted reasons, so that what is learnt can be compared with what is true."""

from dataclasses import dataclass

import numpy as np

from services.scoring.churn.table import Table
from services.scoring.facts.histories import Floats


@dataclass(frozen=True, slots=True)
class Made:
    """The table, and each row's true probability of leaving and whether it left, shape (n,)."""

    table: Table
    risk: Floats
    left: Floats


def customers(count: int, seed: int = 7, *, bend: float = 0.0) -> Made:
    """Monthly contracts, few months and many calls make customers leave; cities and noise do not.

    A tenth of the months is missing. `bend` adds what no weighted sum can say: calls raise the risk of
    monthly contracts and lower that of the others.
    """
    rng = np.random.default_rng(seed)
    contract = rng.choice(["monthly", "yearly", "two years"], count, p=[0.5, 0.3, 0.2])
    months, calls = np.round(rng.gamma(2, 15, count), 1), rng.poisson(1.5, count)
    city = rng.zipf(1.5, count) % 500
    joined = rng.integers(0, 400, count)
    monthly = contract == "monthly"
    log_odds = -1.5 + 1.5 * monthly - 0.04 * (months - 30) + 0.5 * calls
    log_odds += bend * np.where(monthly, 1, -1) * (calls - 1.5)
    risk = 1 / (1 + np.exp(-log_odds))
    left = rng.random(count) < risk
    unknown = rng.random(count) < 0.1
    table = Table(
        {
            "customer": [f"C{n}" for n in range(count)],
            "contract": contract.tolist(),
            "months": [None if gone else float(m) for gone, m in zip(unknown, months, strict=True)],
            "calls": [str(c) for c in calls],
            "city": [f"city {c}" for c in city],
            "joined": [str(np.datetime64("2024-01-01") + int(d)) for d in joined],
            "left": ["yes" if gone else "no" for gone in left],
        },
        count,
    )
    return Made(table, risk, left.astype(np.float64))


def as_csv(table: Table) -> str:
    """The table as a CSV file."""
    lines = [",".join(table.columns)]
    for row in zip(*table.columns.values(), strict=True):
        lines.append(",".join("" if cell is None else str(cell) for cell in row))
    return "\n".join(lines) + "\n"
