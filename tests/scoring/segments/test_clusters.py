"""Clusters: made structure is found, whatever the order of the rows, and labels stay from run to run."""

from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from services.scoring.segments.clustering import Buyers, assign
from services.scoring.segments.fitting import Fitted, Task, fit

CURRENCIES = ("CNY", "USD")
# Days since the last purchase, days with a purchase, complaints, and minor units spent on one.
GROUPS = {"regulars": (7, 40, 0.3, 9_000), "lapsed": (300, 12, 0.3, 60_000), "once": (90, 1.2, 0.3, 1_500)}


def made(seed: int, each: int = 120, groups: Any = None) -> tuple[Buyers, np.ndarray[Any, Any]]:
    """Buyers of known groups, a few of them far out, half of them paying in a currency of smaller units."""
    random = np.random.default_rng(seed)
    chosen = list((groups or GROUPS).values())
    features = np.vstack([np.array(group) * random.lognormal(0, 0.25, (each, 4)) for group in chosen])
    features[:, :3] = features[:, :3].round()
    features[0] *= 20
    currency = np.arange(len(features)) % 2
    features[currency == 1, 3] *= 14
    return Buyers(features, currency), np.repeat(np.arange(len(chosen)), each)


def task(buyers: Buyers, **rest: Any) -> Task:
    return Task(buyers, CURRENCIES, 2, 6, 50, **rest)


def labels(fitted: Fitted, buyers: Buyers) -> list[str | None]:
    return assign(buyers, CURRENCIES, fitted.clusters)


def shuffled(buyers: Buyers, seed: int) -> tuple[Buyers, np.ndarray[Any, Any]]:
    order = np.random.default_rng(seed).permutation(len(buyers.currency))
    return Buyers(buyers.features[order], buyers.currency[order]), order


def test_made_groups_are_found_with_labels_that_no_order_of_rows_changes() -> None:
    buyers, groups = made(1)
    fitted = fit(task(buyers))
    found = labels(fitted, buyers)
    assert fitted.clusters.labels == ("c1", "c2", "c3")
    assert adjusted_rand_score(groups, found) > 0.95
    best = {choice.k: choice for choice in fitted.choices}
    assert best[3].silhouette == max(choice.silhouette for choice in fitted.choices)
    assert best[3].stability > 0.95
    for seed in (2, 3):
        again, order = shuffled(buyers, seed)
        refitted = fit(task(again))
        assert refitted.data_hash == fitted.data_hash
        assert np.array_equal(refitted.clusters.centroids, fitted.clusters.centroids)
        assert labels(refitted, again) == [found[n] for n in order]
