"""The scoring service's assembly: routers, reactions, section and background job."""

import asyncio

from fastapi import FastAPI

from services.scoring.actions.budgets.routes import router as budgets
from services.scoring.actions.budgets.service import make_next
from services.scoring.actions.routes import router as actions
from services.scoring.actions.service import keep_actions
from services.scoring.churn.routes import router as churn
from services.scoring.churn.service import keep_churn
from services.scoring.demand.routes import router as demand
from services.scoring.demand.service import weekly
from services.scoring.experiments.effect_routes import router as effects
from services.scoring.experiments.routes import router as experiments
from services.scoring.experiments.service import finish_due
from services.scoring.experiments.uplift_routes import router as uplift
from services.scoring.models.routes import router as models
from services.scoring.models.service import watch_drift
from services.scoring.reactions import reactions_for
from services.scoring.recommendations.item_routes import router as items
from services.scoring.recommendations.routes import router as recommendations
from services.scoring.recommendations.service import refreshing
from services.scoring.section import SECTION
from services.scoring.segments.routes import router as segments
from services.scoring.segments.service import keep_segments
from services.scoring.settings import ScoringSettings
from services.scoring.value.rfm import router as rfm
from services.scoring.value.routes import router as value
from services.scoring.value.service import keep_true
from services.scoring.value_index.routes import router as value_index
from services.scoring.value_index.service import keep_index
from shared.clock import utc_now
from shared.database import Database
from shared.jobs import Job
from shared.messaging.bus import Bus
from shared.web.app import create_service_app

JOB_EVERY_S = 1.0
DEMAND_EVERY_S = 60.0


def create_app(settings: ScoringSettings | None = None, bus: Bus | None = None) -> FastAPI:
    """The scoring service.

    Args:
        settings: from the environment when left out.
        bus: the transport of events; made from the settings when left out.
    """
    chosen = settings or ScoringSettings()

    async def keep(database: Database) -> None:
        await keep_true(database, chosen)

    async def keep_indexed(database: Database) -> None:
        await keep_index(database, chosen)

    async def watch(database: Database) -> None:
        await watch_drift(database, chosen, chosen.observed(utc_now()))

    app = create_service_app(
        chosen,
        title="Scoring",
        routers=[
            models,
            value,
            rfm,
            value_index,
            churn,
            actions,
            budgets,
            recommendations,
            items,
            demand,
            segments,
            experiments,
            effects,
            uplift,
        ],
        reactions=[reactions_for(chosen)],
        section=SECTION,
        jobs=[
            Job("scores", JOB_EVERY_S, keep),
            Job("value index", JOB_EVERY_S, keep_indexed),
            Job("churn", JOB_EVERY_S, lambda database: keep_churn(database, chosen)),
            Job("next actions", JOB_EVERY_S, lambda database: keep_actions(database, chosen)),
            Job("budgets", JOB_EVERY_S, lambda database: make_next(database, chosen)),
            Job("recommendations", JOB_EVERY_S, refreshing(chosen)),
            Job("demand", DEMAND_EVERY_S, weekly(chosen)),
            Job("segments", JOB_EVERY_S, lambda database: keep_segments(database, chosen)),
            Job("experiments", JOB_EVERY_S, lambda database: finish_due(database, chosen)),
            Job("model drift", chosen.drift_every_s, watch),
        ],
        bus=bus,
    )
    app.state.fitting = asyncio.Semaphore(1)  # one fit at a time: it is all of a core's work
    return app
