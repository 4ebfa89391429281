"""Spending points, over HTTP: the hot path, one statement from the request to the answer.

It is described like every other route and runs without FastAPI's work per request, which would take longer
than the posting: the endpoint itself reads the caller, the key and the body, with the same rules.
"""

import re
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.responses import Response

from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.answers import posted
from services.loyalty.ledger.keys import posting_key
from services.loyalty.ledger.schemas import PostedOut
from services.loyalty.ledger.store import Cause
from services.loyalty.rewards.schemas import RedemptionIn
from shared.clock import utc_now
from shared.problems import FieldError, Invalid, PreconditionRequired
from shared.web.dependencies import wake
from shared.web.idempotency import MAX_KEY
from shared.web.security import authorize, scope

SCOPE = "loyalty:write"
_JSON = re.compile(r"application/([\w.-]+\+)?json\s*(;|$)", re.IGNORECASE).match
_DESCRIBED: dict[str, Any] = {
    "parameters": [
        {
            "name": "customer_id",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
        },
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "description": "Names this request; a repeat gets its answer.",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": RedemptionIn.model_json_schema()}},
    },
}


class PlainRoute(APIRoute):
    """The endpoint takes the request and gives the response; dependencies are documentation."""

    def get_route_handler(self) -> Any:
        return self.endpoint


router = APIRouter(tags=["loyalty"], route_class=PlainRoute)


@router.post(
    "/v1/loyalty/{customer_id}/redemptions",
    status_code=201,
    response_model=PostedOut,
    dependencies=[scope(SCOPE)],
    openapi_extra=_DESCRIBED,
)
async def redeem(request: Request) -> Response:
    """Spend points, those that expire soonest first. Too few: 409, and nothing is changed."""
    caller = authorize(request, [SCOPE])
    customer_id = _customer(request)
    key = _key(request)
    body = await _body(request)
    answer = await ledger.spend(
        request.app.state.database.pool,
        customer_id,
        body.points,
        Cause(body.reason, caller.id, utc_now()),
        posting_key(caller.id, key, request.scope["path"], body),
    )
    if not answer.replayed:
        wake(request)
    return posted(answer)


def _customer(request: Request) -> UUID:
    try:
        return UUID(request.path_params["customer_id"])
    except ValueError as error:
        raise Invalid(errors=[FieldError("path:customer_id", "This is not a UUID.")]) from error


def _key(request: Request) -> str:
    key = request.headers.get("idempotency-key")
    if not key:
        raise PreconditionRequired("Send an Idempotency-Key header: any text that names this request.")
    if len(key) > MAX_KEY:
        raise Invalid(errors=[FieldError("header:idempotency-key", f"At most {MAX_KEY} characters.")])
    return key


async def _body(request: Request) -> RedemptionIn:
    if not _JSON(request.headers.get("content-type", "")):
        raise RequestValidationError([{"type": "model_attributes_type", "loc": ("body",), "msg": ""}])
    try:
        return RedemptionIn.model_validate_json(await request.body() or b"{}")
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(found) from error
