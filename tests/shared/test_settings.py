"""Settings: one server for all, one database for each."""

import pytest
from pydantic import ValidationError

from shared.database import alchemy_url
from shared.settings import with_database
from tests.support.databases import SECRET
from tests.support.probe.app import ProbeSettings


@pytest.mark.parametrize(
    ("server", "dsn"),
    [
        ("postgresql://u:p@db:5432/", "postgresql://u:p@db:5432/c360_profile"),
        ("postgresql://u:p@db:5432/other", "postgresql://u:p@db:5432/c360_profile"),
        ("postgresql+asyncpg://db", "postgresql://db/c360_profile"),
        ("postgresql://postgres@/?host=/tmp/x", "postgresql://postgres@/c360_profile?host=/tmp/x"),
    ],
)
def test_each_service_gets_its_own_database_on_the_server(server: str, dsn: str) -> None:
    assert ProbeSettings(database_url=server, internal_secret=SECRET).dsn == dsn


def test_a_socket_directory_survives_the_way_to_sqlalchemy() -> None:
    url = alchemy_url(with_database("postgresql://postgres@/?host=/tmp/x", "d"))
    assert (url.drivername, url.database, url.query["host"]) == ("postgresql+asyncpg", "d", "/tmp/x")  # noqa: S108


def test_shared_variables_have_no_service_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C360_DATABASE_URL", "postgresql://one")
    monkeypatch.setenv("C360_INTERNAL_SECRET", SECRET)
    assert ProbeSettings().database_url == "postgresql://one"


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValidationError):
        ProbeSettings(internal_secret="short")


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(ProbeSettings(internal_secret=SECRET))
