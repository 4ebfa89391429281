"""Reads of the view: by id, by a handle, many at once, live."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query, Request
from starlette.datastructures import QueryParams
from starlette.responses import Response

from gateway.edge.plain import JsonBytes, PlainRoute, admit, bearer, boolean, customer_in, header
from gateway.view import store
from gateway.view.answer import Row, Shown, choose, compose, entity_tag, from_rows, unchanged
from gateway.view.fresh import compose_live
from gateway.view.identities import MAX_VALUE, handle_of_parameter
from gateway.view.schemas import View, Views, WantedViews
from shared.contracts.sections import SECTIONS
from shared.problems import FieldError, Invalid, NotFound, Unavailable
from shared.together import Together
from shared.web.dependencies import Pool
from shared.web.security import scope

SCOPE = "view:read"

router = APIRouter(tags=["view"])
plain = APIRouter(tags=["view"], route_class=PlainRoute)

_STRING = {"type": "string"}
_PARAMETERS = [
    {"name": "customer_id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
    {
        "name": "sections",
        "in": "query",
        "description": f"Only these, comma-separated: {', '.join(SECTIONS)}.",
        "schema": _STRING,
    },
    {
        "name": "required",
        "in": "query",
        "description": "Sections without which the answer is 503, comma-separated.",
        "schema": _STRING,
    },
    {
        "name": "fresh",
        "in": "query",
        "description": "Ask the services now; `meta` says for each section what came of it.",
        "schema": {"type": "boolean", "default": False},
    },
    {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of the answer at hand; 304 when it still stands.",
        "schema": _STRING,
    },
]
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "The answer at hand still stands."}}

UNDER_WAY = 3  # queries at a time
TOGETHER = 32  # customers in one query

Sections = Annotated[str | None, Query(description="Only these, comma-separated.")]
Required = Annotated[str | None, Query(description="Sections without which the answer is 503.")]
Handle = Annotated[str | None, Query(max_length=MAX_VALUE)]


def reads_of(app: FastAPI) -> Together[UUID, list[Row]]:
    """Reads a customer's rows of the view; those who ask at the same moment share a query.

    So each waits for one or two queries, in the order of asking. The pool would let latecomers pass those
    who wait for a connection, and a query for each would cost the database more.
    """

    async def read(customer_ids: Sequence[UUID]) -> list[list[Row]]:
        return await store.read_many(app.state.database.pool, customer_ids)

    return Together(read, under_way=UNDER_WAY, at_most=TOGETHER)


@plain.get(
    "/v1/customers/{customer_id}/360",
    response_model=View,
    responses=_UNCHANGED,
    dependencies=[scope(SCOPE)],
    openapi_extra={"parameters": _PARAMETERS},
)
async def read_view(request: Request) -> Response:
    """A customer's 360 view: one query over ready-made sections.

    With `fresh=true` the services are asked side by side instead, and the view stands in for those that do
    not answer in time.
    """
    admit(request, [SCOPE])
    customer_id = customer_in(request.scope["path"])
    wanted: Sequence[str] = SECTIONS
    required: Sequence[str] = ()
    if request.scope["query_string"]:
        query = QueryParams(request.scope["query_string"])
        wanted = choose(query.get("sections"), "sections")
        required = choose(query.get("required"), "required", ())
        if boolean(query.get("fresh"), "fresh"):
            return await _read_live(request, customer_id, wanted, required)
    shown = from_rows(await request.app.state.views(customer_id))
    return _answer(request, customer_id, shown, wanted, required)


@router.get("/v1/customers/360", response_model=View, responses=_UNCHANGED, dependencies=[scope(SCOPE)])
async def find_view(  # noqa: PLR0917 - the parameters are the API
    request: Request,
    pool: Pool,
    email: Handle = None,
    phone: Annotated[str | None, Query(max_length=MAX_VALUE, description="International, with +.")] = None,
    external_id: Annotated[str | None, Query(max_length=MAX_VALUE, description="source:id")] = None,
    sections: Sections = None,
    required: Required = None,
) -> Response:
    """The 360 view of the customer who holds this e-mail address, phone number or external id."""
    given = {"email": email, "phone": phone, "external_id": external_id}
    named = [(parameter, value) for parameter, value in given.items() if value is not None]
    if len(named) != 1:
        detail = "Name the customer by exactly one of email, phone and external_id."
        raise Invalid(detail, errors=[FieldError("query:email", detail)])
    wanted, needed = choose(sections, "sections"), choose(required, "required", ())
    found = await store.find(pool, handle_of_parameter(*named[0]))
    if found is None:
        raise NotFound("No customer in the view holds this.")
    customer_id, rows = found
    return _answer(request, customer_id, from_rows(rows), wanted, needed)


@router.post("/v1/customers/360:batch", response_model=Views, dependencies=[scope(SCOPE)])
async def read_views(wanted: WantedViews, pool: Pool) -> Response:
    """The 360 views of up to 100 customers, in one query."""
    ids = list(dict.fromkeys(wanted.ids))
    names = [name for name in SECTIONS if name in (wanted.sections or SECTIONS)]
    items, unknown = [], []
    for customer_id, rows in zip(ids, await store.read_many(pool, ids), strict=True):
        shown = from_rows(rows)
        if shown is None:
            unknown.append(f'"{customer_id}"'.encode())
        else:
            items.append(compose(customer_id, shown, names))
    body = b'{"items":[' + b",".join(items) + b'],"unknown":[' + b",".join(unknown) + b"]}"
    return JsonBytes(body)


async def _read_live(
    request: Request, customer_id: UUID, wanted: Sequence[str], required: Sequence[str]
) -> Response:
    state = request.app.state
    shown = await compose_live(
        state.database.pool,
        state.upstreams,
        customer_id,
        [section for section in SECTIONS if section in wanted or section in required],
        token=bearer(request.scope),
        timeout_s=state.settings.fresh_timeout_s,
    )
    if shown is None:
        raise _stranger()
    _require(shown, required)
    body = compose(customer_id, shown, wanted)
    return JsonBytes(body, [(b"cache-control", b"no-store")])


def _answer(
    request: Request,
    customer_id: UUID,
    shown: Mapping[str, Shown] | None,
    wanted: Sequence[str],
    required: Sequence[str],
) -> Response:
    if shown is None:
        raise _stranger()
    _require(shown, required)
    tag = entity_tag(customer_id, shown)
    headers = [(b"etag", tag.encode()), (b"cache-control", b"private, no-cache")]
    held = header(request.scope, b"if-none-match")
    if held is not None and unchanged(held, tag):
        return JsonBytes(b"", headers, HTTPStatus.NOT_MODIFIED)
    return JsonBytes(compose(customer_id, shown, wanted), headers)


def _require(shown: Mapping[str, Shown], required: Sequence[str]) -> None:
    missing = [section for section in required if shown[section].status == "unavailable"]
    if missing:
        raise Unavailable(f"A required section is unavailable: {', '.join(missing)}.", sections=missing)


def _stranger() -> NotFound:
    return NotFound("No customer in the view has this id; one made just now appears within a moment.")
