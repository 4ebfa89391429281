"""Answers made of JSON text: written by hand or by the database, joined, never parsed."""

from collections.abc import Sequence

import orjson
from starlette.responses import Response

from services.loyalty.ledger.store import Held, Posted
from shared.web.idempotency import replayed
from shared.web.paging import encode_cursor


def posted(answer: Posted) -> Response:
    """201 with the posting; a replay says so in its header."""
    body = b'{"transfer_id":"%b","points":%d,"balance":%d}' % (
        str(answer.transfer_id).encode(),
        answer.points,
        answer.balance,
    )
    response = Response(body, 201, media_type="application/json")
    return replayed(response) if answer.replayed else response


def held(answer: Held) -> Response:
    """201 with the hold; a replay says so in its header."""
    body = orjson.dumps({"hold_id": str(answer.hold_id), "points": answer.points, "balance": answer.balance})
    response = Response(body, 201, media_type="application/json")
    return replayed(response) if answer.replayed else response


def page(found: Sequence[tuple[int, str]], limit: int) -> Response:
    """One page of ids and items that was read one item too far, which tells whether there is a next page."""
    items = found[:limit]
    cursor = encode_cursor(items[-1][0]) if len(found) > limit else None
    body = f'{{"items":[{",".join(text for _, text in items)}],"next_cursor":'.encode()
    return Response(body + orjson.dumps(cursor) + b"}", media_type="application/json")
