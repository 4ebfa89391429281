"""Recency, frequency and money, the segment they name, and what is not known. Pure.

Each is scored 1 to 5 by the fifth of all buyers in which the customer falls; 5 is best. R is days since the
last purchase, F days with a purchase, M money spent in the customer's main currency, net of refunds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

FIFTHS = (0.2, 0.4, 0.6, 0.8)

# Rows are R from 5 down to 1; columns are the mean of F and M, rounded, from 1 to 5.
SEGMENTS = (
    ("new_customers", "potential_loyalists", "potential_loyalists", "champions", "champions"),
    ("promising", "potential_loyalists", "loyal_customers", "loyal_customers", "champions"),
    ("about_to_sleep", "about_to_sleep", "needs_attention", "loyal_customers", "loyal_customers"),
    ("hibernating", "hibernating", "at_risk", "at_risk", "at_risk"),
    ("lost", "lost", "at_risk", "cannot_lose_them", "cannot_lose_them"),
)

WHY_UNKNOWN = {
    "no_purchases": "no purchase is known",
    "few_buyers": "too few customers have bought to compare this one with fifths of them",
    "no_model": "no model of purchases has been fitted yet",
    "no_spend_model": "no model of spend has been fitted for this currency",
    "one_purchase": "after a single purchase the model cannot tell who has stopped and calls everyone alive",
    "no_repeat_spend": "without a repeat purchase the mean of all customers stands for their spend",
    "other_currencies": "purchases in other currencies are left out",
    "later": "purchases after the observation date are left out",
}


@dataclass(frozen=True, slots=True)
class Cuts:
    """Four rising cut points each; money has its own for every currency, in minor units.

    `weights` are of recency, frequency and money in their weighted sum.
    """

    recency: tuple[int, ...] | None = None
    frequency: tuple[int, ...] | None = None
    monetary: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)


def fifths(values: NDArray[Any], cuts: Sequence[int]) -> Ints:
    """1 to 5, shape (n,): one more than the number of cut points that lie below the value.

    Equal values score equally, so fifths of a tied quantity are not equally large.
    """
    return 1 + np.searchsorted(np.asarray(cuts), values, side="left").astype(np.int64)


def weighted(scores: NDArray[np.int64], weights: Sequence[float]) -> NDArray[np.float64]:
    """The weighted sum of the three scores over the sum of the weights, from 1 to 5, shape (n,).

    Args:
        scores: R, F and M, shape (3, n).
        weights: of each; not all are 0.
    """
    shares = np.asarray(weights, dtype=np.float64)
    together: NDArray[np.float64] = np.round(shares / shares.sum() @ scores, 4)
    return together


def segment_of(recency: int, frequency: int, monetary: int) -> str:
    """The named segment of three scores, each from 1 to 5."""
    return SEGMENTS[5 - recency][(frequency + monetary + 1) // 2 - 1]


def explain_unknown(codes: Sequence[str]) -> list[dict[str, str]]:
    """What is not known and why, in words; a code is `what.why`."""
    return [{"what": what, "why": WHY_UNKNOWN[why]} for what, _, why in (c.partition(".") for c in codes)]
