"""An app in this process, reached like one over the network: its answer is passed on while it is made.

httpx's own ASGITransport reads an answer whole before it gives any of it. A statement of a million lines
would lie in memory, and its first byte would come after the gateway's patience.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import ASGIApp, Message

WAITING_CHUNKS = 4  # made and not yet taken; then the app waits


class InProcess(httpx.AsyncBaseTransport):
    """Runs an app for each request. What the app raises before it answers is a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await _Answer(self._app, request).begun()


class _Answer(httpx.AsyncByteStream):
    """One run of the app, and the body that it sends."""

    def __init__(self, app: ASGIApp, request: httpx.Request) -> None:
        self._request = request
        self._parts = aiter(request.stream) if isinstance(request.stream, httpx.AsyncByteStream) else None
        self._began: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = (
            asyncio.get_running_loop().create_future()
        )
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING_CHUNKS)
        self._ended = asyncio.Event()  # nothing more is sent, or taken
        self._complete = False
        self._task = asyncio.create_task(self._run(app))

    async def begun(self) -> httpx.Response:
        """The answer as soon as its status is known."""
        try:
            status, headers = await self._began
        except asyncio.CancelledError:
            await self.aclose()
            raise
        return httpx.Response(status, headers=headers, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
        if not self._complete:
            raise httpx.ReadError("the app broke off its answer", request=self._request)

    async def aclose(self) -> None:
        """End the work on an answer that nobody wants any more; after a whole one the app finishes."""
        self._ended.set()
        while not self._chunks.empty():
            self._chunks.get_nowait()  # or the app would wait for ever to add the end
        if not self._complete:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, app: ASGIApp) -> None:
        url = self._request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.split(b"?")[0],
            "query_string": url.query,
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
        }
        try:
            await app(scope, self._receive, self._send)
        except Exception:  # the app has logged it; over the network it would be no other
            if not self._began.done():
                self._complete = True
                self._began.set_result((500, []))
        finally:
            if not self._ended.is_set():
                self._ended.set()
                await self._chunks.put(None)

    async def _receive(self) -> Message:
        try:
            if self._parts is not None:
                return {"type": "http.request", "body": await anext(self._parts), "more_body": True}
        except StopAsyncIteration:
            self._parts = None
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._began.set_result((message["status"], list(message.get("headers", []))))
        elif message["type"] == "http.response.body" and not self._ended.is_set():
            if (body := message.get("body", b"")) and self._request.method != "HEAD":
                await self._chunks.put(body)
            if not message.get("more_body", False):
                self._complete = True
                self._ended.set()
                await self._chunks.put(None)
