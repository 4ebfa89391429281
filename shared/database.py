"""One service's database, reached in two ways that never mix inside one transaction.

`session()` is a SQLModel session in one transaction, for everything ordinary. `pool` is asyncpg itself,
for hot paths that are a single statement.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import orjson
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.settings import ServiceSettings
from shared.telemetry import current_traceparent

CLOSE_TIMEOUT_S = 5
_BEGIN = text("SELECT set_config('c360.traceparent', :traceparent, true)")

# Conditions in which the database is away or asks to try again: nobody's fault, never counted as a failure.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TransactionRollbackError,
    asyncpg.InternalClientError,  # the server died under a connection's last statement; it refuses the next
)


def is_away(error: BaseException) -> bool:
    """Whether the database was unreachable or rolled back for a reason that passes (deadlock, shutdown)."""
    if isinstance(error, DBAPIError):
        cause = error.driver_exception if hasattr(error, "driver_exception") else error.orig
        return error.connection_invalidated or (isinstance(cause, BaseException) and is_away(cause))
    if isinstance(error, asyncpg.QueryCanceledError):
        return False  # a statement that is too slow is ours to mend
    if isinstance(error, asyncpg.InterfaceError):  # also raised for arguments that do not fit
        return not isinstance(error, ValueError) and "clos" in str(error)
    return isinstance(error, AWAY) or (error.__cause__ is not None and is_away(error.__cause__))


class Database:
    """Connections to one database; open it once per process and service."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self._pool: asyncpg.Pool | None = None
        self._engine: AsyncEngine | None = None

    @property
    def pool(self) -> asyncpg.Pool:
        """For single statements that are atomic by themselves."""
        if self._pool is None:
            raise RuntimeError("the database is not open")
        return self._pool

    async def open(self) -> None:
        """Make the pools. Connections open when first needed: a database that is away is no error."""
        settings = self.settings
        server_settings = {
            "application_name": f"c360-{settings.name}",
            "statement_timeout": str(settings.statement_timeout_ms),
            "c360.service": settings.name,
            "timezone": "UTC",
            "jit": "off",
        }
        self._pool = await asyncpg.create_pool(
            settings.dsn,
            min_size=0,
            max_size=settings.statement_pool_size,
            timeout=settings.connect_timeout_s,
            server_settings=server_settings,
            reset=_leave_as_is,
        )
        self._engine = create_async_engine(
            alchemy_url(settings.dsn),
            pool_size=settings.session_pool_size,
            max_overflow=0,
            pool_timeout=settings.connect_timeout_s,
            pool_pre_ping=True,
            hide_parameters=True,  # parameters are personal data; they must not reach a log with an error
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={"timeout": settings.connect_timeout_s, "server_settings": server_settings},
        )

    async def close(self) -> None:
        """Close every connection; running statements are given a moment, then ended."""
        if self._engine is not None:
            await self._engine.dispose()
        if self._pool is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session in one transaction: committed on a clean exit, rolled back on any error."""
        async with AsyncSession(self._engine, expire_on_commit=False) as session, session.begin():
            yield session


async def raw(session: AsyncSession) -> asyncpg.Connection:
    """The asyncpg connection under a session, in the session's transaction: for arrays and COPY.

    SQLAlchemy begins on the server with its own first statement only, so there is one before the connection
    is handed out: it gives SQL functions that emit events the trace context.
    """
    await session.flush()
    if not session.info.get("begun"):
        await session.execute(_BEGIN, {"traceparent": current_traceparent() or ""})
        session.info["begun"] = True
    connection = await session.connection()
    return (await connection.get_raw_connection()).driver_connection


def alchemy_url(dsn: str) -> URL:
    """An asyncpg URL as SQLAlchemy wants it (query parameters such as host=/socket/dir included)."""
    parts = urlsplit(dsn)
    query: dict[str, Any] = dict(parse_qsl(parts.query))
    return URL.create(
        "postgresql+asyncpg",
        username=parts.username,
        password=parts.password,
        host=parts.hostname,
        port=parts.port,
        database=parts.path.lstrip("/"),
        query=query,
    )


async def _leave_as_is(_: asyncpg.Connection) -> None:
    """Instead of asyncpg's RESET ALL after each use, a round trip: nothing on the pool sets session state.

    An open transaction is still rolled back.
    """
