"""What the edge does from start to end: let a first operator in, write down when keys were last used."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI

from gateway.edge import store
from shared.telemetry import logger, safe_error

FIRST_TRY_S = 2.0
PAUSE_S = 1.0

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def with_edge(plumbing: Lifespan) -> Lifespan:
    """The common lifespan with the edge's tasks inside it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with plumbing(app):
            letting_in = asyncio.create_task(_let_an_operator_in(app), name="gateway first key")
            noting = asyncio.create_task(_note_used_keys(app), name="gateway last uses")
            # Done before the first request, unless the database is away: that is waited for beside them.
            await asyncio.wait([letting_in], timeout=FIRST_TRY_S)
            try:
                yield
            finally:
                for task in (letting_in, noting):
                    task.cancel()
                await asyncio.gather(letting_in, noting, return_exceptions=True)
                with suppress(Exception):  # a convenience that must not hold up the shutdown
                    await app.state.callers.note_used(app.state.database.pool)
                await app.state.upstreams.aclose()

    return lifespan


async def _let_an_operator_in(app: FastAPI) -> None:
    given = app.state.settings.bootstrap_key
    log = logger(part="keys")
    while True:
        try:
            made = await store.ensure_operator(
                app.state.database.pool, given.get_secret_value() if given else None
            )
        except ValueError as error:
            log.error("C360_BOOTSTRAP_KEY was not added", why=str(error))
            return
        except Exception as error:
            log.warning("no operator key yet, trying again", **safe_error(error))
            await asyncio.sleep(PAUSE_S)
            continue
        if made is not None:
            sys.stdout.write(f"operator key, shown once: {made.text}\n")
            sys.stdout.flush()
        return


async def _note_used_keys(app: FastAPI) -> None:
    while True:
        await asyncio.sleep(app.state.settings.key_used_every_s)
        try:
            await app.state.callers.note_used(app.state.database.pool)
        except Exception as error:
            logger(part="keys").warning("last uses kept for the next round", **safe_error(error))
