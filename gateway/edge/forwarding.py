"""Forwarding a request to the service that answers it, and the answer back, without looking inside."""

from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

import httpx
from starlette.types import Message, Receive, Scope, Send

from gateway.edge.route_table import Operation
from gateway.edge.upstreams import AWAY, CallerBody, Upstreams, hop_headers
from gateway.settings import GatewaySettings
from shared.problems import Malformed
from shared.telemetry import logger, safe_error

# RFC 9110, section 7.6.1, and what belongs to one hop or one side only.
HOP = frozenset(
    [
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ]
)
NOT_TO_SERVICES = HOP | {
    b"host",
    b"expect",
    b"authorization",
    b"x-api-key",
    b"cookie",
    b"x-request-id",
    b"traceparent",
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
}
NOT_TO_CALLERS = HOP | {b"server", b"date", b"x-request-id", b"traceparent", b"set-cookie"}
BUFFERED_BYTES = 64 * 1024
# Characters that may stand as they are; `%` only in the query, which is sent on as it came.
PATH_SAFE = "/:@!$&'()*+,;=~"
QUERY_SAFE = PATH_SAFE + '?%[]|{}"<>^`\\'


class Forwarder:
    """Sends what callers ask on to the services."""

    def __init__(self, upstreams: Upstreams, settings: GatewaySettings) -> None:
        self._upstreams = upstreams
        self._settings = settings
        self._log = logger(part="forwarding")

    async def forward(
        self, operation: Operation, token: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Forward one request and stream the answer.

        Raises:
            Unavailable, TimedOut: the service is away or too slow, and nothing was answered yet.
        """
        upstream = self._upstreams[operation.service]
        request = await self._request(upstream.url, token, scope, receive)
        bulk = operation.rate_class == "bulk"
        timeout_s = self._settings.forward_bulk_timeout_s if bulk else self._settings.forward_timeout_s
        response = await upstream.send(request, timeout_s=timeout_s)
        try:
            await self._answer(response, send)
        finally:
            await response.aclose()

    async def _request(self, base: httpx.URL, token: str, scope: Scope, receive: Receive) -> httpx.Request:
        headers, length = _headers(scope, token)
        # The path is written anew from what was matched, so that both sides read the same one.
        target = quote(scope["path"], safe=PATH_SAFE).encode()
        if scope["query_string"]:
            target += b"?" + quote(scope["query_string"], safe=QUERY_SAFE).encode()
        try:
            url = base.copy_with(raw_path=target)
        except httpx.InvalidURL as error:
            raise Malformed("The path or query cannot be read.") from error
        if length is not None and length > BUFFERED_BYTES:
            return httpx.Request(scope["method"], url, headers=headers, stream=CallerBody(receive))
        first = await _read(receive)
        if first.complete:
            # httpx sets the length itself; a GET without a body gets none.
            headers = [item for item in headers if item[0] != b"content-length"]
            return httpx.Request(scope["method"], url, headers=headers, content=first.content)
        body = CallerBody(receive, first.content)
        return httpx.Request(scope["method"], url, headers=headers, stream=body)

    async def _answer(self, response: httpx.Response, send: Send) -> None:
        named = _named_hops(response.headers.raw)
        headers = [
            (name.lower(), value)
            for name, value in response.headers.raw
            if name.lower() not in NOT_TO_CALLERS and name.lower() not in named
        ]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        try:
            async for chunk in cast(httpx.AsyncByteStream, response.stream):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except AWAY as error:
            # The status is out already: leaving the answer unfinished makes the server cut the connection,
            # which is the only truth left to tell.
            self._log.warning("a service broke off its answer", **safe_error(error))
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(frozen=True, slots=True)
class _First:
    """What was read of a body before deciding how to send it on."""

    content: bytes
    complete: bool


async def _read(receive: Receive) -> _First:
    """The body when it is small, otherwise its beginning."""
    content = b""
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("The caller went away before the body was complete.")
        content += message.get("body", b"")
        if not message.get("more_body", False):
            return _First(content, True)
        if len(content) > BUFFERED_BYTES:
            return _First(content, False)


def _headers(scope: Scope, token: str) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """The caller's headers without what is not for services, with what is; and the body's length."""
    named = _named_hops(scope["headers"])
    length = None
    headers = []
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value) if value.isdigit() and len(value) < 19 else None
        if name not in NOT_TO_SERVICES and name not in named:
            headers.append((name, value))
    headers += [(name.encode(), value.encode()) for name, value in hop_headers(token).items()]
    return headers, length


def _named_hops(headers: list[tuple[bytes, bytes]]) -> set[bytes]:
    """Headers that `Connection` names as belonging to this hop."""
    return {
        part.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for part in value.split(b",")
    } - {b"content-length", b"content-type"}
