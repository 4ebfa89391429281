"""All SQL of the surveys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.feedback.tables import Survey

# Index: survey_answers_results.
_COUNTS = text("""
    SELECT score, count(*) AS n FROM survey_answers
    WHERE survey_id = ANY(CAST(:surveys AS text[]))
      AND occurred_at >= coalesce(CAST(:start AS timestamptz), '-infinity')
      AND occurred_at < coalesce(CAST(:end AS timestamptz), 'infinity')
      AND (CAST(:touchpoint AS text) IS NULL OR touchpoint = :touchpoint)
    GROUP BY score ORDER BY score
""")


@dataclass(frozen=True, slots=True)
class Span:
    """Which answers to count: from a time until before another, at one touchpoint; None means all."""

    start: datetime | None = None
    end: datetime | None = None
    touchpoint: str | None = None


async def counts(session: AsyncSession, survey_ids: Sequence[str], span: Span) -> dict[int, int]:
    """How often each score was given in these surveys."""
    rows = await session.execute(
        _COUNTS,
        {"surveys": list(survey_ids), "start": span.start, "end": span.end, "touchpoint": span.touchpoint},
    )
    return {row.score: row.n for row in rows}


async def page(session: AsyncSession, *, after: str, limit: int) -> list[Survey]:
    """Surveys in the order of their ids."""
    query = select(Survey).where(col(Survey.id) > after).order_by(col(Survey.id)).limit(limit)
    return list(await session.exec(query))


async def ids_of_kind(session: AsyncSession, kind: str) -> list[str]:
    """The surveys of one kind."""
    return list(await session.exec(select(Survey.id).where(Survey.kind == kind).order_by(Survey.id)))
