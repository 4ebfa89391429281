"""The audit finds what was changed behind the ledger's back, and names it."""

from uuid import uuid4

import pytest

from services.loyalty.ledger.audit import CHECKS, audit
from tests.loyalty.points import Ledger


async def tampered(ledger: Ledger, *statements: str) -> None:
    """As a superuser with the triggers switched off, which is what it takes."""
    async with ledger.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await connection.execute(statement)


async def a_history(ledger: Ledger) -> None:
    member, other = await ledger.member(100), uuid4()
    earned = await ledger.earn(other, 50)
    await ledger.take_back(earned.transfer_id, 20)
    spent = await ledger.spend(member, 30)
    await ledger.reverse(spent.transfer_id)
    await ledger.spend(member, 10)


async def test_a_sound_ledger_is_told_so_with_what_was_looked_at(ledger: Ledger) -> None:
    await a_history(ledger)
    async with ledger.pool.acquire() as connection:
        rows, difference = await audit(connection)
    assert difference is None
    assert rows == {"accounts": 4, "transfers": 6, "entries": 12, "lots": 2}


@pytest.mark.parametrize(
    ("change", "check", "subject"),
    [
        ("UPDATE entries SET points = points + 1 WHERE id = 2", "sum to zero", "transfer "),
        ("DELETE FROM entries WHERE id = 1", "sum to zero", "transfer "),
        (
            "DELETE FROM transfers WHERE id = (SELECT min(id::text) FROM transfers)::uuid",
            "sum to zero",
            "transfer ",
        ),
        ("UPDATE accounts SET balance = balance + 1 WHERE id = 100", "sum of its entries", "account 100"),
        (
            "UPDATE accounts SET balance = balance - 1 WHERE id = 100;"
            "UPDATE lots SET remaining = remaining - 1 WHERE account_id = 100",
            "sum of its entries",
            "account 100",
        ),
        ("UPDATE lots SET remaining = remaining - 1 WHERE id = 1", "sum of its lots", "account 100"),
        ("DELETE FROM uses WHERE points = 10", "what its uses left", "lot 1"),
        (
            "UPDATE lots SET points = points + 1, remaining = remaining + 1 WHERE id = 1;"
            "UPDATE lots SET points = points - 1, remaining = remaining - 1 WHERE id = 2;"
            "UPDATE lots SET account_id = 100",
            "sum of its lots",
            "account 100",
        ),
        (
            "UPDATE uses SET points = points + 1 WHERE points = 30;"
            "UPDATE uses SET points = points - 1 WHERE points = 10",
            "changes the lots by what it moves",
            "transfer ",
        ),
        ("UPDATE entries SET balance = balance + 1 WHERE id = 2", "running balance", "entry 2"),
        ("UPDATE accounts SET spent = spent + 1 WHERE id = 100", "lifetime totals", "account 100"),
    ],
)
async def test_the_first_difference_is_named(ledger: Ledger, change: str, check: str, subject: str) -> None:
    await a_history(ledger)
    await tampered(ledger, *change.split(";"))
    async with ledger.pool.acquire() as connection:
        _, difference = await audit(connection)
    assert difference is not None
    assert check in difference.check
    assert difference.subject.startswith(subject)
    assert difference.expected != difference.found


async def test_points_reversed_twice_are_named(ledger: Ledger) -> None:
    earned = await ledger.earn(uuid4(), 50)
    await ledger.take_back(earned.transfer_id, 30)
    await ledger.take_back(earned.transfer_id, 20)
    await tampered(ledger, "UPDATE transfers SET points = 40 WHERE reverses IS NULL")
    row = await ledger.pool.fetchrow(CHECKS["nothing is reversed more than once"])
    assert tuple(row) == (f"transfer {earned.transfer_id}", "at most 40", "50")
