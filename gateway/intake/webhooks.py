"""POST /webhooks/{partner}: verify, store with its event, answer. Needs our own database and nothing else."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from gateway.edge.limits import RateLimit
from gateway.edge.plain import PlainRoute
from gateway.intake import store
from gateway.intake.rules import FeedbackWebhook, Unusable, read_feedback
from gateway.intake.schemas import Accepted, inlined
from gateway.intake.sealing import Vault
from gateway.intake.senders import Senders
from gateway.intake.signatures import verify
from gateway.intake.store import Arrived, Stored
from gateway.settings import GatewaySettings
from shared.clock import utc_now
from shared.contracts import encode
from shared.ids import new_id
from shared.problems import Malformed, TooLarge, TooManyRequests
from shared.telemetry import current_traceparent
from shared.together import Together
from shared.web.dependencies import wake

UNDER_WAY = 2  # statements at a time
TOGETHER = 64  # webhooks in one statement

router = APIRouter(tags=["intake"], route_class=PlainRoute)

_HEADER = {"in": "header", "required": True, "schema": {"type": "string"}}
_DESCRIBED = {
    "parameters": [
        {"name": "partner", "in": "path", "required": True, "schema": {"type": "string"}},
        _HEADER | {"name": "webhook-id", "description": "Names the webhook; a repeat is a duplicate."},
        _HEADER | {"name": "webhook-timestamp", "description": "Unix seconds, within five minutes of now."},
        _HEADER | {"name": "webhook-signature", "description": "v1,<base64 of HMAC-SHA256>"},
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": inlined(FeedbackWebhook)}},
    },
}


class Intake:
    """What the webhook route works with, made once for the app."""

    def __init__(self, app: FastAPI, settings: GatewaySettings) -> None:
        key = settings.webhook_secret_key
        self.body_limit = settings.webhook_body_limit_bytes
        self.vault = Vault(key.get_secret_value() if key else None)
        self.senders = Senders(settings, self.vault)
        self.limit = RateLimit("intake", settings.rate_intake, tracked=settings.partner_cache_size)

        async def store_all(arrived: Sequence[Arrived]) -> list[Stored]:
            return await store.receive(app.state.database.pool, arrived)

        self.keep = Together(store_all, under_way=UNDER_WAY, at_most=TOGETHER)


@router.post(
    "/webhooks/{partner}",
    status_code=202,
    response_model=Accepted,
    responses={200: {"model": Accepted, "description": "The webhook was here before."}},
    openapi_extra=_DESCRIBED,
)
async def receive(request: Request) -> Response:
    """Take a signed webhook of a partner (Standard Webhooks v1).

    What is signed is stored: as accepted, or as quarantined when it is no feedback, to be mended.
    """
    intake: Intake = request.app.state.intake
    pool = request.app.state.database.pool
    partner = request.scope["path"].removeprefix("/webhooks/")
    body = await _body(request, intake.body_limit)
    webhook_id = verify(await intake.senders.webhooks(pool, partner), request.scope["headers"], body)
    verdict = intake.limit.take(partner)
    told = {name.decode(): value.decode() for name, value in intake.limit.headers(verdict)}
    if not verdict.allowed:
        raise TooManyRequests(
            "This partner sends too fast.", retry_after_s=verdict.retry_after_s, headers=told
        )
    arrived = _arrived(partner, webhook_id, body)
    stored = await intake.keep(arrived)
    accepted = arrived.envelope is not None
    if stored.fresh and accepted:
        wake(request)
    status = "duplicate" if not stored.fresh else "accepted" if accepted else "quarantined"
    headers = {"Location": f"/v1/receipts/{stored.receipt_id}"} | told
    return Response(
        f'{{"receipt_id":"{stored.receipt_id}","status":"{status}"}}',
        202 if stored.fresh else 200,
        headers=headers,
        media_type="application/json",
    )


def _arrived(partner: str, webhook_id: str, body: bytes) -> Arrived:
    """What is to be stored of a verified webhook."""
    receipt_id, event_id, now = new_id(), new_id(), utc_now()
    try:
        event = read_feedback(body, receipt_id=receipt_id, partner=partner, webhook_id=webhook_id, now=now)
    except Unusable as error:
        return Arrived(receipt_id, partner, webhook_id, event_id, None, error.reason, body)
    envelope = encode(event, event_id=event_id, time=now, traceparent=current_traceparent())
    return Arrived(receipt_id, partner, webhook_id, event_id, envelope, None, None)


async def _body(request: Request, limit: int) -> bytes:
    """The body as it came, since the signature is over its bytes."""
    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Malformed("The caller went away before the body was complete.")
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLarge(f"A webhook may have up to {limit} bytes.")
        if not message.get("more_body", False):
            return bytes(body)
