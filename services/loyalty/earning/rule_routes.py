"""Earning rules, over HTTP: listed for whoever reads loyalty, written and simulated by operators."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.earning import rule_store, service, simulation
from services.loyalty.earning.rule_schemas import (
    Definition,
    DraftIn,
    RuleIn,
    RuleOut,
    RulePatch,
    SimulationIn,
    SimulationOut,
    as_definition,
)
from services.loyalty.earning.rule_store import Version
from services.loyalty.earning.rules import Rule, unlimited
from services.loyalty.ledger.schemas import Money
from services.loyalty.ledger.store import Connection
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tiers import store as tiers
from services.loyalty.tiers.rules import TierTable
from shared.clock import utc_now
from shared.database import raw
from shared.ids import new_id
from shared.problems import Conflict, FieldError, Invalid, NotFound, PreconditionFailed
from shared.web.dependencies import Pool, Session
from shared.web.etag import IfMatch, require_version, set_etag, tag
from shared.web.idempotency import OptionalIdempotencyKey, idempotent
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import Caller, scope

router = APIRouter(tags=["loyalty"])

READ = [scope("loyalty:read")]
Operator = Annotated[Caller, scope("admin")]
RuleId = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")]
MAX_RULES = 200
YEAR = timedelta(days=365)


class UnknownRule(NotFound):
    slug, title = "unknown-earning-rule", "There is no such earning rule"


class RuleExists(Conflict):
    slug, title = "earning-rule-exists", "There is an earning rule of this id"


class TooManyRules(Conflict):
    slug, title = "too-many-earning-rules", "There are as many earning rules as can be"


class UnlimitedRule(Invalid):
    slug, title = "unlimited-earning-rule", "The rule would award without limit"


@router.get("/v1/earning-rules", dependencies=READ)
async def list_rules(pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Page[RuleOut]:
    """The rules as they are now, by id."""
    after = decode_cursor(cursor, str)[0] if cursor else ""
    found = await rule_store.page(pool, after, limit + 1)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[_out(version) for version in found[:limit]], next_cursor=more)


@router.get("/v1/earning-rules/{rule_id}", dependencies=READ)
async def read_rule(rule_id: RuleId, pool: Pool, response: Response) -> RuleOut:
    """One rule, with its ETag."""
    version = await _require(pool, rule_id)
    set_etag(response, version.version)
    return _out(version)


@router.post("/v1/earning-rules", status_code=201, response_model=RuleOut)
async def create_rule(
    *,
    body: RuleIn,
    request: Request,
    session: Session,
    caller: Operator,
    key: OptionalIdempotencyKey = None,
) -> Response:
    """Make a rule. It counts for what happens from `starts_at` on and was not counted yet."""

    async def run() -> tuple[int, RuleOut, dict[str, str]]:
        connection = await raw(session)
        if await rule_store.count(connection) >= MAX_RULES:
            raise TooManyRules(f"At most {MAX_RULES}; change one that is not needed any more.")
        version = Version(body.id or str(new_id()), 1, as_definition(body), utc_now())
        await _refuse_unlimited(connection, request, version)
        if not await rule_store.add(connection, version, caller.id):
            raise RuleExists("Choose another id, or change that rule.")
        return 201, _out(version), {"ETag": tag(1)}

    if key is not None:
        return await idempotent(session, request, key, body, run)
    status, answer, headers = await run()
    return Response(answer.model_dump_json(), status, headers=headers, media_type="application/json")


@router.patch("/v1/earning-rules/{rule_id}")
async def change_rule(
    *,
    rule_id: RuleId,
    body: RulePatch,
    request: Request,
    session: Session,
    response: Response,
    caller: Operator,
    if_match: IfMatch,
) -> RuleOut:
    """Change a rule, for what happens from now on; late purchases still earn by the old version."""
    version = await _change(session, request, caller, rule_id, if_match=if_match, change=body.model_dump())
    set_etag(response, version.version)
    return _out(version)


@router.delete("/v1/earning-rules/{rule_id}", status_code=204)
async def end_rule(
    *, rule_id: RuleId, request: Request, session: Session, caller: Operator, if_match: IfMatch
) -> None:
    """Disable a rule. It stays readable, for the transfers that name it."""
    await _change(session, request, caller, rule_id, if_match=if_match, change={"enabled": False})


@router.post("/v1/earning-rules:simulate")
async def simulate_draft(body: DraftIn, request: Request, pool: Pool, _: Operator) -> SimulationOut:
    """What a rule that is not there yet would have given."""
    version = Version(body.rule.id or "draft", 1, as_definition(body.rule), utc_now())
    return await _simulate(pool, request, version, body)


@router.post("/v1/earning-rules/{rule_id}:simulate")
async def simulate_rule(
    rule_id: RuleId, request: Request, pool: Pool, _: Operator, body: SimulationIn | None = None
) -> SimulationOut:
    """What a rule would have given had it been in effect all the time."""
    return await _simulate(pool, request, await _require(pool, rule_id), body or SimulationIn())


async def _change(
    session: AsyncSession,
    request: Request,
    caller: Caller,
    rule_id: str,
    *,
    if_match: int,
    change: dict[str, Any],
) -> Version:
    connection = await raw(session)
    current = await _require(connection, rule_id)
    require_version(current.version, if_match)
    if "kind" in change and change["kind"] != current.definition["kind"]:
        raise Invalid(errors=[FieldError("/kind", "The kind of a rule stays; make another rule.")])
    definition = as_definition(_checked({**current.definition, **change}))
    version = Version(rule_id, current.version + 1, definition, utc_now())
    if definition.get("enabled", True):
        await _refuse_unlimited(connection, request, version)
    if not await rule_store.add(connection, version, caller.id):
        raise PreconditionFailed("Read it again, then send the change with its new ETag.")
    return version


def _checked(definition: dict[str, Any]) -> Definition:
    try:
        return Definition.model_validate(definition)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(found) from error


async def refuse_unlimited(
    connection: Connection, settings: LoyaltySettings, table: TierTable, version: Version | None = None
) -> None:
    """Refuse a version of a rule, or of the tiers, with which a rule would award without limit.

    Raises:
        UnlimitedRule: nothing was changed.
    """
    now = utc_now()
    present = [
        rule
        for rule in await rule_store.rules(connection)
        if (version is None or rule.id != version.id) and (rule.ends_at is None or rule.ends_at > now)
    ]
    for rule in present if version is None else [rule_store.read(version)]:
        why = unlimited(
            rule,
            [other for other in present if other is not rule],
            cost_per_point=settings.cost_per_point,
            currency=settings.currency,
            highest_tier=max(tier.multiplier for tier in table.tiers),
        )
        if why is not None:
            raise UnlimitedRule(why)


async def _refuse_unlimited(connection: Connection, request: Request, version: Version) -> None:
    newest = (await tiers.tables(connection))[-1]
    await refuse_unlimited(connection, request.app.state.settings, newest, version)


async def _simulate(pool: Pool, request: Request, version: Version, span: SimulationIn) -> SimulationOut:
    settings: LoyaltySettings = request.app.state.settings
    end = span.end or utc_now()
    start = span.start or max(end, datetime.min.replace(tzinfo=UTC) + YEAR) - YEAR
    if start >= end:
        raise Invalid(errors=[FieldError("/to", "`to` comes after `from`")])
    programme = await service.programme(pool, settings)
    rule: Rule = rule_store.read(version)
    found = await simulation.simulate(pool, programme, rule, start, end)
    return SimulationOut(
        start=start,
        end=end,
        deeds=found.deeds,
        awarded=found.awarded,
        members=found.members,
        points=found.points,
        cost=Money(amount=int(found.points * settings.cost_per_point), currency=settings.currency),
        complete=found.complete,
    )


async def _require(connection: Connection, rule_id: str) -> Version:
    version = await rule_store.newest(connection, rule_id)
    if version is None:
        raise UnknownRule("GET /v1/earning-rules lists them.")
    return version


def _out(version: Version) -> RuleOut:
    return RuleOut.model_validate(
        {**version.definition, "id": version.id, "version": version.version, "made_at": version.made_at}
    )
