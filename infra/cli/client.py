"""A client of a running gateway: C360_URL and C360_KEY, problem documents as sentences, bounded retries."""

import asyncio
import os
from types import TracebackType
from typing import Any, Self

import httpx

from infra import GATEWAY_PORT
from infra.data import DataDirectory, Refused

TIMEOUT_S = 120.0
ATTEMPTS = 6
LONGEST_WAIT_S = 10.0
BUSY = frozenset({429, 502, 503, 504})


class Said(Refused):
    """The gateway's refusal of one request."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.reason = reason_of(response)
        advice = {401: "; check C360_KEY", 403: "; use a key with that scope"}.get(self.status, "")
        request = response.request
        super().__init__(
            f"{request.method} {request.url.path} was refused ({self.status}): {self.reason}{advice}"
        )


class Gateway:
    """Requests to a running gateway, as one caller.

    Only requests that may be repeated go through it: reads, and writes with an idempotency key or source id.
    """

    def __init__(self, *, connections: int = 8) -> None:
        self.url = (os.environ.get("C360_URL") or _local_url()).rstrip("/")
        limits = httpx.Limits(max_connections=connections)
        headers = {"Authorization": f"Bearer {_key()}"}
        self._client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=TIMEOUT_S, limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str, **options: Any) -> Any:
        """The JSON of an answer."""
        return (await self.send("GET", path, **options)).json()

    async def post(self, path: str, **options: Any) -> Any:
        """The JSON of an answer."""
        return (await self.send("POST", path, **options)).json()

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send, and send again while the gateway is busy or away, ATTEMPTS times in all.

        Raises:
            Refused: it stays away, or says no; the sentence carries its reason.
        """
        wait_s = 0.2
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = await self._client.request(method, path, **options)
            except (httpx.TransportError, httpx.InvalidURL) as error:
                if attempt == ATTEMPTS or isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
                    raise Refused(
                        f"The gateway at {self.url} does not answer ({type(error).__name__}); "
                        "start it with `c360 up` or set C360_URL."
                    ) from error
            else:
                if response.status_code not in BUSY or attempt == ATTEMPTS:
                    if response.is_error:
                        raise Said(response)
                    return response
                asked = response.headers.get("Retry-After", "")
                wait_s = max(wait_s, float(asked) if asked.isdecimal() else 0.0)
            await asyncio.sleep(min(wait_s, LONGEST_WAIT_S))
            wait_s *= 2
        raise AssertionError("the loop returns or raises")


def _local_url() -> str:
    """Where `c360 up` with the same environment would be."""
    return f"http://127.0.0.1:{os.environ.get('C360_PORT') or GATEWAY_PORT}"


def _key() -> str:
    """C360_KEY, else the operator's key of the local data directory."""
    given = os.environ.get("C360_KEY") or os.environ.get("C360_BOOTSTRAP_KEY")
    kept = DataDirectory.from_environment().path / "secrets" / "bootstrap_key"
    try:
        return given or kept.read_text(encoding="ascii").strip()
    except OSError:
        raise Refused("Set C360_KEY to an API key of the gateway.") from None


def reason_of(response: httpx.Response) -> str:
    """What a problem document says, in one line."""
    try:
        problem = response.json()
    except ValueError:
        return response.reason_phrase
    return describe(problem) if isinstance(problem, dict) else response.reason_phrase


def describe(problem: dict[str, Any]) -> str:
    """Title, detail and fields of a problem document, in one line."""
    errors = problem.get("errors") or []
    fields = "; ".join(f"{error.get('pointer', '')} {error.get('detail', '')}".strip() for error in errors)
    return ": ".join(str(part) for part in (problem.get("title"), problem.get("detail"), fields) if part)
