"""A fresh migrated database for each test, cloned from a template that is migrated once.

The server is `C360_TEST_DATABASE_URL` when set, else the embedded PostgreSQL, shared by all test processes.
Its durability is switched off: tests of crashes kill processes, not the machine.
"""

import asyncio
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import asyncpg

from infra.servers import Postgres
from shared.migrations import PLUMBING, migrate
from shared.settings import ServiceSettings, with_database

SECRET = "a-secret-that-only-the-tests-know-0123456789"
ROOT = Path(__file__).resolve().parents[2]
SHARED_DATA = ROOT.parent / "shared" / "data"


def server_url() -> str:
    """The URL of the test server, starting it if this is the first process that asks.

    `make test` names one; under a bare pytest one is left running for the next run.
    """
    url = os.environ.get("C360_TEST_DATABASE_URL")
    if not url:
        with locked("postgres"):
            server = Postgres(
                Path(tempfile.gettempdir()) / f"c360-test-{os.getuid()}" / "postgres", durable=False
            )
            server.start()
        url = os.environ["C360_TEST_DATABASE_URL"] = server.url
    return url


@contextmanager
def locked(name: str) -> Iterator[None]:
    """A lock between test processes."""
    path = Path(tempfile.gettempdir()) / f"c360-test-{os.getuid()}-{name}.lock"
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


async def make_database(
    settings_type: type[ServiceSettings], package: str, **overrides: object
) -> ServiceSettings:
    """Settings of a service with a fresh migrated database of its own.

    The template is named by what its migrations say, so an edited migration makes a new one.
    """
    server = await asyncio.to_thread(server_url)
    template = f"t_{settings_type.name}_{_fingerprint(package)}"
    clone = f"x_{settings_type.name}_{uuid4().hex[:12]}"
    await asyncio.to_thread(_ensure_template, server, settings_type, package, template, overrides)
    connection = await asyncpg.connect(with_database(server, "postgres"))
    try:
        await connection.execute(f'CREATE DATABASE "{clone}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    finally:
        await connection.close()
    return settings_type(
        **{"database_url": server, "database_name": clone, "internal_secret": SECRET, "retry_base_s": 0.05}
        | overrides
    )


async def drop_database(settings: ServiceSettings) -> None:
    """Remove a test's database, whoever is still connected."""
    connection = await asyncpg.connect(with_database(settings.database_url, "postgres"))
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{settings.database}" WITH (FORCE)')
    finally:
        await connection.close()


def _ensure_template(
    server: str,
    settings_type: type[ServiceSettings],
    package: str,
    template: str,
    overrides: dict[str, object],
) -> None:
    with locked(template):
        settings = settings_type(
            **overrides | {"database_url": server, "database_name": template, "internal_secret": SECRET}
        )
        asyncio.run(migrate(settings, package))


def _fingerprint(package: str) -> str:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations)))
    digest = hashlib.sha256(PLUMBING.read_bytes())
    for path in sorted([*folder.rglob("migrations/**/*.py"), *folder.rglob("*.sql")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]
