"""Fits clusters in a process of its own: how many there are, where, and which label each of them bears.

The number of clusters is the one with the largest mean silhouette (Rousseeuw 1987, Journal of Computational
and Applied Mathematics 20, 53-65) among those without a tiny cluster that come out alike from other buyers:
a bootstrap sample is clustered, everyone is put where that says, and the two groupings are compared by the
adjusted Rand index (Hubert & Arabie 1985, Journal of Classification 2, 193-218); its mean is the stability.

The same buyers give the same clusters and labels, in whatever order they come: rows are sorted and equal ones
folded before anything is drawn, and what is drawn has a fixed seed.
"""

import asyncio
import hashlib
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

from services.scoring.models.estimation import NoVariance, TooFewCustomers
from services.scoring.processes import compute, one_thread
from services.scoring.segments.clustering import (
    BETTER,
    Buyers,
    Clusters,
    Floats,
    Ints,
    Scale,
    Scales,
    nearest,
    scales_of,
    standardise,
)
from shared.problems import Conflict, Problem

SEED = 360
STARTS = 10  # of k-means; the best is kept
DRAWS = 8
DRAW_STARTS = 2
MOST_FOR_CHOICE = 5_000  # buyers by whom the number of clusters is chosen
MOST_FOR_SILHOUETTE = 2_000
STABLE = 0.8
SMALLEST = 0.01  # of all buyers; fewer are odd ones out, no segment
SAME_CLUSTER = 0.5  # Jaccard similarity: more than half of all who are in either are in both
DIGITS = 6  # of a centroid; further ones differ between machines


class NotFinite(Conflict):
    slug, title = "not-finite", "A feature of some customer is no finite number"


REFUSALS: dict[str, type[Problem]] = {
    refusal.slug: refusal for refusal in (TooFewCustomers, NoVariance, NotFinite)
}


@dataclass(frozen=True, slots=True)
class Task:
    """Whom to cluster, into how many at least and at most, and the clusters before, whose labels stay."""

    buyers: Buyers
    currencies: tuple[str, ...]
    fewest: int
    most: int
    minimum_customers: int
    before: Clusters | None = None
    next_label: int = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """How well k clusters fit: mean silhouette (-1 to 1), mean adjusted Rand index of draws (0 to 1), and the
    share of all buyers that the smallest cluster has."""

    k: int
    silhouette: float
    stability: float
    smallest: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """The clusters, how their number was chosen, and which label number is free."""

    clusters: Clusters
    choices: list[Choice]
    why: str
    next_label: int
    data_hash: str


async def run(task: Task, *, timeout_s: float) -> Fitted:
    """Fit in a process of its own.

    Raises:
        TooFewCustomers, NoVariance, NotFinite: these customers cannot be clustered.
        TookTooLong: it was stopped after `timeout_s`.
    """
    check(task)
    packed = await asyncio.to_thread(_pack, task)
    answer, _ = await compute(__name__, packed, REFUSALS, timeout_s=timeout_s)
    clusters = clusters_of(answer["clusters"])
    choices = [Choice(**choice) for choice in answer["choices"]]
    return Fitted(clusters, choices, answer["why"], answer["next_label"], answer["data_hash"])


def clusters_of(said: dict[str, Any]) -> Clusters:
    """Clusters from the JSON that `said_of` makes."""
    money = {name: Scale(**scale) for name, scale in said["scales"]["money"].items()}
    scales = Scales(tuple(Scale(**scale) for scale in said["scales"]["features"]), money)
    return Clusters(scales, np.array(said["centroids"], dtype=np.float64), tuple(said["labels"]))


def said_of(clusters: Clusters) -> dict[str, Any]:
    """Clusters as JSON."""
    return asdict(clusters) | {"centroids": clusters.centroids.tolist()}


def check(task: Task) -> None:
    """Refuse what can be told without computing.

    Raises:
        TooFewCustomers, NotFinite
    """
    count = len(task.buyers.currency)
    if count < task.minimum_customers:
        raise TooFewCustomers(f"{count} customers have bought; {task.minimum_customers} are needed.")
    if not np.isfinite(task.buyers.features).all():
        raise NotFinite("Rebuild the facts, then try again.")


def fit(task: Task) -> Fitted:
    """Fit here and now."""
    count = len(task.buyers.currency)
    if count < task.minimum_customers:
        raise TooFewCustomers(
            f"There are {count} customers who have bought; {task.minimum_customers} are needed."
        )
    if not np.isfinite(task.buyers.features).all():
        raise NotFinite("Rebuild the facts, then try again.")
    scales = scales_of(task.buyers, task.currencies)
    standard = standardise(task.buyers, task.currencies, scales)
    rows, counts = np.unique(standard, axis=0, return_counts=True)
    if len(rows) <= task.fewest:
        raise NoVariance(f"Only {len(rows)} customers differ; more than {task.fewest} have to.")
    with one_thread("sklearn.cluster"):
        choices = _choices(rows, counts, task)
        chosen, why = _choose(choices)
        centroids = _k_means(rows, counts, chosen.k, STARTS)
    centroids = centroids[_best_first(centroids)]
    labels, next_label = _labels(task, standard, centroids)
    hashed = hashlib.sha256(rows.tobytes() + counts.tobytes()).hexdigest()
    return Fitted(Clusters(scales, centroids, labels), choices, why, next_label, hashed)


