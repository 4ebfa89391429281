"""Clusters from facts to events: fitted in a process of its own, then everyone is put into the nearest."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
import orjson

from services.scoring.segments import cluster_store, store
from services.scoring.segments.clustering import FEATURES, assign, profile, typical
from services.scoring.segments.fitting import Task, run
from services.scoring.segments.schemas import ChoiceOut, ClusterFit, ClusterOut, ClustersOut
from services.scoring.settings import ScoringSettings
from shared.database import Database
from shared.problems import Conflict, NotFound

SAMPLE = 20_000  # buyers that clusters are fitted to; the rest are put into the nearest


class FittedMeanwhile(Conflict):
    slug, title = "fitted-meanwhile", "Other clusters have been fitted meanwhile"


async def fit(database: Database, settings: ScoringSettings, request: ClusterFit, observed: date) -> None:
    """Fit clusters to the facts; they serve from now on, and everyone is put into one in the background.

    Raises:
        TooFewCustomers, NoVariance, NotFinite: these customers cannot be clustered; the clusters before stay.
        FittedMeanwhile
        TookTooLong: it was stopped.
    """
    async with database.pool.acquire() as connection:
        before = await cluster_store.latest(connection)
        buyers, currencies = await cluster_store.sample(connection, observed, SAMPLE)
    task = Task(
        buyers,
        currencies,
        request.fewest,
        request.most,
        settings.fit_minimum_customers,
        before.clusters if before else None,
        before.next_label if before else 1,
    )
    fitted = await run(task, timeout_s=settings.fit_timeout_s)
    async with database.pool.acquire() as connection, connection.transaction():
        await store.begin_walk(connection)
        present = await cluster_store.latest(connection)
        if (present and present.version) != (before and before.version):
            raise FittedMeanwhile("Look at those, then fit again if you still want to.")
        version = before.version + 1 if before else 1
        await cluster_store.add(connection, version, fitted, len(buyers.currency), observed)


async def place(connection: asyncpg.Connection, customer_ids: Sequence[UUID], observed: date) -> None:
    """Put these customers into the nearest cluster and their RFM segment, and tell whose changed."""
    model = await cluster_store.latest(connection)
    labels: dict[UUID, str | None] = {}
    profiles: dict[str | None, str] = {}
    if model is not None:
        ids, buyers, currencies = await cluster_store.buyers(connection, customer_ids, observed)
        labels = dict(zip(ids, assign(buyers, currencies, model.clusters), strict=True))
        for label, centroid in zip(model.clusters.labels, model.clusters.centroids, strict=True):
            profiles[label] = orjson.dumps(profile(centroid)).decode()
    found = [labels.get(customer_id) for customer_id in customer_ids]
    said = [profiles.get(label) for label in found]
    await cluster_store.write(connection, customer_ids, found, said, observed)


async def show(connection: asyncpg.Connection) -> ClustersOut:
    """The clusters that serve, with sizes and profiles.

    Raises:
        NotFound: none have been fitted yet.
    """
    model = await cluster_store.latest(connection)
    if model is None:
        raise NotFound("No clusters have been fitted yet; POST /v1/segments/clusters:fit does.")
    sizes = await cluster_store.sizes(connection)
    state = await store.read_state(connection)
    clusters = [
        ClusterOut(
            label=label,
            customers=sizes.get(label, 0),
            profile=profile(centroid),
            standing={name: round(float(centroid[n]), 2) for n, name in enumerate(FEATURES)},
            typical=typical(centroid, model.clusters.scales),
        )
        for label, centroid in zip(model.clusters.labels, model.clusters.centroids, strict=True)
    ]
    return ClustersOut(
        version=model.version,
        as_of=model.as_of,
        created_at=model.created_at,
        fitted_to=model.customers,
        clusters=clusters,
        choices=[ChoiceOut(**choice) for choice in model.quality["choices"]],
        why=model.quality["why"],
        running=state.after is not None,
    )
