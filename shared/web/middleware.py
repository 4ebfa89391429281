"""What surrounds every request, as plain ASGI: ids, trace context, timing, body limit."""

import re
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.ids import new_id
from shared.problems import TooLarge
from shared.telemetry import REQUEST_ID, REQUESTS, continue_trace, logger, safe_error
from shared.web.problems import as_problem, problem_response

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
QUIET = ("/healthz", "/readyz", "/metrics")


class RequestContext:
    """Gives each request its id and trace context, measures it, and bounds its body.

    The id and the trace come from the caller's headers when they are well formed, and go back with the
    answer.
    """

    def __init__(self, app: ASGIApp, *, service: str, body_limit_bytes: int) -> None:
        self._app = app
        self._service = service
        self._limit = body_limit_bytes
        self._log = logger(service=service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id, traceparent, length = self._context(scope)
        tokens = REQUEST_ID.set(request_id)
        answer = {"status": 500, "started": False}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"], answer["started"] = message["status"], True
                headers = list(message["headers"])
                headers.append((b"x-request-id", request_id.encode()))
                if not any(name == b"traceparent" for name, _ in headers):
                    headers.append((b"traceparent", traceparent.encode()))
                message["headers"] = headers
            await send(message)

        seen = 0

        async def bounded_receive() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._limit:
                    raise HTTPException(413)  # the one error that FastAPI lets through its body parsing
            return message

        try:
            if length is not None and length > self._limit:
                raise TooLarge(f"A body may have up to {self._limit} bytes.")
            await self._app(scope, bounded_receive, send_with_headers)
        except Exception as error:
            problem = as_problem(error)
            if problem.status >= 500:
                self._log.error(
                    "request failed", status=problem.status, route=_route(scope), **safe_error(error)
                )
            if not answer["started"]:
                await problem_response(problem)(scope, receive, send_with_headers)
        finally:
            REQUEST_ID.reset(tokens)
            route = _route(scope)
            if route not in QUIET:
                REQUESTS.labels(self._service, scope["method"], route, str(answer["status"])).observe(
                    time.perf_counter() - started
                )

    def _context(self, scope: Scope) -> tuple[str, str, int | None]:
        request_id, received, length = None, None, None
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                request_id = value.decode("ascii")
            elif name == b"traceparent":
                received = value.decode("latin-1")
            elif name == b"content-length" and value.isdigit():
                length = int(value[:19])
        return request_id or str(new_id()), continue_trace(received), length


def _route(scope: Scope) -> str:
    """The route's template, never the path: paths and queries carry personal data."""
    return getattr(scope.get("route"), "path", None) or scope.get("c360.route") or "unmatched"
