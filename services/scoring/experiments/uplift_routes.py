"""HTTP of uplift: learn whom an experiment's treatment moves, and read how well that ranks customers."""

import asyncio
from datetime import datetime
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from services.scoring.experiments import outcomes, service, store, uplift_worker
from services.scoring.experiments.rules import NotBegun
from services.scoring.experiments.schemas import ExperimentIn, Slug
from services.scoring.experiments.uplift import Floats, Learner, Method
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.database import raw
from shared.problems import FieldError, Invalid, NotFound
from shared.web.dependencies import Session
from shared.web.schemas import Schema
from shared.web.security import scope

router = APIRouter(prefix="/v1/experiments", tags=["scoring"])

MOST_CUSTOMERS = 200_000
KNOWN_SHARE = 0.1  # of the customers; a feature that is known of fewer is left out
NOBODY_MORE = "no model ranks customers better than chance: treat all or none"


class UpliftIn(Schema):
    """Which treatment to learn from; the first one when left out."""

    arm: Slug | None = None


class FifthOut(BaseModel):
    """A fifth of the customers by predicted uplift, best first."""

    customers: int
    predicted: float
    observed: float | None


class RankingOut(BaseModel):
    """How well a model ranks customers it has not seen."""

    method: Method
    learner: Learner
    qini: float = Field(description="Area between the curve and ranking at random, which is 0.")
    by_chance: float = Field(description="What the best of random orders mostly stays below.")
    curve: list[float] = Field(description="Gain in conversion at 0, 10, … 100 % of the customers.")
    random: list[float] = Field(description="The same at random.")
    fifths: list[FifthOut]


class UpliftOut(BaseModel):
    """Whom the treatment moves, as far as what was known before exposure tells."""

    arm: str
    against: str
    customers: int
    features: list[str]
    learnt_at: datetime
    ranks: bool = Field(description="Whether the best model ranks better than chance.")
    models: list[RankingOut] = Field(description="The best first.")
    words: str


@router.post("/{experiment_id}:uplift", dependencies=[scope("scores:write")])
async def learn_uplift(experiment_id: UUID, request: Request, body: UpliftIn | None = None) -> UpliftOut:
    """Learn from a treatment and its control who converts because of it; a few seconds to a minute.

    Two models and class transformation (Jaskowski & Jaroszewicz 2012), with logistic regression and gradient
    boosting, on what was known of customers before they were exposed; judged by the Qini coefficient
    (Radcliffe 2007) on customers whom the model has not seen.
    """
    settings: ScoringSettings = request.app.state.settings
    pool = request.app.state.database.pool
    async with pool.acquire() as connection, connection.transaction():
        stored = await service.required(connection, experiment_id)
        if stored.status == "draft":
            raise NotBegun("Start it, then there is something to learn from.")
        design = service.design_of(stored)
        arm = _arm(design, body.arm if body else None)
        window = service.window_of(settings, stored)
        columns = await outcomes.histories(
            connection, experiment_id, (design.control, arm), window, MOST_CUSTOMERS
        )
    told, observed = await asyncio.to_thread(_observed, columns, arm)
    if not told:
        raise uplift_worker.TooFewToModel("Nothing that was known before exposure tells customers apart.")
    async with request.app.state.fitting:
        rankings = await uplift_worker.run(observed, timeout_s=settings.fit_timeout_s)
    models = [RankingOut.model_validate(ranking) for ranking in rankings]
    ranks = models[0].qini > models[0].by_chance
    found = UpliftOut(
        arm=design.arms[arm].name,
        against=design.arms[design.control].name,
        customers=observed.y.size,
        features=told,
        learnt_at=utc_now(),
        ranks=ranks,
        models=models,
        words=_words(models[0])
        if ranks
        else "no model ranks customers better than chance: treat all or none",
    )
    async with pool.acquire() as connection:
        await store.keep_uplift(connection, experiment_id, found.model_dump_json())
    return found


@router.get("/{experiment_id}/uplift", dependencies=[scope("scores:read")])
async def read_uplift(experiment_id: UUID, session: Session) -> UpliftOut:
    """What was learnt last."""
    stored = await service.required(await raw(session), experiment_id)
    if stored.uplift is None:
        raise NotFound("Nothing was learnt yet: POST to :uplift.")
    return UpliftOut.model_validate_json(stored.uplift)


def _arm(design: ExperimentIn, name: str | None) -> int:
    treatments = {
        arm.name: n for n, arm in enumerate(design.arms) if n != design.control and arm.kind == "treatment"
    }
    if name is not None and name not in treatments:
        raise Invalid(errors=[FieldError("/arm", f"must be one of {', '.join(treatments)}")])
    return treatments[name] if name else next(iter(treatments.values()))


def _observed(columns: list[Floats], arm: int) -> tuple[list[str], uplift_worker.Observed]:
    """The features that tell customers apart, and what was observed of those."""
    told = [n for n, column in enumerate(columns[2:]) if _tells(column)]
    x = np.stack([columns[2 + n] for n in told] or [columns[1]], axis=1)
    observed = uplift_worker.Observed(x, columns[0] == arm, columns[1] > 0)
    return [outcomes.FEATURES[n] for n in told], observed


def _tells(column: Floats) -> bool:
    """Whether a feature is known of some customers at least, and differs between them."""
    known = column[np.isfinite(column)]
    return known.size >= max(KNOWN_SHARE * column.size, 1) and bool(np.ptp(known) > 0)


def _words(best: RankingOut) -> str:
    fifth = best.fifths[0]
    observed = "" if fifth.observed is None else f", where it was {fifth.observed:.4f}"
    return (
        f"{best.method.replace('_', ' ')} with {best.learner.replace('_', ' ')} ranks better than chance; "
        f"its best fifth gains {fifth.predicted:.4f} in conversion by its own word{observed}"
    )
