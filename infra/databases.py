"""The parts' databases: whether the server answers, what is to be migrated, and migrating it."""

import asyncio
import os

import asyncpg

from infra.data import Refused
from infra.parts import PARTS
from infra.servers import first_line
from shared.migrations import is_current
from shared.settings import with_database


async def migrate_all() -> None:
    """Bring every database to its newest revision, one after the other.

    Raises:
        Refused: the database server does not let us in.
    """
    await check_database()
    for part in PARTS:
        await part.migrate()


async def check_database(timeout_s: float = 10.0) -> str:
    """The server's version.

    Raises:
        Refused: it does not answer or does not let us in.
    """
    url = os.environ.get("C360_DATABASE_URL", "postgresql://postgres@localhost:5432/")
    try:
        async with asyncio.timeout(timeout_s):
            connection = await asyncpg.connect(with_database(url, "postgres"))
    except (OSError, ValueError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = first_line(error).rstrip(".")
        raise Refused(
            f"The database server does not let us in ({reason}); check C360_DATABASE_URL."
        ) from error
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


async def pending_migrations() -> list[str]:
    """The parts whose database is missing or not at its newest revision."""
    return [part.name for part in PARTS if not await is_current(part.settings(), part.package)]
