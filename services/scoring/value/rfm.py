"""Recency, frequency and money as a shop wants them cut and weighed, and what they were before."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Self
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StringConstraints, field_validator, model_validator

from services.scoring.facts import walks
from services.scoring.settings import ScoringSettings
from services.scoring.value.schemas import Segment
from services.scoring.value.store import read_cuts
from shared.clock import utc_now
from shared.database import raw
from shared.problems import NotFound, PreconditionFailed
from shared.web.dependencies import Pool, Session
from shared.web.etag import IfMatch, set_etag
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.schemas import SafeInt, Schema
from shared.web.security import scope

router = APIRouter(prefix="/v1", tags=["scoring"])

MOST_CURRENCIES = 50

_STATE = "SELECT version, setup::text AS setup FROM rfm_setup"
_SET = """
    UPDATE rfm_setup SET version = version + 1, setup = $2::text::jsonb WHERE version = $1 RETURNING version
"""
# Index: the primary key.
_HISTORY = """
    SELECT as_of, recency_score, frequency_score, monetary_score, segment FROM rfm_history
    WHERE customer_id = $1 AND ($2::date IS NULL OR as_of < $2) ORDER BY as_of DESC LIMIT $3
"""
_KNOWN = "SELECT EXISTS (SELECT FROM customer_scores WHERE customer_id = $1)"

Points = Annotated[list[Annotated[SafeInt, Field(ge=0)]], Field(min_length=4, max_length=4)]
Currency = Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]


class Weights(Schema):
    """How much each score counts in their weighted sum."""

    recency: float = Field(1.0, ge=0, le=100)
    frequency: float = Field(1.0, ge=0, le=100)
    monetary: float = Field(1.0, ge=0, le=100)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.recency + self.frequency + self.monetary == 0:
            raise ValueError("one of the weights must be more than 0")
        return self


class RfmIn(Schema):
    """Four rising cut points each, the last value of a score each; what is left out is cut by fifths."""

    recency: Points | None = Field(None, description="Days since the last purchase: few are best.")
    frequency: Points | None = Field(None, description="Days with a purchase.")
    monetary: dict[Currency, Points] = Field(
        {}, max_length=MOST_CURRENCIES, description="Spend in minor units, by currency."
    )
    weights: Weights = Weights()

    @field_validator("recency", "frequency")
    @classmethod
    def _rising(cls, points: Sequence[int] | None) -> Sequence[int] | None:
        if points is not None and sorted(set(points)) != list(points):
            raise ValueError("cut points must rise")
        return points

    @field_validator("monetary")
    @classmethod
    def _all_rising(cls, monetary: dict[str, list[int]]) -> dict[str, list[int]]:
        for points in monetary.values():
            cls._rising(points)
        return monetary


class CutsOut(BaseModel):
    """The cut points in use; null while too few have bought."""

    recency: list[int] | None
    frequency: list[int] | None
    monetary: dict[str, list[int]]


class RfmOut(BaseModel):
    """What was set, and the cut points that are in use."""

    version: int
    chosen: RfmIn
    cuts: CutsOut


class RfmThen(BaseModel):
    """From this day until the one before it in the list a customer scored so; null: not scored."""

    as_of: date
    recency_score: int | None
    frequency_score: int | None
    monetary_score: int | None
    segment: Segment | None


@router.get("/rfm", dependencies=[scope("scores:read")])
async def read_rfm(session: Session, request: Request, response: Response) -> RfmOut:
    """How recency, frequency and money are cut and weighed."""
    return await _show(await raw(session), request.app.state.settings, response)


@router.put("/rfm", dependencies=[scope("scores:write")])
async def set_rfm(
    body: RfmIn, if_match: IfMatch, session: Session, request: Request, response: Response
) -> RfmOut:
    """Set cut points and weights; all customers are scored anew in the background.

    What is left out is cut into fifths of all buyers.
    """
    connection = await raw(session)
    if await connection.fetchval(_SET, if_match, body.model_dump_json()) is None:
        raise PreconditionFailed("Read it again, then send the change with its new ETag.")
    await walks.ask(connection, "rescore", "new cuts")
    return await _show(connection, request.app.state.settings, response)


@router.get("/scores/{customer_id}/history", dependencies=[scope("scores:read")])
async def read_history(
    customer_id: UUID, pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[RfmThen]:
    """How a customer's recency, frequency and money scored before, newest first: the days of changes.

    Kept for three years.
    """
    before = decode_cursor(cursor, date.fromisoformat)[0] if cursor else None
    async with pool.acquire() as connection:
        if not await connection.fetchval(_KNOWN, customer_id):
            raise NotFound("Nothing is known of this customer here.")
        rows = await connection.fetch(_HISTORY, customer_id, before, limit + 1)
    page = [RfmThen(**row) for row in rows[:limit]]
    return Page(items=page, next_cursor=encode_cursor(page[-1].as_of) if len(rows) > limit else None)


async def _show(connection: asyncpg.Connection, settings: ScoringSettings, response: Response) -> RfmOut:
    row = await connection.fetchrow(_STATE)
    cuts = await read_cuts(connection, settings.observed(utc_now()))
    set_etag(response, row["version"])
    return RfmOut(
        version=row["version"],
        chosen=RfmIn.model_validate_json(row["setup"]),
        cuts=CutsOut(
            recency=list(cuts.recency) if cuts.recency else None,
            frequency=list(cuts.frequency) if cuts.frequency else None,
            monetary={currency: list(points) for currency, points in cuts.monetary.items()},
        ),
    )
