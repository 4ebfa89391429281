"""HTTP of experiments: design them, let them run, put customers into arms, read what came of them."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from services.scoring.experiments import service, store
from services.scoring.experiments.results import ResultsOut
from services.scoring.experiments.rules import HasBegun
from services.scoring.experiments.schemas import (
    AssignmentIn,
    AssignmentOut,
    AssignmentsOut,
    ExperimentIn,
    ExperimentOut,
    ExperimentPatch,
    ExposuresIn,
    ExposuresOut,
    SizeIn,
    SizeOut,
    arms_out,
)
from services.scoring.experiments.store import Stored
from services.scoring.settings import ScoringSettings
from shared.database import raw
from shared.ids import new_id
from shared.problems import NotFound
from shared.web.dependencies import Session
from shared.web.etag import IfMatch, require_version, set_etag, tag
from shared.web.idempotency import OptionalIdempotencyKey, idempotent
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

router = APIRouter(prefix="/v1/experiments", tags=["scoring"])

READ = [scope("scores:read")]
WRITE = [scope("scores:write")]


def _settings(request: Request) -> ScoringSettings:
    settings: ScoringSettings = request.app.state.settings
    return settings


@router.post(":size", dependencies=READ)
async def reckon_size(body: SizeIn, request: Request, session: Session) -> SizeOut:
    """How many customers, and days at the present traffic, an experiment needs.

    What customers did so far tells the baseline and deviation that are not given. Of shares by Fleiss, Tytun
    & Ury (1980), of means by Chow, Shao & Wang (2003); a result that may be read at any time needs more.
    """
    return await service.reckon_size(await raw(session), _settings(request), body)


@router.post("", status_code=201, dependencies=WRITE, response_model=ExperimentOut)
async def create_experiment(
    body: ExperimentIn, request: Request, session: Session, key: OptionalIdempotencyKey = None
) -> Response:
    """Design an experiment; it is a draft until it is started. Its first metric decides."""

    async def run() -> tuple[int, ExperimentOut, dict[str, str]]:
        connection = await raw(session)
        design = await service.completed(connection, body)
        size = await service.size_of(connection, _settings(request), design)
        stored = await store.add(
            connection,
            new_id(),
            design.model_dump_json(),
            size.model_dump_json() if size else None,
            design.ends_at,
        )
        return 201, _out(stored), {"ETag": tag(1), "Location": f"/v1/experiments/{stored.id}"}

    if key is not None:
        return await idempotent(session, request, key, body, run)
    status, answer, headers = await run()
    return Response(answer.model_dump_json(), status, headers=headers, media_type="application/json")


@router.get("", dependencies=READ)
async def list_experiments(
    session: Session, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ExperimentOut]:
    """All experiments, newest first."""
    before = decode_cursor(cursor, UUID)[0] if cursor else None
    found = await store.page(await raw(session), before, limit + 1)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[_out(stored) for stored in found[:limit]], next_cursor=more)


@router.get("/{experiment_id}", dependencies=READ)
async def read_experiment(experiment_id: UUID, session: Session, response: Response) -> ExperimentOut:
    """One experiment, with its ETag."""
    return _show(await service.required(await raw(session), experiment_id), response)


@router.patch("/{experiment_id}", dependencies=WRITE)
async def change_experiment(
    *,
    experiment_id: UUID,
    body: ExperimentPatch,
    if_match: IfMatch,
    request: Request,
    session: Session,
    response: Response,
) -> ExperimentOut:
    """Change a draft; what is left out stays. An experiment that has begun is not changed (409)."""
    connection = await raw(session)
    stored = await service.required(connection, experiment_id, lock=True)
    if stored.status != "draft":
        raise HasBegun("Stop it and design a new one: changed arms would mix two experiments.")
    require_version(stored.version, if_match)
    changed = service.design_of(stored).model_dump(mode="json") | body.model_dump(
        mode="json", exclude_unset=True
    )
    design = await service.completed(connection, _checked(changed))
    size = await service.size_of(connection, _settings(request), design)
    await store.change(
        connection,
        stored,
        design.model_dump_json(),
        size.model_dump_json() if size else None,
        design.ends_at,
    )
    return _show(await service.required(connection, experiment_id), response)


@router.post("/{experiment_id}:start", dependencies=WRITE)
async def start_experiment(
    experiment_id: UUID, request: Request, session: Session, response: Response
) -> ExperimentOut:
    """Let a draft run; from now on its design rests. One that runs already answers as it is."""
    connection = await raw(session)
    stored = await service.required(connection, experiment_id, lock=True)
    if stored.status == "stopped":
        raise HasBegun("It was stopped; design a new one.")
    if stored.status == "draft":
        await service.begin(connection, _settings(request), stored)
        stored = await service.required(connection, experiment_id)
    return _show(stored, response)


@router.post("/{experiment_id}:stop", dependencies=WRITE)
async def stop_experiment(experiment_id: UUID, request: Request, session: Session) -> ResultsOut:
    """Stop a running experiment for good; answers with its results and keeps what its actions brought."""
    connection = await raw(session)
    stored = await service.required(connection, experiment_id, lock=True)
    return await service.finish(connection, _settings(request), stored)


@router.get("/{experiment_id}/assignments/{customer_id}", dependencies=WRITE)
async def assign_customer(
    experiment_id: UUID, customer_id: UUID, request: Request, session: Session
) -> AssignmentOut:
    """The customer's arm. Asking is exposing: the first time is kept, later ones answer the same.

    The arm comes from SHA-256 of `salt:customer_id`; its first 8 bytes, read as a big-endian number, modulo
    10,000 are the bucket, and the experiment's `arms` say whose it is.
    """
    connection = await raw(session)
    stored = await service.required(connection, experiment_id)
    (found,) = await service.assign(connection, _settings(request), stored, [customer_id])
    if found.why_none is not None and found.why_none.startswith("nothing is known"):
        raise NotFound("Nothing is known of this customer here.")
    return found


@router.post("/{experiment_id}/assignments:batch", dependencies=WRITE)
async def assign_customers(
    experiment_id: UUID, body: AssignmentIn, request: Request, session: Session
) -> AssignmentsOut:
    """The arms of up to 1,000 customers, in their order; those who are new are exposed now."""
    connection = await raw(session)
    stored = await service.required(connection, experiment_id)
    return AssignmentsOut(
        items=await service.assign(connection, _settings(request), stored, body.customer_ids)
    )


@router.post("/{experiment_id}/exposures:batch", dependencies=WRITE)
async def record_exposures(
    experiment_id: UUID, body: ExposuresIn, request: Request, session: Session
) -> ExposuresOut:
    """Write down who was exposed elsewhere, and when; of each customer the first exposure counts."""
    connection = await raw(session)
    stored = await service.required(connection, experiment_id)
    return await service.record(connection, _settings(request), stored, body.items)


@router.get("/{experiment_id}/results", dependencies=READ)
async def read_results(experiment_id: UUID, request: Request, session: Session) -> ResultsOut:
    """What came of it so far. The intervals may be read at any time, as often as one likes.

    They are confidence sequences (Waudby-Smith et al. 2024); the fixed-horizon interval beside each holds at
    the planned end only. A result with `valid: false` is none: the arms are not as large as they should be.
    """
    connection = await raw(session)
    return await service.read_results(
        connection, _settings(request), await service.required(connection, experiment_id)
    )


def _checked(design: dict[str, object]) -> ExperimentIn:
    try:
        return ExperimentIn.model_validate(design)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(found) from error


def _show(stored: Stored, response: Response) -> ExperimentOut:
    set_etag(response, stored.version)
    return _out(stored)


def _out(stored: Stored) -> ExperimentOut:
    design = service.design_of(stored)
    return ExperimentOut(
        id=stored.id,
        version=stored.version,
        status=stored.status,
        design=design,
        arms=arms_out(design),
        size=SizeOut.model_validate_json(stored.size) if stored.size else None,
        created_at=stored.created_at,
        started_at=stored.started_at,
        ends_at=stored.ends_at,
        stopped_at=stored.stopped_at,
    )
