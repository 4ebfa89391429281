"""What counts as the database being away, which passes by itself, and what does not."""

import asyncpg
import pytest

from shared.database import is_away


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (ConnectionResetError(), True),
        (asyncpg.CannotConnectNowError("the database system is starting up"), True),
        (asyncpg.DeadlockDetectedError("deadlock detected"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (
            asyncpg.InternalClientError("cannot switch to state 12; another operation is in progress"),
            True,
        ),
        (asyncpg.QueryCanceledError("canceling statement due to statement timeout"), False),
        (asyncpg.UniqueViolationError("duplicate key"), False),
        (asyncpg.DataError("invalid input for query argument $1"), False),
        (ValueError("no"), False),
    ],
)
def test_away_is_what_passes_by_itself(error: Exception, away: bool) -> None:
    assert is_away(error) is away
    wrapped = RuntimeError("while reading")
    wrapped.__cause__ = error
    assert is_away(wrapped) is away
