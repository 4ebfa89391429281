"""Idempotency keys: a repeated request gets the first answer, and its effect happens once.

The key, the effect and the answer commit in one transaction, so a crash leaves either all or nothing. An
advisory lock held by that transaction tells a request that is still running from one that is done.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import orjson
from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from shared.problems import Conflict, Invalid, PreconditionRequired
from shared.web.security import authenticate

MAX_KEY = 255
REPLAYED = "Idempotency-Replayed"

_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 360))")
_FIND = text(
    "SELECT input_hash, status, headers, body FROM idempotency_keys WHERE scope = :scope AND key = :key"
)
_KEEP = text(
    "INSERT INTO idempotency_keys (scope, key, input_hash, status, headers, body)"
    " VALUES (:scope, :key, :input_hash, :status, CAST(:headers AS jsonb), :body)"
)


class IdempotencyKeyReused(Invalid):
    slug, title = "idempotency-key-reused", "This Idempotency-Key was used for another request"


class StillRunning(Conflict):
    slug, title = "still-running", "The first request with this key is still running"


async def _key(
    idempotency_key: Annotated[
        str | None, Header(max_length=MAX_KEY, description="Names this request; a repeat gets its answer.")
    ] = None,
) -> str:
    if not idempotency_key:
        raise PreconditionRequired("Send an Idempotency-Key header: any text that names this request.")
    return idempotency_key


IdempotencyKey = Annotated[str, Depends(_key)]
OptionalIdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=MAX_KEY)
]


def input_hash(path: str, body: BaseModel | bytes) -> bytes:
    """What makes two requests the same: the path and the meaning of the body."""
    content = (
        body
        if isinstance(body, bytes)
        else orjson.dumps(body.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    )
    return hashlib.sha256(path.encode() + b"\n" + content).digest()


def replayed(response: Response) -> Response:
    """Mark an answer as a replay."""
    response.headers[REPLAYED] = "true"
    return response


async def idempotent(
    session: AsyncSession,
    request: Request,
    key: str,
    body: BaseModel | bytes,
    run: Callable[[], Awaitable[tuple[int, BaseModel, dict[str, str]] | tuple[int, BaseModel]]],
) -> Response:
    """Run once per caller and key, and answer repeats with the first answer.

    Args:
        run: the effect, in `session`'s transaction; gives status, answer and optionally headers.

    Raises:
        IdempotencyKeyReused: the same key with another path or body.
        StillRunning: the first request has not finished.
    """
    scope = f"{authenticate(request).id} {request.method}"
    hashed = input_hash(request.url.path, body)
    if not (await session.execute(_LOCK, {"key": f"{scope} {key}"})).scalar_one():
        raise StillRunning("Try again in a moment.", headers={"Retry-After": "1"})
    first: Any = (await session.execute(_FIND, {"scope": scope, "key": key})).one_or_none()
    if first is not None:
        if bytes(first.input_hash) != hashed:
            raise IdempotencyKeyReused("Use a new key for a new request.")
        stored = first.headers if isinstance(first.headers, dict) else orjson.loads(first.headers)
        return replayed(
            Response(bytes(first.body), first.status, headers=stored, media_type="application/json")
        )
    status, answer, *more = await run()
    headers: dict[str, str] = more[0] if more else {}
    content = answer.model_dump_json().encode()
    await session.execute(
        _KEEP,
        {
            "scope": scope,
            "key": key,
            "input_hash": hashed,
            "status": status,
            "headers": orjson.dumps(headers).decode(),
            "body": content,
        },
    )
    return Response(content, status, headers=headers, media_type="application/json")
