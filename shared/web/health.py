"""Liveness, readiness and metrics. Readiness names what is away; it never makes the process exit."""

import asyncio
from typing import Any

import asyncpg
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from shared.telemetry import DEAD_LETTERS, UP

CHECK_TIMEOUT_S = 2.0


def health_router() -> APIRouter:
    """`/healthz`, `/readyz` and `/metrics`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz(request: Request) -> Response:
        """What this process depends on, each up or away."""
        checks = await dependencies(request)
        ready = all(checks.values())
        body = {
            "status": "ready" if ready else "not ready",
            "service": request.app.state.settings.name,
            "dependencies": {name: "up" if up else "away" for name, up in checks.items()},
        }
        return JSONResponse(body, 200 if ready else 503, {} if ready else {"Retry-After": "1"})

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        await dependencies(request)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


async def dependencies(request: Request) -> dict[str, bool]:
    """Whether the database and the broker answer now; also kept as metrics."""
    state: Any = request.app.state
    name = state.settings.name
    checks = {"database": await _database_up(state, name), "broker": state.bus.connected}
    for dependency, up in checks.items():
        UP.labels(name, dependency).set(up)
    return checks


async def _database_up(state: Any, name: str) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            dead = await state.database.pool.fetchval(
                "SELECT count(*) FROM (SELECT 1 FROM dead_letters WHERE status = 'dead' LIMIT 999) AS n"
            )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    DEAD_LETTERS.labels(name).set(dead)
    return True
