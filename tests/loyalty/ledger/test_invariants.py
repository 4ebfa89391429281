"""What the database itself refuses, whoever asks."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.loyalty.points import Ledger

TRANSFER = """
    INSERT INTO transfers (id, kind, points, reason, actor, occurred_at, idempotency_key, input_hash)
    VALUES ($1, 'earning', 5, 'by hand', 'test', now(), $2, 'x')
"""
ENTRY = "INSERT INTO entries (transfer_id, account_id, points, balance) VALUES ($1, $2, $3, $4)"


async def write(
    ledger: Ledger, transfer_id: UUID, sides: Sequence[tuple[int, int]], transfer: str | None = TRANSFER
) -> None:
    """Write a transfer of 5 points and its entries by hand, in one transaction."""
    async with ledger.pool.acquire() as connection, connection.transaction():
        if transfer:
            await connection.execute(transfer, transfer_id, "k")
        for account_id, points in sides:
            await connection.execute(ENTRY, transfer_id, account_id, points, None)


@pytest.mark.parametrize("table", ["transfers", "entries", "uses"])
@pytest.mark.parametrize("change", ["UPDATE {} SET points = 1", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
async def test_what_was_written_stays_written(ledger: Ledger, table: str, change: str) -> None:
    member = await ledger.member(10)
    await ledger.spend(member, 5)
    with pytest.raises(asyncpg.RestrictViolationError, match="the ledger is only ever added to"):
        await ledger.pool.execute(change.format(table))
    await ledger.must_be_sound()


@pytest.mark.parametrize("table", ["lots", "accounts"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "TRUNCATE {}"])
async def test_lots_and_accounts_are_never_removed(ledger: Ledger, table: str, change: str) -> None:
    await ledger.member(10)
    with pytest.raises(asyncpg.RestrictViolationError, match="is refused"):
        await ledger.pool.execute(change.format(table))


@pytest.mark.parametrize(
    "sides", [[], [(1, 5)], [(1, -5)], [(1, -5), (100, 4)], [(1, -6), (100, 6)]], ids=str
)
async def test_an_unbalanced_transfer_is_refused_at_commit(
    ledger: Ledger, sides: Sequence[tuple[int, int]]
) -> None:
    transfer_id = uuid4()
    with pytest.raises(asyncpg.CheckViolationError, match=f"transfer {transfer_id} of 5 points is refused"):
        await write(ledger, transfer_id, sides)
    assert await ledger.count("transfers") == 0


async def test_a_balanced_transfer_may_be_written_side_by_side(ledger: Ledger) -> None:
    await write(ledger, uuid4(), [(1, -5), (2, 5)])
    assert await ledger.count("entries") == 2


@pytest.mark.parametrize("sides", [[(2, 5)], [(2, -5)], [(2, 5), (3, -5)]], ids=str)
async def test_nothing_is_added_to_a_transfer_later(ledger: Ledger, sides: Sequence[tuple[int, int]]) -> None:
    posted = await ledger.earn(uuid4(), 10)
    with pytest.raises(asyncpg.RestrictViolationError, match="written together with their transfer"):
        await write(ledger, posted.transfer_id, sides, transfer=None)


async def test_an_entry_without_a_transfer_is_refused(ledger: Ledger) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="written together with their transfer"):
        await ledger.pool.execute(ENTRY, uuid4(), 1, 5, None)


async def test_a_member_s_balance_is_never_negative(ledger: Ledger) -> None:
    member = await ledger.member(10)
    with pytest.raises(asyncpg.CheckViolationError, match="balance_is_never_negative"):
        await ledger.pool.execute("UPDATE accounts SET balance = -1 WHERE owner = $1", member)


@pytest.mark.parametrize("remaining", [-1, 11])
async def test_a_lot_never_holds_less_than_nothing_nor_more_than_it_brought(
    ledger: Ledger, remaining: int
) -> None:
    await ledger.member(10)
    with pytest.raises(asyncpg.CheckViolationError, match="lot_never_below_zero"):
        await ledger.pool.execute("UPDATE lots SET remaining = $1", remaining)


async def test_an_idempotency_key_is_used_once(ledger: Ledger) -> None:
    async with ledger.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(TRANSFER, uuid4(), "k")
        with pytest.raises(asyncpg.UniqueViolationError, match="transfers_idempotency_key_key"):
            await connection.execute(TRANSFER, uuid4(), "k")
        await transaction.rollback()


async def test_the_same_points_are_not_reversed_twice_whoever_writes(ledger: Ledger) -> None:
    member = await ledger.member(10)
    spent = await ledger.spend(member, 10)
    await ledger.reverse(spent.transfer_id)
    with pytest.raises(asyncpg.UniqueViolationError, match="transfers_reversed_once"):
        await ledger.pool.execute(
            """INSERT INTO transfers (kind, points, reason, actor, occurred_at, idempotency_key, input_hash,
                                      reverses, reversed_before)
               VALUES ('redemption', 10, 'again', 'test', now(), 'k', 'x', $1, 0)""",
            spent.transfer_id,
        )


async def test_the_issuer_s_row_is_not_written_by_postings(ledger: Ledger) -> None:
    """Every posting has the issuer on one side; if it locked that row, postings would queue there."""
    before = await ledger.pool.fetchval("SELECT (xmin::text, xmax::text)::text FROM accounts WHERE id = 1")
    await ledger.spend(await ledger.member(10), 5)
    assert before == await ledger.pool.fetchval(
        "SELECT (xmin::text, xmax::text)::text FROM accounts WHERE id = 1"
    )
