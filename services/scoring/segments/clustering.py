"""Clusters of buyers who are alike: features, how they are scaled, who is nearest to which, in words. Pure.

Days since the last purchase, days with a purchase, what is spent on one, and complaints, each as log(1 + x)
because a few are far above the rest, less the median and divided by the spread: the interquartile range over
1.349, which is the standard deviation of a normal distribution, but a doubling at least: what is alike for
almost all does not set apart the few. What is spent is scaled within its currency, so that no currencies are
compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEATURES = ("recency_days", "buying_days", "complaints", "order_value")
MONEY = FEATURES.index("order_value")
BETTER = np.array([-1.0, 1.0, -1.0, 1.0])  # whether more of it is better, for the order of first labels
IQR_OF_NORMAL = 1.349
LEAST_SPREAD = float(np.log(2))
FARTHEST = 3.0  # spreads from the median; beyond it customers count as that far
LEAST_OF_CURRENCY = 20  # buyers, for a scale of its own; those of rarer currencies count as middling
MARKED = 0.5  # spreads from the median from which on a profile speaks of it
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Scale:
    """Centre and spread of a feature's logarithm."""

    centre: float
    spread: float


@dataclass(frozen=True, slots=True)
class Buyers:
    """n buyers: their features in the order of `FEATURES`, shape (n, 4), as they are; and what they pay in,
    as a place in the list of currencies, shape (n,)."""

    features: Floats
    currency: Ints


@dataclass(frozen=True, slots=True)
class Scales:
    """The scales of the features but money, in their order, and that of money in each currency."""

    features: tuple[Scale, ...]
    money: Mapping[str, Scale]


@dataclass(frozen=True, slots=True)
class Clusters:
    """k clusters: scales, centroids in spreads from the median, shape (k, 4), and their labels."""

    scales: Scales
    centroids: Floats
    labels: tuple[str, ...]


# More than usual, less than usual: in English and Chinese.
_WORDS: Mapping[str, tuple[tuple[str, str] | None, tuple[str, str] | None]] = {
    "buying_days": (("buys often", "购买频繁"), ("buys seldom", "购买很少")),
    "order_value": (("spends much", "单次消费高"), ("spends little", "单次消费低")),
    "recency_days": (("quiet for long", "很久没有购买"), ("bought lately", "近期购买过")),
    "complaints": (("complains", "有投诉"), None),
}
_USUAL = ("like most customers", "与多数顾客相近")


def scales_of(buyers: Buyers, currencies: Sequence[str]) -> Scales:
    """How these buyers' features are scaled; the order of the buyers makes no difference."""
    logs = np.log1p(np.maximum(buyers.features, 0))
    money = {
        name: _scale(logs[buyers.currency == place, MONEY])
        for place, name in enumerate(currencies)
        if np.count_nonzero(buyers.currency == place) >= LEAST_OF_CURRENCY
    }
    return Scales(tuple(_scale(logs[:, n]) for n in range(MONEY)), money)


def standardise(buyers: Buyers, currencies: Sequence[str], scales: Scales) -> Floats:
    """Spreads from the median, shape (n, 4), at most `FARTHEST`; nan where a feature is no number."""
    logs = np.log1p(np.maximum(buyers.features, 0))
    standard = np.zeros(logs.shape)
    for n, scale in enumerate(scales.features):
        standard[:, n] = (logs[:, n] - scale.centre) / scale.spread
    for place, name in enumerate(currencies):
        if name in scales.money:
            rows, scale = buyers.currency == place, scales.money[name]
            standard[rows, MONEY] = (logs[rows, MONEY] - scale.centre) / scale.spread
    return np.clip(standard, -FARTHEST, FARTHEST)


def nearest(standard: Floats, centroids: Floats) -> Ints:
    """The place of the nearest centroid, shape (n,); `NOWHERE` where a feature is no number."""
    distances = ((standard[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2)
    finite = np.isfinite(standard).all(axis=1)
    return np.where(finite, distances.argmin(axis=1), NOWHERE).astype(np.int64)


def assign(buyers: Buyers, currencies: Sequence[str], clusters: Clusters) -> list[str | None]:
    """The label of each buyer's cluster; None where a feature is no number."""
    places = nearest(standardise(buyers, currencies, clusters.scales), clusters.centroids)
    return [None if place == NOWHERE else clusters.labels[place] for place in places.tolist()]


def profile(centroid: Floats) -> dict[str, str]:
    """What sets a cluster apart, in words: {"en": …, "zh": …}."""
    said = []
    for feature, (more, less) in _WORDS.items():
        value = centroid[FEATURES.index(feature)]
        words = more if value >= MARKED else less if value <= -MARKED else None
        if words is not None:
            said.append(words)
    english, chinese = zip(*(said or [_USUAL]), strict=True)
    return {"en": ", ".join(english), "zh": "，".join(chinese)}


def typical(centroid: Floats, scales: Scales) -> dict[str, float | dict[str, float]]:
    """A customer in the middle of a cluster, in days, complaints and minor units of each currency."""
    middle: dict[str, float | dict[str, float]] = {
        name: _undone(float(centroid[n]), scales.features[n]) for n, name in enumerate(FEATURES[:MONEY])
    }
    middle["order_value"] = {
        name: _undone(float(centroid[MONEY]), scale) for name, scale in sorted(scales.money.items())
    }
    return middle


def _scale(logs: Floats) -> Scale:
    low, centre, high = np.quantile(logs, (0.25, 0.5, 0.75))
    return Scale(float(centre), max(float(high - low) / IQR_OF_NORMAL, LEAST_SPREAD))


def _undone(standard: float, scale: Scale) -> float:
    return round(float(np.expm1(scale.centre + standard * scale.spread)), 2)
