"""Clusters: made structure is found, whatever the order of the rows, and labels stay from run to run."""

from typing import Any
from uuid import uuid4

import numpy as np
import orjson
import pytest
from sklearn.metrics import adjusted_rand_score

from services.scoring.models.estimation import NoVariance, TooFewCustomers
from services.scoring.section import build
from services.scoring.segments import cluster_service
from services.scoring.segments.clustering import FARTHEST, Buyers, assign, profile, standardise, typical
from services.scoring.segments.fitting import Fitted, NotFinite, Task, fit
from services.scoring.segments.schemas import ClusterFit
from services.scoring.settings import ScoringSettings
from shared.database import Database
from shared.problems import Problem
from tests.scoring.conftest import AS_OF
from tests.scoring.events import bought, hear, purchase
from tests.scoring.segments.test_segments import add, settle, told

CURRENCIES = ("CNY", "USD")
# Days since the last purchase, days with a purchase, complaints, and minor units spent on one.
GROUPS = {"regulars": (7, 40, 0.3, 9_000), "lapsed": (300, 12, 0.3, 60_000), "once": (90, 1.2, 0.3, 1_500)}


def made(seed: int, each: int = 60, groups: Any = None) -> tuple[Buyers, np.ndarray[Any, Any]]:
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
    assert best[3].stability > 0.95
    for seed in (2, 3):
        again, order = shuffled(buyers, seed)
        refitted = fit(task(again))
        assert refitted.data_hash == fitted.data_hash
        assert np.array_equal(refitted.clusters.centroids, fitted.clusters.centroids)
        assert labels(refitted, again) == [found[n] for n in order]


def test_a_cluster_that_is_found_again_keeps_its_label() -> None:
    buyers, _ = made(1)
    first = fit(task(buyers))
    known = {"before": first.clusters, "next_label": first.next_label}
    assert fit(task(shuffled(buyers, 2)[0], **known)).clusters.labels == ("c1", "c2", "c3")

    # The regulars are gone and others have come: who stays keeps the label, and the new ones get a new one.
    others = {"lapsed": GROUPS["lapsed"], "once": GROUPS["once"], "angry": (20, 9, 12, 1_500)}
    later, groups = made(5, groups=others)
    second = fit(task(later, **known))
    of_group = dict(zip(groups.tolist(), labels(second, later), strict=True))
    before = dict(zip(made(1)[1].tolist(), labels(first, buyers), strict=True))
    assert of_group == {0: before[1], 1: before[2], 2: "c4"}
    assert second.next_label == 5


def test_profiles_say_what_sets_a_cluster_apart_in_two_languages() -> None:
    assert profile(np.array([1.2, 0.9, 0.0, 2.0])) == {
        "en": "buys often, spends much, quiet for long",
        "zh": "购买频繁，单次消费高，很久没有购买",
    }
    assert profile(np.array([-0.5, -0.5, 0.6, -0.5]))["en"] == (
        "buys seldom, spends little, bought lately, complains"
    )
    assert profile(np.array([0.4, -0.4, -3.0, 0.4])) == {"en": "like most customers", "zh": "与多数顾客相近"}
    buyers, _ = made(1)
    fitted = fit(task(buyers))
    middle = typical(fitted.clusters.centroids[0], fitted.clusters.scales)
    money = middle["order_value"]
    assert isinstance(money, dict)
    assert middle["buying_days"] == pytest.approx(40, rel=0.15)
    assert money["USD"] / money["CNY"] == pytest.approx(14, rel=0.1)


def test_customers_far_out_or_unknown_are_kept_in_hand() -> None:
    buyers, _ = made(1)
    clusters = fit(task(buyers)).clusters
    odd = Buyers(
        np.array([[7, 40, 0, 9e18], [np.nan, 1, 0, 1], [-5, 1, 0, -100], [7, 40, 0, 9_000]]),
        np.array([0, 0, 0, 2]),
    )
    standard = standardise(odd, (*CURRENCIES, "JPY"), clusters.scales)
    assert np.nanmax(np.abs(standard)) <= FARTHEST
    assert standard[3, 3] == 0
    found = assign(odd, (*CURRENCIES, "JPY"), clusters)
    assert found[1] is None
    assert found[3] == "c1"


@pytest.mark.parametrize(
    ("features", "refusal"),
    [
        (np.ones((49, 4)), TooFewCustomers),
        (np.ones((200, 4)), NoVariance),
        (np.repeat([[1.0, 2, 0, 3], [2, 3, 0, 4]], 60, axis=0), NoVariance),
        (np.full((60, 4), np.nan), NotFinite),
        (np.full((60, 4), np.inf), NotFinite),
        (np.empty((0, 4)), TooFewCustomers),
    ],
)
def test_customers_that_cannot_be_grouped_are_refused(features: Any, refusal: type[Problem]) -> None:
    with pytest.raises(refusal):
        fit(task(Buyers(features, np.zeros(len(features), dtype=np.int64))))


def test_without_structure_it_says_so() -> None:
    noise = np.random.default_rng(7).lognormal(3, 1, (600, 4))
    fitted = fit(task(Buyers(noise, np.zeros(600, dtype=np.int64))))
    assert fitted.why.startswith("the most stable; no number of clusters is good")


async def test_clusters_are_fitted_shown_and_followed(database: Database, settings: ScoringSettings) -> None:
    chosen = settings.model_copy(update={"fit_minimum_customers": 20})
    regulars, once = (sorted(uuid4() for _ in range(20)) for _ in range(2))
    await hear(
        database,
        chosen,
        bought(
            *(purchase(c, 100 + 8 * d, 900 + n) for n, c in enumerate(regulars) for d in range(10)),
            *(purchase(c, 10 + n / 4, 90_000 + n) for n, c in enumerate(once)),
        ),
    )
    await cluster_service.fit(database, chosen, ClusterFit(most=4), AS_OF)
    await add(database, "like regulars", 'cluster = "c1"')
    await settle(database, chosen)
    came = await told(database, "cluster")
    assert came == sorted([(c, ["c1"], []) for c in regulars] + [(c, ["c2"], []) for c in once])
    assert await told(database) == [(c, ["like regulars"], []) for c in regulars]
    async with database.pool.acquire() as connection:
        shown = (await cluster_service.show(connection)).clusters
        section = orjson.loads((await build(connection, [once[0]]))[once[0]])
    assert [(c.label, c.customers) for c in shown] == [("c1", 20), ("c2", 20)]
    assert shown[1].profile["zh"] == "购买很少，单次消费高，很久没有购买"
    assert shown[1].typical["order_value"] == {"CNY": pytest.approx(90_010, rel=0.01)}
    assert section["cluster"] == {"label": "c2", "profile": shown[1].profile}

    # A customer who comes to buy as regulars do is put with them; nobody else is told of.
    lately = [purchase(once[0], 172 + d / 100, 1) for d in range(8)]
    before = [purchase(once[0], 100 + 8 * d, 900) for d in range(10)]
    await hear(database, chosen, bought(*lately, *before))
    await settle(database, chosen)
    assert await told(database, "cluster") == [(once[0], ["c1"], ["c2"])]
    assert await told(database) == [(once[0], ["like regulars"], [])]

    for segment in ("lost", "champions", "champions"):
        await database.pool.execute(
            "UPDATE customer_scores SET segment = $2 WHERE customer_id = $1", once[1], segment
        )
        await settle(database, chosen)
    named = [(entered, left) for _, entered, left in await told(database, "rfm")]
    assert sorted(named) == [(["champions"], ["lost"]), (["lost"], [])]
