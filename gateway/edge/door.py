"""The door: every request passes here, as plain ASGI, before a route or a service sees it.

Path and method, then the key, its scopes, its rate, then onwards: to the gateway's own routes or to the
service that the route table names. Both get the caller as an internal token in place of the key, so that a
key travels no further than this module.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.edge.callers import Callers, KnownKey
from gateway.edge.forwarding import Forwarder
from gateway.edge.keys import presented_key
from gateway.edge.limits import RateLimit
from gateway.edge.route_table import Operation, RouteTable
from gateway.settings import GatewaySettings
from shared.problems import Forbidden, TooManyRequests, Unavailable
from shared.telemetry import logger

OWN = "gateway"
# Where the door leaves what it knows, for the gateway's own plain routes.
CALLER = "c360.caller"
PARTNER = "c360.partner"
ROUTE = "c360.route"
# Set by the gateway when it calls itself; no request from outside can carry it.
INSIDE = "c360.inside"
# What an overloaded gateway still answers, so that it can be told from a dead one.
ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})
KEY_HEADERS = frozenset({b"authorization", b"x-api-key"})


class Door:
    """Authentication, authorization, limits and forwarding around the gateway's own routes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        table: RouteTable,
        callers: Callers,
        forwarder: Forwarder,
        settings: GatewaySettings,
    ) -> None:
        self._app = app
        self._table = table
        self._callers = callers
        self._forwarder = forwarder
        self._limits = {
            name: RateLimit(name, rate, tracked=settings.rate_keys_tracked)
            for name, rate in (
                ("read", settings.rate_read),
                ("write", settings.rate_write),
                ("bulk", settings.rate_bulk),
            )
        }
        self._concurrent = settings.concurrent_requests
        self._under_way = 0
        self._log = logger(part="door")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or INSIDE in scope:
            await self._app(scope, receive, send)
            return
        operation = self._table.match(scope["method"], scope["path"])
        scope[ROUTE] = operation.template
        if operation.streams or operation.template in ALWAYS:
            await self._enter(operation, scope, receive, send)
            return
        if self._under_way >= self._concurrent:
            raise Unavailable("The gateway has as many requests as it can take. Try again in a moment.")
        self._under_way += 1
        try:
            await self._enter(operation, scope, receive, send)
        finally:
            self._under_way -= 1

    async def _enter(self, operation: Operation, scope: Scope, receive: Receive, send: Send) -> None:
        if operation.public:
            await self._onwards(operation, "", scope, receive, send)
            return
        key = presented_key(scope["headers"])
        known = await self._callers.identify(scope["app"].state.database.pool, key)
        self._authorize(operation, known)
        limit = self._limits[operation.rate_class]
        verdict = limit.take(known.id)
        told = limit.headers(verdict)
        if not verdict.allowed:
            raise TooManyRequests(
                f"This key may make {limit.name} requests at the rate that RateLimit-Policy names.",
                retry_after_s=verdict.retry_after_s,
                headers={name.decode(): value.decode() for name, value in told},
            )

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *told]
            await send(message)

        scope[CALLER], scope[PARTNER] = known.caller, known.partner
        token = self._callers.token(known)
        await self._onwards(operation, token, scope, receive, send_with_limits)

    def _authorize(self, operation: Operation, known: KnownKey) -> None:
        for name in operation.scopes:
            if not known.caller.may(name):
                self._log.warning("denied", caller=known.caller.id, route=operation.template, needs=name)
                raise Forbidden(f"This needs the scope {name}.")

    async def _onwards(
        self, operation: Operation, token: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["method"] != operation.method:
            scope = {**scope, "method": operation.method}  # HEAD: asked as GET, the server drops the body
        if operation.service != OWN:
            await self._forwarder.forward(operation, token, scope, receive, send)
            return
        headers = [item for item in scope["headers"] if item[0] not in KEY_HEADERS]
        if token:
            headers.append((b"authorization", b"Bearer " + token.encode()))
        scope["headers"] = headers
        await self._app(scope, receive, send)
