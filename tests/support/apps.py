"""Running apps: the real lifespan, the real database, requests in-process with a full-scope token."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any

import httpx
from fastapi import FastAPI

from shared.settings import ServiceSettings
from shared.web.security import sign

ALL_SCOPES = ("*",)


def bearer(
    settings: ServiceSettings, scopes: Sequence[str] = ALL_SCOPES, subject: str = "test"
) -> dict[str, str]:
    """The header of a caller with these scopes."""
    token = sign(settings.internal_secret.get_secret_value(), subject=subject, scopes=scopes, lifetime_s=3600)
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The app with its lifespan running, and a client whose caller may do everything."""
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


def client_of(app: FastAPI, scopes: Sequence[str] = ALL_SCOPES, subject: str = "test") -> httpx.AsyncClient:
    """Another caller of a running app."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=True),
        base_url="http://test",
        headers=bearer(app.state.settings, scopes, subject),
        timeout=30,
    )


async def eventually(
    condition: Callable[[], Awaitable[Any] | Any], *, within_s: float = 10, every_s: float = 0.01
) -> Any:
    """Wait until the condition gives something true, and return it.

    Raises:
        AssertionError: the deadline passed; shows the last value.
    """
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s} s; last value {value!r}"
        await asyncio.sleep(every_s)