def _choices(rows: Floats, counts: Ints, task: Task) -> list[Choice]:
    """Each number of clusters, judged by a sample of the buyers."""
    random = np.random.default_rng(SEED)
    if counts.sum() > MOST_FOR_CHOICE:
        counts = random.multivariate_hypergeometric(counts, MOST_FOR_CHOICE, method="marginals")
        rows, counts = rows[counts > 0], counts[counts > 0]
    most = min(task.most, len(rows) - 1)
    return [_judge(rows, counts, k, random) for k in range(min(task.fewest, most), most + 1)]


def _judge(rows: Floats, counts: Ints, k: int, random: np.random.Generator) -> Choice:
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    labels = np.repeat(nearest(rows, _k_means(rows, counts, k, STARTS)), counts)
    everyone = np.repeat(np.arange(len(rows)), counts)
    agreement = []
    for _ in range(DRAWS):
        drawn = random.multinomial(counts.sum(), counts / counts.sum())
        centroids = _k_means(rows[drawn > 0], drawn[drawn > 0], k, DRAW_STARTS)
        agreement.append(adjusted_rand_score(labels, nearest(rows, centroids)[everyone]))
    some = np.arange(len(everyone))
    if len(everyone) > MOST_FOR_SILHOUETTE:
        some = np.sort(random.choice(len(everyone), MOST_FOR_SILHOUETTE, replace=False))
    parted = 1 < len(set(labels[some].tolist())) < len(some)
    silhouette = silhouette_score(rows[everyone[some]], labels[some]) if parted else 0.0
    smallest = np.bincount(labels, minlength=k).min() / len(labels)
    return Choice(k, *(round(float(value), 4) for value in (silhouette, np.mean(agreement), smallest)))


def _choose(choices: Sequence[Choice]) -> tuple[Choice, str]:
    good = [choice for choice in choices if choice.stability >= STABLE and choice.smallest >= SMALLEST]
    if good:
        best = max(good, key=lambda choice: (choice.silhouette, -choice.k))
        return best, f"the largest silhouette of those with a stability of at least {STABLE:g}"
    best = max(choices, key=lambda choice: (choice.stability, -choice.k))
    return best, f"the most stable; no number of clusters is good (stability {STABLE:g}, none of them tiny)"


def _k_means(rows: Floats, counts: Ints, k: int, starts: int) -> Floats:
    """Centroids of k-means, shape (k, 4); fewer where fewer rows differ."""
    from sklearn.cluster import KMeans

    model = KMeans(min(k, len(rows)), n_init=starts, random_state=SEED)
    centroids: Floats = model.fit(rows, sample_weight=counts).cluster_centers_
    return centroids.round(DIGITS)


def _best_first(centroids: Floats) -> Ints:
    """The order of first labels: best customers first, ties by their features."""
    worth = (centroids @ BETTER).round(DIGITS)
    return np.lexsort((*centroids.T, -worth)).astype(np.int64)


def _labels(task: Task, standard: Floats, centroids: Floats) -> tuple[tuple[str, ...], int]:
    """A label for each cluster: that of the one before with mostly the same buyers, else one never used.

    Clusters are matched so that their similarities add up to the most (the assignment problem), measured by
    the Jaccard coefficient as in Hennig (2007), Cluster-wise assessment of cluster stability, Computational
    Statistics & Data Analysis; above one half, no other cluster can be as similar.
    """
    kept: dict[int, str] = {}
    if task.before is not None:
        from scipy.optimize import linear_sum_assignment

        before = nearest(standardise(task.buyers, task.currencies, task.before.scales), task.before.centroids)
        similar = _similarities(nearest(standard, centroids), before, len(centroids), len(task.before.labels))
        for new, old in zip(*linear_sum_assignment(similar, maximize=True), strict=True):
            if similar[new, old] > SAME_CLUSTER:
                kept[int(new)] = task.before.labels[old]
    labels, free = [], task.next_label
    for place in range(len(centroids)):
        if place in kept:
            labels.append(kept[place])
        else:
            labels.append(f"c{free}")
            free += 1
    return tuple(labels), free


def _similarities(new: Ints, old: Ints, news: int, olds: int) -> Floats:
    """The Jaccard similarity of each new cluster's buyers with each old one's, shape (news, olds)."""
    both = np.zeros((news, olds))
    np.add.at(both, (new, old), 1)
    either = both.sum(axis=1)[:, None] + both.sum(axis=0)[None, :] - both
    shares: Floats = both / np.maximum(either, 1)
    return shares


def _pack(task: Task) -> bytes:
    said = {
        "currencies": task.currencies,
        "fewest": task.fewest,
        "most": task.most,
        "minimum_customers": task.minimum_customers,
        "before": said_of(task.before) if task.before else None,
        "next_label": task.next_label,
    }
    packed = io.BytesIO()
    np.savez(
        packed,
        said=np.frombuffer(orjson.dumps(said), dtype=np.uint8),
        features=task.buyers.features,
        currency=task.buyers.currency,
    )
    return packed.getvalue()


def _unpack(packed: bytes) -> Task:
    arrays = np.load(io.BytesIO(packed), allow_pickle=False)
    said = orjson.loads(arrays["said"].tobytes())
    before = clusters_of(said.pop("before")) if said["before"] else None
    said |= {"before": before, "currencies": tuple(said["currencies"])}
    return Task(Buyers(arrays["features"], arrays["currency"]), **said)


def _main() -> None:
    try:
        fitted = fit(_unpack(sys.stdin.buffer.read()))
        answer: object = asdict(fitted) | {"clusters": said_of(fitted.clusters)}
    except Conflict as refusal:
        answer = {"refused": refusal.slug, "detail": refusal.detail}
    sys.stdout.buffer.write(orjson.dumps(answer))


if __name__ == "__main__":
    _main()
