"""Challenges, badges and leaderboards, over HTTP."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from services.loyalty.challenges import boards, rules, store
from services.loyalty.challenges.boards import Board
from services.loyalty.challenges.rules import Challenge
from services.loyalty.challenges.schemas import (
    BadgeOut,
    BoardOut,
    ChallengeIn,
    ChallengeOut,
    ChallengePatch,
    Definition,
    ProgressOut,
    Ranked,
    ShownIn,
    as_definition,
)
from services.loyalty.challenges.store import Version
from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.store import Connection
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
WRITE = [scope("loyalty:write")]
Operator = Annotated[Caller, scope("admin")]
ChallengeId = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")]
Period = Annotated[
    str | None, Query(pattern=r"^[1-9]\d{3}(-(0[1-9]|1[0-2]))?$", description="2026-11 or 2026")
]
Segment = Annotated[
    str | None, Query(min_length=1, max_length=50, pattern=r"^[^\x00]*$", description="A tier.")
]
MAX_CHALLENGES = 200
FIRST = ("", datetime(1, 1, 2, tzinfo=UTC))


class UnknownChallenge(NotFound):
    slug, title = "unknown-challenge", "There is no such challenge"


class ChallengeExists(Conflict):
    slug, title = "challenge-exists", "There is a challenge of this id"


class TooManyChallenges(Conflict):
    slug, title = "too-many-challenges", "There are as many challenges as can be"


@router.get("/v1/challenges", dependencies=READ)
async def list_challenges(
    pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ChallengeOut]:
    """The challenges, by id."""
    after = decode_cursor(cursor, str)[0] if cursor else ""
    found = await store.page(pool, after, limit + 1)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[_out(version) for version in found[:limit]], next_cursor=more)


@router.get("/v1/challenges/{challenge_id}", dependencies=READ)
async def read_challenge(challenge_id: ChallengeId, pool: Pool, response: Response) -> ChallengeOut:
    """One challenge, with its ETag."""
    version = await _require(pool, challenge_id)
    set_etag(response, version.version)
    return _out(version)


@router.post("/v1/challenges", status_code=201, response_model=ChallengeOut)
async def create_challenge(
    body: ChallengeIn, request: Request, session: Session, _: Operator, key: OptionalIdempotencyKey = None
) -> Response:
    """Make a challenge. It counts what is done from `starts_at` on, with a member's next such deed."""

    async def run() -> tuple[int, ChallengeOut, dict[str, str]]:
        connection = await raw(session)
        if len(await store.page(connection, "", MAX_CHALLENGES)) == MAX_CHALLENGES:
            raise TooManyChallenges(f"At most {MAX_CHALLENGES}; change one that is over.")
        version = Version(body.id or str(new_id()), 1, as_definition(body), utc_now())
        if not await store.add(connection, version):
            raise ChallengeExists("Choose another id, or change that challenge.")
        return 201, _out(version), {"ETag": tag(1)}

    if key is not None:
        return await idempotent(session, request, key, body, run)
    status, answer, headers = await run()
    return Response(answer.model_dump_json(), status, headers=headers, media_type="application/json")


@router.patch("/v1/challenges/{challenge_id}")
async def change_challenge(
    *,
    challenge_id: ChallengeId,
    body: ChallengePatch,
    session: Session,
    response: Response,
    _: Operator,
    if_match: IfMatch,
) -> ChallengeOut:
    """Change a challenge; `enabled: false` ends it. What was given stays."""
    connection = await raw(session)
    current = await _require(connection, challenge_id)
    require_version(current.version, if_match)
    change = body.model_dump()
    definition = as_definition(_checked({**current.definition, **change}))
    for fixed in ("kind", "every"):  # what was counted so far would mean something else
        if definition.get(fixed) != current.definition.get(fixed):
            raise Invalid(errors=[FieldError(f"/{fixed}", "This stays as it is; make another challenge.")])
    if not await store.change(connection, challenge_id, definition, if_match):
        raise PreconditionFailed("Read it again, then send the change with its new ETag.")
    set_etag(response, if_match + 1)
    return _out(Version(challenge_id, if_match + 1, definition, current.made_at))


