"""What routes ask for: a session committed before the answer, or the statement pool.

Dependencies are coroutines even where they await nothing: FastAPI runs plain functions in a thread, which
costs more than most answers.
"""

from collections.abc import AsyncIterator
from typing import Annotated

import asyncpg
from fastapi import Depends, Request
from sqlmodel.ext.asyncio.session import AsyncSession


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.database.session() as session:
        yield session
    if session.info.get("emitted"):
        wake(request)


async def _pool(request: Request) -> asyncpg.Pool:
    return request.app.state.database.pool


def wake(request: Request) -> None:
    """Have the relay publish now; for routes whose single statement wrote events or marks."""
    request.app.state.relay.wake()


# One transaction per request, committed after the route returned and before the answer is sent.
Session = Annotated[AsyncSession, Depends(_session, scope="function")]
Pool = Annotated[asyncpg.Pool, Depends(_pool)]
