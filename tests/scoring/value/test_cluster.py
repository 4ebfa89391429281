"""Scores from a Dask cluster of two workers on loopback are the same to the bit."""

import importlib.util
from uuid import UUID

import numpy as np
import pytest

from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.models.pareto_nbd import ParetoNbd
from services.scoring.models.serving import PurchaseModel, Serving, SpendModel
from services.scoring.value.cluster import ClusterAway, computing
from services.scoring.value.lifetime import FactColumns, Terms, score
from services.scoring.value.rules import Cuts

needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs Dask")

CUTS = Cuts((10, 30, 90, 200), (1, 1, 2, 4), {"CNY": (1000, 2000, 5000, 9000)})
MODELS = Serving(
    PurchaseModel(1, 7, ParetoNbd(0.553, 10.578, 0.606, 11.669), "pareto_nbd"),
    {"CNY": SpendModel(2, GammaGamma(6.25, 3.74, 1544.0))},
)
TERMS = Terms(365, 0.1, 1.0)


def people(count: int) -> FactColumns:
    rng = np.random.default_rng(4)
    days = rng.integers(0, 20, count).astype(float)
    age = rng.integers(1, 400, count).astype(float)
    span = np.where(days > 1, np.floor(age * rng.random(count)), 0.0)
    return FactColumns(
        customer_ids=[UUID(int=n) for n in range(count)],
        days=days,
        since_last=age - span,
        span=span,
        age=age,
        currency=np.array(["CNY" if day else None for day in days], dtype=object),
        spend=days * 900,
        currency_days=days,
        repeat_days=np.maximum(days - 1, 0),
        repeat_spend=np.maximum(days - 1, 0) * rng.integers(100, 9000, count),
        mixed=np.zeros(count, dtype=bool),
        later=np.zeros(count, dtype=bool),
    )


@needs_dask
@pytest.mark.filterwarnings("ignore")
async def test_two_workers_give_the_same_scores_to_the_bit() -> None:
    from distributed import LocalCluster

    facts = people(1050)
    async with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
            asynchronous=True,
        ) as cluster,
        computing(cluster.scheduler_address, 100) as compute,
    ):  # fmt: skip
        assert len(cluster.scheduler_info["workers"]) == 2
        assert await compute(facts, CUTS, MODELS, TERMS) == score(facts, CUTS, MODELS, TERMS)


async def test_without_a_scheduler_scores_are_computed_here() -> None:
    facts = people(50)
    async with computing(None, 10) as compute:
        assert await compute(facts, CUTS, MODELS, TERMS) == score(facts, CUTS, MODELS, TERMS)


async def test_a_cluster_that_is_not_there_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.scoring.value.cluster.CONNECT_S", 0.3)
    async with computing("tcp://127.0.0.1:9", 10) as compute:
        with pytest.raises(ClusterAway, match=r"not installed|Nobody answers"):
            await compute(people(5), CUTS, MODELS, TERMS)
