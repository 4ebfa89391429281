"""The services behind the gateway, each with a deadline, a breaker and a bulkhead of its own.

What goes wrong on the way becomes a problem document that says so; what a service answers is never touched.
Requests go straight to the transport: httpx's client would keep cookies and add headers, which a door for
many callers must not.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple, cast

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from starlette.types import Receive

from gateway.edge.breaker import Breaker, BreakerOpen
from gateway.settings import GatewaySettings
from shared.problems import Malformed, TimedOut, Unavailable
from shared.telemetry import REQUEST_ID, current_traceparent, logger, safe_error

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
RETRY_PAUSE_S = 0.05
UNTIMED = aiohttp.ClientTimeout(total=None)  # where our own deadline is around it
ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
AWAY = (httpx.TransportError, aiohttp.ClientError, OSError, TimeoutError)
# What the transport raises when no connection came about or an idle one had just been closed.
NOT_REACHED = (httpx.ConnectError, httpx.ConnectTimeout)


class Upstream:
    """One service."""

    def __init__(
        self, name: str, url: str, transport: httpx.AsyncBaseTransport, settings: GatewaySettings
    ) -> None:
        self.name = name
        self.url = httpx.URL(url)
        self._base = str(self.url).rstrip("/")
        self.breaker = Breaker(settings.breaker_failures, settings.breaker_open_s)
        self._transport = transport
        self._settings = settings
        self.under_way = 0
        self._log = logger(upstream=name)

    async def send(self, request: httpx.Request, *, timeout_s: float) -> httpx.Response:
        """Send a request; the answer's body is still to be read, and the answer to be closed.

        Args:
            timeout_s: to the first byte of the answer, retries included, and between any two after it.

        Raises:
            Unavailable: the service is away, its breaker open, or too much is under way.
            TimedOut: it did not answer in time.
        """
        self._admit()
        request.extensions["timeout"] = {
            "connect": self._settings.forward_connect_timeout_s,
            "read": timeout_s,
            "write": timeout_s,
            "pool": timeout_s,
        }
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._attempts(request)
        except AWAY as error:
            self._release()
            if isinstance(request.stream, CallerBody) and request.stream.error is not None:
                self.breaker.given_up()  # the caller's body ended it, not the service
                raise request.stream.error from None
            raise self._failed(error) from error
        except BaseException:
            self._release()
            self.breaker.given_up()
            raise
        self.breaker.succeeded()
        response.stream = _Released(cast(httpx.AsyncByteStream, response.stream), self._release)
        return response

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str,
        timeout_s: float,
        query: Mapping[str, str] = MappingProxyType({}),
        content: bytes = b"",
    ) -> httpx.Response:
        """Ask a service on behalf of a caller; the answer is read whole, up to ANSWER_LIMIT_BYTES.

        Args:
            token: the caller's internal token.

        Raises:
            Unavailable, TimedOut: as `send`.
        """
        url = self.url.copy_with(path=path, params=dict(query) or None)
        request = httpx.Request(method, url, headers=hop_headers(token), content=content)
        if content:
            request.headers["content-type"] = "application/json"
        response = await self.send(request, timeout_s=timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                body = bytearray()
                async for chunk in cast(httpx.AsyncByteStream, response.stream):
                    body += chunk
                    if len(body) > ANSWER_LIMIT_BYTES:
                        raise Unavailable(f"The {self.name} service answers with too much.")
        except AWAY as error:
            raise self._away(self._settings.breaker_open_s) from error
        finally:
            await response.aclose()
        return httpx.Response(response.status_code, headers=response.headers, content=bytes(body))

    async def fetch(self, path: str, *, token: str, timeout_s: float) -> "Fetched":
        """GET one thing whole, on behalf of a caller; tried once. What a live view does four times over.

        Over the network it goes straight through the transport's session: to build httpx's request and URL
        costs twice what all the rest does.

        Raises:
            Unavailable, TimedOut: as `send`.
        """
        transport = self._transport
        if not isinstance(transport, AiohttpTransport):
            response = await self.call("GET", path, token=token, timeout_s=timeout_s)
            return Fetched(response.status_code, response.headers, response.content)
        self._admit()
        try:
            async with asyncio.timeout(timeout_s):
                fetched = await self._fetch(transport, path, token)
        except AWAY as error:
            raise self._failed(error) from error
        except BaseException:
            self.breaker.given_up()
            raise
        finally:
            self._release()
        self.breaker.succeeded()
        return fetched

    async def aclose(self) -> None:
        await self._transport.aclose()

    def _admit(self) -> None:
        """Take a place in the bulkhead, if there is one and the breaker lets through."""
        if self.under_way >= self._settings.forward_concurrent:
            raise Unavailable(f"The {self.name} service has more requests than it can take.")
        try:
            self.breaker.admit()
        except BreakerOpen as error:
            raise self._away(error.retry_after_s) from error
        self.under_way += 1

    async def _fetch(self, transport: AiohttpTransport, path: str, token: str) -> "Fetched":
        if not isinstance(transport.client, aiohttp.ClientSession):
            transport.client = transport.get_client()
        async with transport.client.get(
            self._base + path, headers=hop_headers(token), allow_redirects=False, timeout=UNTIMED
        ) as answer:
            if (answer.content_length or 0) > ANSWER_LIMIT_BYTES:
                raise aiohttp.ClientPayloadError("answers with too much")
            return Fetched(answer.status, answer.headers, await answer.read())

    async def _attempts(self, request: httpx.Request) -> httpx.Response:
        repeatable = request.method in IDEMPOTENT and isinstance(request.stream, httpx.ByteStream)
        left = self._settings.forward_attempts if repeatable else 1
        while True:
            left -= 1
            try:
                return await self._transport.handle_async_request(request)
            except NOT_REACHED:
                if left == 0:
                    raise
            await asyncio.sleep(RETRY_PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311

    def _failed(self, error: Exception) -> Unavailable | TimedOut:
        """Count a failure of the service; gives the problem that it means to the caller."""
        self.breaker.failed()
        self._log.warning("service did not answer", breaker=self.breaker.state, **safe_error(error))
        if isinstance(error, TimeoutError | httpx.TimeoutException) and not isinstance(error, NOT_REACHED):
            return TimedOut(f"The {self.name} service did not answer in time.")
        return self._away(self._settings.breaker_open_s)

    def _away(self, retry_after_s: float) -> Unavailable:
        return Unavailable(
            f"The {self.name} service is away.", retry_after_s=max(1, round(retry_after_s)), service=self.name
        )

    def _release(self) -> None:
        self.under_way -= 1


class Fetched(NamedTuple):
    """A service's answer, read whole; header names are looked up in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class CallerBody(httpx.AsyncByteStream):
    """A caller's body on its way through; keeps the error that ended it, which the transport would hide."""

    def __init__(self, receive: Receive, first: bytes = b"") -> None:
        self._receive = receive
        self._first = first
        self.error: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._first:
            yield self._first
        try:
            more = True
            while more:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise Malformed("The caller went away before the body was complete.")
                more = message.get("more_body", False)
                if chunk := message.get("body", b""):
                    yield chunk
        except Exception as error:
            self.error = error
            raise


