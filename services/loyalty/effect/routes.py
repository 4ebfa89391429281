"""What rewards, rules and tiers did, over HTTP."""

import asyncio
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field

from services.loyalty.effect import rules, store
from services.loyalty.effect.rules import CONFIDENCE, ENOUGH, Estimate, Matched
from services.loyalty.effect.schemas import EffectOut, EstimateOut, MembersOut, Status
from services.loyalty.effect.store import Found, Kind, Question
from services.loyalty.ledger.schemas import Money
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.problems import FieldError, Invalid, NotFound
from shared.web.dependencies import Pool
from shared.web.schemas import EARLIEST, LATEST
from shared.web.security import scope

router = APIRouter(tags=["effects"])

MAX_PERIOD = timedelta(days=366)
PURCHASES, SPEND, CHURN = range(3)  # the rows of Observations.outcomes
Day = Annotated[date, Field(ge=EARLIEST.date(), le=LATEST.date())]
Name = Annotated[str | None, Query(max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]

_WHY: dict[Status, str] = {
    "estimated": (
        "Compared with members of the same tier, recency and frequency who had not had it yet; what those of"
        " them gain who get it later makes the effect look smaller. A reason to have it that is also a reason"
        " to buy, and shows in none of these, is not taken out."
    ),
    "nobody-had-it": "Nobody had it for the first time in this period.",
    "too-early": "The days after it are not over for anybody; ask for an earlier period or fewer days.",
    "no-control": "There are no comparable members without it, so what it did cannot be told.",
    "too-few-members": f"An interval needs at least {ENOUGH} comparable members on either side.",
}


class NoSuchThing(NotFound):
    slug, title = "nothing-to-look-at", "There is no such reward, rule or tier"


@router.get("/v1/loyalty/effects", dependencies=[scope("loyalty:read")])
async def read_effect(
    *,
    pool: Pool,
    request: Request,
    start: Annotated[Day, Query(alias="from", description="The first day (UTC).")],
    end: Annotated[Day | None, Query(alias="to", description="Before this day; today when left out.")] = None,
    reward: UUID | None = None,
    rule: Name = None,
    tier: Name = None,
    days: Annotated[int, Query(ge=7, le=365, description="How long after it to look.")] = 90,
) -> EffectOut:
    """What one of `reward`, `rule` and `tier` did to repeat purchases, spend and churn, with intervals."""
    settings: LoyaltySettings = request.app.state.settings
    now = utc_now()
    end = end or now.date()
    kind, name = _one_of({"reward": str(reward) if reward else None, "rule": rule, "tier": tier})
    if not timedelta(0) < end - start <= MAX_PERIOD:
        raise Invalid(errors=[FieldError("query:to", f"from 1 to {MAX_PERIOD.days} days after `from`")])
    if not await store.known(pool, kind, name):
        raise NoSuchThing
    asked = Question(kind, name, _midnight(start), _midnight(end), days)
    found = await store.read(pool, asked, currency=settings.currency, cost_per_point=settings.cost_per_point)
    status, matched, estimates = await asyncio.to_thread(_judge, asked, found, now)
    answer = EffectOut(
        **{kind: name},
        from_=start,
        to=end,
        days=days,
        currency=settings.currency,
        confidence=CONFIDENCE,
        status=status,
        why=_WHY[status],
        members=MembersOut(
            had_it=found.with_it, compared=matched.had, compared_with=matched.without, sampled=found.sampled
        ),
        cost=None if found.cost is None else Money(amount=found.cost, currency=settings.currency),
    )
    return _with_estimates(answer, estimates) if estimates else answer


def _judge(asked: Question, found: Found, now: datetime) -> tuple[Status, Matched, list[Estimate]]:
    if found.with_it == 0:
        return "nobody-had-it", Matched(0, 0), []
    seen = rules.observe(
        found.histories,
        start=store.day(asked.start),
        end=store.day(asked.end),
        after=float(asked.days),
        now=store.day(now),
    )
    if not seen.had.any():
        status: Status = "too-early" if not len(seen.had) else "no-control"
        return status, Matched(0, 0), []
    seen = rules.comparable(seen)
    matched = rules.matched(seen)
    if matched.without == 0:
        return "no-control", matched, []
    if min(matched.had, matched.without) < ENOUGH:
        return "too-few-members", matched, []
    return "estimated", matched, [rules.effect(seen, outcome) for outcome in (PURCHASES, SPEND, CHURN)]


def _with_estimates(answer: EffectOut, estimates: list[Estimate]) -> EffectOut:
    purchases, spend, churn = (EstimateOut(**asdict(each)) for each in estimates)
    retained = round(-churn.difference * answer.members.had_it)
    sure = churn.high < 0 and retained > 0 and answer.cost is not None
    return answer.model_copy(
        update={
            "purchases": purchases,
            "spend": spend,
            "churn": churn,
            "retained": retained,
            "cost_per_retained": Money(amount=answer.cost.amount // retained, currency=answer.currency)
            if sure and answer.cost
            else None,
        }
    )


def _one_of(given: dict[Kind, str | None]) -> tuple[Kind, str]:
    named = [(kind, name) for kind, name in given.items() if name is not None]
    if len(named) != 1:
        raise Invalid(errors=[FieldError("query:reward", "name one of reward, rule and tier")])
    return named[0]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