@router.get("/v1/loyalty/{customer_id}/challenges", dependencies=READ)
async def read_progress(customer_id: UUID, pool: Pool) -> list[ProgressOut]:
    """How far a member is in every challenge that runs."""
    await ledger.account_of(pool, customer_id)
    now = utc_now()
    running = [each for each in await store.enabled(pool) if each.ends_at is None or each.ends_at > now]
    rows = await store.progress_of(pool, customer_id, [each.id for each in running])
    return [
        _progress(each, {row["starts_at"]: row for row in rows if row["challenge_id"] == each.id}, now)
        for each in running
    ]


@router.get("/v1/loyalty/{customer_id}/badges", dependencies=READ)
async def read_badges(
    customer_id: UUID, pool: Pool, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[BadgeOut]:
    """A member's badges, by challenge and time."""
    after = decode_cursor(cursor, str, _moment) if cursor else FIRST
    await ledger.account_of(pool, customer_id)
    rows = await store.badges_of(pool, customer_id, (after[0], after[1]), limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=[BadgeOut(**{name: row[name] for name in BadgeOut.model_fields}) for row in rows[:limit]],
        next_cursor=encode_cursor(last["challenge_id"], last["starts_at"].isoformat()) if last else None,
    )


@router.get("/v1/leaderboards/{board}", dependencies=READ, response_model=BoardOut)
async def read_board(
    *,
    board: Board,
    pool: Pool,
    period: Period = None,
    segment: Segment = None,
    limit: Annotated[int, Query(ge=1, le=boards.TOP)] = boards.TOP,
    customer_id: Annotated[UUID | None, Query(description="Whose own place to tell.")] = None,
) -> Response:
    """The top of a leaderboard for a month (the present one when left out) or a year, and one's own place."""
    period = period or boards.month(utc_now())
    found = await boards.read(pool, board, period, segment=segment, limit=limit, member=customer_id)
    answer = BoardOut(
        board=board,
        period=period,
        segment=segment,
        as_of=found.as_of,
        members=found.members,
        items=[Ranked.model_validate(place) for place in found.top],
        own=Ranked.model_validate(found.own) if found.own else None,
    )
    return Response(answer.model_dump_json(), media_type="application/json")


@router.put("/v1/loyalty/{customer_id}/leaderboards", status_code=204, dependencies=WRITE)
async def show_on_boards(customer_id: UUID, body: ShownIn, session: Session) -> None:
    """Have a member appear on leaderboards or not. Who leaves is gone at once."""
    connection = await raw(session)
    await ledger.account_of(connection, customer_id)
    await boards.show(connection, customer_id, shown=body.shown)


def _progress(challenge: Challenge, rows: dict[datetime, Any], now: datetime) -> ProgressOut:
    start, end = rules.window(challenge.every, now)
    row = rows.get(start)
    streaks = rules.streaks(challenge.every, [at for at, each in rows.items() if each["met_at"]])
    before = next((at for at in streaks if rules.window(challenge.every, at)[1] == start), None)
    once = challenge.every == "once"
    return ProgressOut(
        challenge_id=challenge.id,
        name=challenge.name,
        badge=challenge.badge,
        done=row["done"] if row else 0,
        target=challenge.target,
        met_at=row["met_at"] if row else None,
        window_starts_at=None if once else start,
        window_ends_at=challenge.ends_at if once else end,
        streak=streaks.get(start) or (streaks[before] if before else 0),
        in_a_row=challenge.in_a_row,
    )


def _checked(definition: dict[str, Any]) -> Definition:
    try:
        return Definition.model_validate(definition)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(found) from error


def _moment(value: object) -> datetime:
    if not isinstance(value, str):
        raise TypeError("not a moment")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("not a moment of ours")
    return moment


async def _require(connection: Connection, challenge_id: str) -> Version:
    version = await store.one(connection, challenge_id)
    if version is None:
        raise UnknownChallenge("GET /v1/challenges lists them.")
    return version


def _out(version: Version) -> ChallengeOut:
    return ChallengeOut.model_validate(
        {**version.definition, "id": version.id, "version": version.version, "made_at": version.made_at}
    )
