"""HTTP of the clusters: fit them, and see what they are."""

from fastapi import APIRouter, Request

from services.scoring.segments import cluster_service
from services.scoring.segments.schemas import ClusterFit, ClustersOut
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.web.dependencies import Pool
from shared.web.security import scope

router = APIRouter(prefix="/segments")


@router.get("/clusters", dependencies=[scope("scores:read")])
async def read_clusters(pool: Pool) -> ClustersOut:
    """The clusters that serve: sizes, profiles in words and numbers, and how their number was chosen."""
    async with pool.acquire() as connection:
        return await cluster_service.show(connection)


@router.post("/clusters:fit", status_code=201, dependencies=[scope("scores:write")])
async def fit_clusters(request: Request, body: ClusterFit | None = None) -> ClustersOut:
    """Group the customers who have bought by likeness (k-means).

    How many clusters there are follows from silhouette and stability. A cluster that is found again keeps
    its label. Everyone is put into the nearest in the background. When the customers cannot be grouped, the
    answer says why (409) and the clusters before stay.
    """
    settings: ScoringSettings = request.app.state.settings
    async with request.app.state.fitting:
        await cluster_service.fit(
            request.app.state.database, settings, body or ClusterFit(), settings.observed(utc_now())
        )
    async with request.app.state.database.pool.acquire() as connection:
        return await cluster_service.show(connection)
