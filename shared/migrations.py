"""Migrations: Alembic per service, run with lock time-outs, so that an upgrade never blocks traffic for long.

A service's `migrations/env.py` is one call of `run_in_alembic`; its first revision calls `install_plumbing`.
"""

import asyncio
import importlib.util
import re
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import pool, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only

from shared.database import alchemy_url
from shared.settings import ServiceSettings, with_database

LOCK_TIMEOUT_MS = 4_000
_DECLARED = re.compile(r"""^(revision|down_revision)\b[^=\n]*=\s*["']([^"'\n]+)["']""", re.MULTILINE)
PLUMBING = Path(__file__).with_name("plumbing.sql")


def install_plumbing(op: Any) -> None:
    """Create the plumbing tables; called by the first revision of every service."""
    run_sql_file(op, PLUMBING)


def run_sql_file(op: Any, path: Path) -> None:
    """Run a `.sql` file inside a revision, as one script, without reading `:name` or `%` as parameters."""
    driver_connection = op.get_bind().connection.driver_connection
    await_only(driver_connection.execute(path.read_text(encoding="utf-8")))


async def migrate(settings: ServiceSettings, package: str) -> None:
    """Create the service's database if it is missing and bring it to the newest revision.

    Args:
        settings: which database.
        package: the import name that holds `migrations/`, such as `services.loyalty`.
    """
    await _create_database(settings.database_url, settings.database)
    if await is_current(settings, package):
        return
    await asyncio.to_thread(_upgrade, settings.dsn, package)


def run_in_alembic() -> None:
    """The body of every `migrations/env.py`: run the revisions online, under a lock and a lock time-out."""
    from alembic import context

    asyncio.run(_run_online(context.config.attributes["dsn"]))


async def _run_online(dsn: str) -> None:
    engine = create_async_engine(alchemy_url(dsn), poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
            # Two processes that start together migrate one after the other.
            await connection.execute(text("SELECT pg_advisory_xact_lock(360)"))
            await connection.run_sync(_run_revisions)
    finally:
        await engine.dispose()


def _run_revisions(connection: Any) -> None:
    from alembic import context

    context.configure(connection=connection, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()


def _upgrade(dsn: str, package: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder(package)).replace("%", "%%"))
    config.attributes["dsn"] = dsn
    command.upgrade(config, "head")


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package {package} with migrations")
    return Path(next(iter(spec.submodule_search_locations))) / "migrations"


async def _create_database(server_url: str, name: str) -> None:
    connection = await asyncpg.connect(with_database(server_url, "postgres"))
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute('CREATE DATABASE "{}"'.format(name.replace('"', '""')))
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        return  # another process was first
    finally:
        await connection.close()


async def is_current(settings: ServiceSettings, package: str) -> bool:
    """Whether the database is there and at the newest revision; spares a warm start Alembic's machinery."""
    try:
        connection = await asyncpg.connect(settings.dsn)
    except asyncpg.InvalidCatalogNameError:
        return False
    try:
        rows = await connection.fetch("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return False
    finally:
        await connection.close()
    return {row["version_num"] for row in rows} == _heads(package)


def _heads(package: str) -> set[str]:
    """The newest revisions, read from the files: Alembic's import would cost a warm start half a second."""
    revisions, replaced = set(), set()
    for path in (_folder(package) / "versions").glob("*.py"):
        declared = dict(_DECLARED.findall(path.read_text(encoding="utf-8")))
        revisions.add(declared["revision"])
        replaced.add(declared.get("down_revision"))
    return revisions - replaced
