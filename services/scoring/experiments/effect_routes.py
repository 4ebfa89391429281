"""HTTP of effects that no experiment was designed for: before and after an event."""

from datetime import date, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from services.scoring.experiments import service
from services.scoring.experiments.before_after import Asked, BeforeAfterOut, EffectMetric, before_after
from services.scoring.experiments.rules import RFM_SEGMENTS
from services.scoring.facts.store import main_currency
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.database import raw
from shared.problems import FieldError, Invalid
from shared.web.dependencies import Session
from shared.web.security import scope

router = APIRouter(prefix="/v1/effects", tags=["scoring"])

EARLIEST = date(1900, 1, 1)
Segment = Annotated[str | None, Query(max_length=50, description="An RFM segment.")]


@router.get("/before-after", dependencies=[scope("scores:read")])
async def read_before_after(
    *,
    request: Request,
    session: Session,
    event_on: Annotated[date, Query(description="The day of the event: the first day after it.")],
    metric: EffectMetric,
    window_days: Annotated[int, Query(ge=1, le=730, description="How long before and after.")] = 30,
    segment: Segment = None,
    control_segment: Annotated[
        str | None, Query(max_length=50, description="The RFM segment to compare with.")
    ] = None,
    experiment_id: Annotated[
        UUID | None, Query(description="Compare those treated in it with its control.")
    ] = None,
    currency: Annotated[str | None, Query(pattern="^[A-Z]{3}$")] = None,
) -> BeforeAfterOut:
    """A measure before and after an event, and the difference with its interval.

    Without a comparison group it says so, since then the difference may come from anything. With one it is
    a difference in differences. The window after must be over.
    """
    settings: ScoringSettings = request.app.state.settings
    connection = await raw(session)
    _check_groups(segment, control_segment, experiment_id)
    _check_windows(event_on, window_days, settings.observed(utc_now()))
    control_arm = 0
    if experiment_id is not None:
        stored = await service.required(connection, experiment_id)
        control_arm = service.design_of(stored).control
    asked = Asked(
        event_on=event_on,
        window_days=window_days,
        metric=metric,
        currency=currency or await main_currency(connection),
        segment=segment,
        control_segment=control_segment,
        experiment_id=experiment_id,
        control_arm=control_arm,
        margin=settings.margin,
    )
    return await before_after(connection, asked)


def _check_groups(segment: str | None, control_segment: str | None, experiment_id: UUID | None) -> None:
    errors = [
        FieldError(f"query:{name}", f"must be one of {', '.join(sorted(RFM_SEGMENTS))}")
        for name, given in (("segment", segment), ("control_segment", control_segment))
        if given is not None and given not in RFM_SEGMENTS
    ]
    if segment is not None and segment == control_segment:
        errors.append(FieldError("query:control_segment", "must differ from segment"))
    if experiment_id is not None and (segment or control_segment):
        errors.append(FieldError("query:experiment_id", "names the groups itself: leave segments out"))
    if errors:
        raise Invalid(errors=errors)


def _check_windows(event_on: date, window_days: int, observed: date) -> None:
    problem = None
    if event_on < EARLIEST:
        problem = f"must not be before {EARLIEST}"
    elif event_on > observed or event_on + timedelta(days=window_days) > observed:
        problem = f"the {window_days} days after it must be over by {observed}"
    if problem:
        raise Invalid(errors=[FieldError("query:event_on", problem)])