class _Released(httpx.AsyncByteStream):
    """An answer's body that gives its place in the bulkhead back, once, when closed."""

    def __init__(self, stream: httpx.AsyncByteStream, release: Callable[[], None]) -> None:
        self._stream = stream
        self._release: Callable[[], None] | None = release

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()
            await self._stream.aclose()


class Upstreams(dict[str, Upstream]):
    """All services by name."""

    @classmethod
    def of(
        cls, settings: GatewaySettings, transports: Mapping[str, httpx.AsyncBaseTransport] | None
    ) -> "Upstreams":
        """From the settings' URLs, or over the given transports."""
        made = cls()
        for name, url in settings.upstream_urls.items():
            transport = (transports or {}).get(name) or _network(settings)
            made[name] = Upstream(name, url, transport, settings)
        return made

    async def aclose(self) -> None:
        for upstream in self.values():
            await upstream.aclose()


def hop_headers(token: str) -> dict[str, str]:
    """What every request to a service carries: who asks, and the ids of the request and trace."""
    headers = {"authorization": f"Bearer {token}"}
    if request_id := REQUEST_ID.get():
        headers["x-request-id"] = request_id
    if traceparent := current_traceparent():
        headers["traceparent"] = traceparent
    return headers


@cache
def _trusted() -> ssl.SSLContext:
    """The system's certificates, read once."""
    return ssl.create_default_context()


def _network(settings: GatewaySettings) -> AiohttpTransport:
    """Pooled connections without a cookie jar, proxies of the environment or headers of its own."""
    verify = _trusted()

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=settings.forward_concurrent, ssl=verify, keepalive_timeout=30)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    return AiohttpTransport(verify=verify, trust_env=False, client=session)
