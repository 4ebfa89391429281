"""Our own loader, for machines without wrk: `python -m infra.bench.loader JSON`, the same line of JSON out.

Closed loop, as wrk: each connection sends its next request when the answer to the last one is complete.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httptools

from infra.bench.beside import answer
from infra.bench.figures import percentile
from infra.bench.requests import read_requests


class Tally:
    """What all connections saw together."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        requests = read_requests(Path(arguments["requests"]))
        self.next: Iterator[bytes] = itertools.cycle(requests) if arguments["repeat"] else iter(requests)
        self.status: int = arguments["status"]
        self.text: bytes = arguments["text"].encode()
        self.never: bytes = arguments["never"].encode()
        self.until = 0.0
        self.latencies_ms: list[float] = []
        self.wrong, self.broken, self.ran_out = 0, 0, 0
        self.first_wrong = ""

    def note(self, status: int, body: bytes, took_s: float) -> None:
        """One answer."""
        self.latencies_ms.append(took_s * 1000)
        never = self.never and self.never in body
        if status != self.status or self.text not in body or never:
            self.wrong += 1
            self.first_wrong = self.first_wrong or f"{status} {body[:300].decode(errors='replace')}"


class Connection(asyncio.Protocol):
    """One keep-alive connection; httptools calls the `on_` methods."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._body: list[bytes] = []
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._tally.note(self._parser.get_status_code(), b"".join(self._body), now - self._sent_at)
        if now < self._tally.until:
            self._send()
        else:
            self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._tally.broken += 1
            self.done.set_result(None)

    def _send(self) -> None:
        request = next(self._tally.next, None)
        if request is None:
            self._tally.ran_out += 1
            self._finish()
            return
        self._body.clear()
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        self._transport.close()


async def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """Load until the time is over; what `fire` reads."""
    tally = Tally(arguments)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    tally.until = started + arguments["seconds"]
    made = [
        await loop.create_connection(lambda: Connection(tally), "127.0.0.1", arguments["port"])
        for _ in range(arguments["connections"])
    ]
    await asyncio.gather(*(connection.done for _, connection in made))
    return {
        "answers": len(tally.latencies_ms),
        "seconds": time.perf_counter() - started,
        "p50_ms": percentile(tally.latencies_ms, 50) if tally.latencies_ms else 0,
        "p99_ms": percentile(tally.latencies_ms, 99) if tally.latencies_ms else 0,
        "wrong": tally.wrong,
        "broken": tally.broken,
        "ran_out": tally.ran_out,
        "first_wrong": tally.first_wrong,
    }


if __name__ == "__main__":
    answer(main)
