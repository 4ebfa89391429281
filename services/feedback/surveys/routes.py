"""The surveys' HTTP API, and the figures drawn from their answers."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from services.feedback.surveys import store
from services.feedback.surveys.rules import SurveyKind, check_score, result
from services.feedback.surveys.schemas import AnswerView, IntervalView, NewAnswer, Results, SurveyView
from services.feedback.surveys.store import Span
from services.feedback.tables import Survey, SurveyAnswer
from services.feedback.text.reading import read
from services.feedback.times import Bound, happened_at
from shared.clock import utc_now
from shared.contracts.feedback import SurveyAnswered
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.messaging.sections import mark
from shared.problems import FieldError, Invalid, NotFound
from shared.web.dependencies import Session
from shared.web.idempotency import OptionalIdempotencyKey, idempotent
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

router = APIRouter(prefix="/v1/surveys", tags=["surveys"])
insights = APIRouter(prefix="/v1/insights", tags=["insights"])

SurveyId = Annotated[str, Path(max_length=64)]


async def _span(
    start: Annotated[Bound | None, Query(alias="from", description="This moment or day, or later.")] = None,
    end: Annotated[Bound | None, Query(alias="to", description="Before this moment or day.")] = None,
    touchpoint: Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")] = None,
) -> Span:
    if start is not None and end is not None and start >= end:
        raise Invalid(errors=[FieldError("query:to", "`to` lies after `from`")])
    return Span(start, end, touchpoint)


Spanned = Annotated[Span, Depends(_span)]


@router.get("", dependencies=[scope("surveys:read")])
async def list_surveys(
    session: Session, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[SurveyView]:
    """The surveys there are."""
    after = decode_cursor(cursor, str)[0] if cursor else ""
    found = await store.page(session, after=after, limit=limit + 1)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[SurveyView.model_validate(survey) for survey in found[:limit]], next_cursor=more)


@router.post(
    "/{survey_id}/responses",
    status_code=201,
    response_model=AnswerView,
    dependencies=[scope("surveys:write")],
)
async def answer_survey(
    survey_id: SurveyId,
    body: NewAnswer,
    session: Session,
    request: Request,
    key: OptionalIdempotencyKey = None,
) -> Response:
    """Keep a customer's answer. With an `Idempotency-Key` a repeat gets the first answer back."""

    async def run() -> tuple[int, AnswerView]:
        survey = await _require(session, survey_id)
        check_score(body.score, lowest=survey.lowest, highest=survey.highest)
        return 201, AnswerView.model_validate(await _keep(session, survey, body))

    if key is not None:
        return await idempotent(session, request, key, body, run)
    status, answer = await run()
    return Response(answer.model_dump_json(), status, media_type="application/json")


@router.get("/{survey_id}/results", dependencies=[scope("surveys:read")])
async def survey_results(survey_id: SurveyId, session: Session, span: Spanned) -> Results:
    """What the answers of one survey add up to."""
    survey = await _require(session, survey_id)
    return await _results(session, survey.kind, [survey.id], span, survey=survey.id)  # type: ignore[arg-type]


@insights.get("/nps", dependencies=[scope("surveys:read")])
async def nps(session: Session, span: Spanned) -> Results:
    """%promoters - %detractors over all NPS surveys."""
    return await _results(session, "nps", await store.ids_of_kind(session, "nps"), span)


@insights.get("/csat", dependencies=[scope("surveys:read")])
async def csat(session: Session, span: Spanned) -> Results:
    """The percentage satisfied over all CSAT surveys."""
    return await _results(session, "csat", await store.ids_of_kind(session, "csat"), span)


async def _require(session: AsyncSession, survey_id: str) -> Survey:
    survey = await session.get(Survey, survey_id)
    if survey is None:
        raise NotFound("There is no survey with this id.")
    return survey


async def _keep(session: AsyncSession, survey: Survey, body: NewAnswer) -> SurveyAnswer:
    now = utc_now()
    reading = await asyncio.to_thread(read, body.comment or "")
    answer = SurveyAnswer(
        id=new_id(),
        survey_id=survey.id,
        customer_id=body.customer_id,
        score=body.score,
        comment=body.comment,
        mood=None if reading.mood_source == "none" else reading.mood,
        touchpoint=body.touchpoint,
        channel=body.channel,
        occurred_at=happened_at(body.occurred_at or now, now),
        recorded_at=now,
    )
    session.add(answer)
    await session.flush()
    answered = SurveyAnswered(
        answer_id=answer.id,
        customer_id=answer.customer_id,
        survey=survey.id,
        kind=survey.kind,
        score=answer.score,
        touchpoint=answer.touchpoint,
        occurred_at=answer.occurred_at,
    )
    await emit(session, answered)
    await mark(session, [answer.customer_id])
    return answer


async def _results(
    session: AsyncSession, kind: SurveyKind, survey_ids: list[str], span: Span, survey: str | None = None
) -> Results:
    counts = await store.counts(session, survey_ids, span)
    figures = result(kind, counts)
    return Results(
        survey=survey,
        kind=kind,
        from_=span.start,
        to=span.end,
        touchpoint=span.touchpoint,
        answers=figures.answers,
        score=figures.score,
        mean=figures.mean,
        interval=IntervalView.model_validate(figures.interval) if figures.interval else None,
        groups=dict(figures.groups),
        distribution={str(score): n for score, n in counts.items()},
    )
