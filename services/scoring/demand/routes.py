"""HTTP of demand: the forecast of a segment, and making one."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from services.scoring.demand import service
from services.scoring.demand.schemas import DemandOut, ForecastRequest
from services.scoring.demand.worker import ALL
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.web.dependencies import Pool
from shared.web.security import scope

router = APIRouter(prefix="/v1", tags=["scoring"])


@router.get("/demand", dependencies=[scope("scores:read")])
async def read_demand(
    pool: Pool,
    segment: Annotated[
        str, Query(max_length=100, pattern=r"^[^\x00]*$", description="A segment, or all customers.")
    ] = ALL,
    currency: Annotated[
        str | None, Query(pattern="^[A-Z]{3}$", description="The one of most purchases when left out.")
    ] = None,
) -> DemandOut:
    """Expected purchases and revenue week by week with bounds of 95 %, and how forecasts have done so far.

    They are about the customers who had bought when they were made; a customer's purchases count in the
    currency they mostly buy in.
    """
    async with pool.acquire() as connection:
        return await service.show(connection, segment, currency)


@router.post("/demand:forecast", status_code=201, dependencies=[scope("scores:write")])
async def forecast_demand(request: Request, body: ForecastRequest | None = None) -> DemandOut:
    """Forecast the coming weeks of every segment with the models that serve; answers with all customers'.

    One is also made every week in the background. A second one of the same day takes the first one's place.
    """
    settings: ScoringSettings = request.app.state.settings
    database = request.app.state.database
    weeks = (body or ForecastRequest()).weeks
    async with request.app.state.fitting:
        await service.make(database, settings, settings.observed(utc_now()), weeks)
    async with database.pool.acquire() as connection:
        return await service.show(connection, ALL, None)
