"""The audit finds what was changed behind the ledger's back, and names it."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.loyalty.ledger import store, upkeep
from services.loyalty.ledger.audit import CHAIN, CHECKS, audit
from tests.loyalty.points import CAUSE, Ledger, key


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
        steps: list[tuple[int, int]] = []
        report = await audit(connection, lambda _, done, steps_in_all: steps.append((done, steps_in_all)))
    assert report.difference is None
    assert report.rows == {"accounts": 4, "transfers": 6, "entries": 12, "lots": 2, "seals": 0}
    assert [done for done, _ in steps] == list(range(1, len(CHECKS) + 2))
    assert {steps_in_all for _, steps_in_all in steps} == {len(CHECKS) + 1}


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
        difference = (await audit(connection)).difference
    assert difference is not None
    assert check in difference.check
    assert difference.subject.startswith(subject)
    assert difference.expected != difference.found


@pytest.mark.parametrize(
    ("change", "check", "subject"),
    [
        ("UPDATE holds SET points = points + 1 WHERE closed_at IS NOT NULL", "every hold is what", "hold "),
        ("UPDATE holds SET captured = captured - 1 WHERE captured > 0", "every hold is what", "hold "),
        ("DELETE FROM holds WHERE closed_at IS NOT NULL", "every hold is what", "hold "),
        ("UPDATE accounts SET kind = 'hold' WHERE owner = $1 AND kind = 'member'", "of its kind", "lot "),
        (
            "UPDATE accounts SET merged_into = $1 WHERE kind = 'member' AND merged_into IS NULL",
            "leads to the survivor",
            "account ",
        ),
        ("UPDATE accounts SET merged_into = NULL WHERE owner <> $1", "leads to the survivor", "account "),
        (
            "UPDATE seals SET position = position + 1 WHERE position = (SELECT max(position) FROM seals)",
            CHAIN,
            "transfer ",
        ),
    ],
)
async def test_holds_merges_and_kinds_of_accounts_are_compared_too(
    ledger: Ledger, change: str, check: str, subject: str
) -> None:
    member, alone = await ledger.member(100), await ledger.member(7)
    soon = datetime.now(UTC) + timedelta(hours=1)
    for captured in (20, None):
        held = await store.hold(ledger.pool, member, 30, CAUSE, key(), expires_at=soon)
        await store.capture(ledger.pool, held.hold_id, captured, CAUSE, key())
    await store.hold(ledger.pool, member, 10, CAUSE, key(), expires_at=soon)
    await ledger.merge(member, await ledger.member(5))
    await ledger.seal_all()
    await ledger.must_be_sound()
    async with ledger.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(change, *([alone] if "$1" in change else []))
        difference = (await audit(connection)).difference
    assert difference is not None
    assert check in difference.check
    assert difference.subject.startswith(subject)


async def test_a_transfer_that_was_slipped_in_before_the_newest_seal_is_named(ledger: Ledger) -> None:
    """In it every sum is right; only that it was never sealed gives it away."""
    member = await ledger.member(100)
    await ledger.seal_all()
    forged = await ledger.earn(member, 5)
    await tampered(ledger, "UPDATE transfers SET posted_in = 3 WHERE points = 5")
    assert await upkeep.seal(ledger.pool, 100) == 0
    async with ledger.pool.acquire() as connection:
        difference = (await audit(connection)).difference
    assert difference is not None
    assert (difference.subject, difference.found) == (f"transfer {forged.transfer_id}", "none")


async def test_points_reversed_twice_are_named(ledger: Ledger) -> None:
    earned = await ledger.earn(uuid4(), 50)
    await ledger.take_back(earned.transfer_id, 30)
    await ledger.take_back(earned.transfer_id, 20)
    await tampered(ledger, "UPDATE transfers SET points = 40 WHERE reverses IS NULL")
    row = await ledger.pool.fetchrow(CHECKS["nothing is reversed more than once"])
    assert tuple(row) == (f"transfer {earned.transfer_id}", "at most 40", "50")


async def test_sealing_is_bounded_repeatable_and_finds_nothing_in_a_sound_ledger(ledger: Ledger) -> None:
    await a_history(ledger)
    batches = await ledger.seal_all(4)
    assert (sum(batches), max(batches) <= 4) == (6, True)
    assert await upkeep.seal(ledger.pool, 4) == 0
    await a_history(ledger)
    assert sum(await ledger.seal_all()) == 6
    sealed = await ledger.pool.fetch("SELECT position FROM seals ORDER BY position")
    assert [row["position"] for row in sealed] == list(range(1, 13))
    await ledger.must_be_sound()


async def test_transfers_that_commit_late_are_sealed_later(ledger: Ledger) -> None:
    member = await ledger.member(1)
    async with ledger.pool.acquire() as connection, connection.transaction():
        late = await store.earn(connection, uuid4(), 1, CAUSE, key())
        await ledger.earn(member, 2)  # committed first, and posted by a later transaction
        await upkeep.seal(ledger.pool, 100)
        assert await ledger.count("seals") <= 1
    await ledger.seal_all()
    order = await ledger.pool.fetch("SELECT transfer_id FROM seals ORDER BY position")
    assert order[1]["transfer_id"] == late.transfer_id
    await ledger.must_be_sound()


async def test_after_a_restore_into_another_server_sealing_goes_on(ledger: Ledger) -> None:
    """Numbers of transactions begin anew there; those of the old server lie in the future."""
    for restored in (True, True, False):
        await a_history(ledger)
        if restored:
            await tampered(
                ledger, "UPDATE transfers SET posted_in = posted_in + 1000000000 WHERE posted_in < 1e9"
            )
        await ledger.seal_all(4)
    await ledger.must_be_sound()


async def test_what_a_restore_brought_unsealed_is_sealed_before_what_comes_after_it(ledger: Ledger) -> None:
    for sealed in (True, False):
        await a_history(ledger)
        await tampered(
            ledger, "UPDATE transfers SET posted_in = posted_in + 1000000000 WHERE posted_in < 1e9"
        )
        if sealed:
            await ledger.seal_all()
    await a_history(ledger)
    assert sum(await ledger.seal_all(4)) == 12
    await ledger.must_be_sound()


async def test_sealing_that_begins_while_postings_go_on_passes_over_none(ledger: Ledger) -> None:
    posting = True

    async def spend(member: UUID) -> None:
        while posting:
            await ledger.spend(member, 1)

    crowd = [asyncio.create_task(spend(await ledger.member(100_000))) for _ in range(6)]
    try:
        for _ in range(20):
            await tampered(ledger, "TRUNCATE seals")
            await upkeep.seal(ledger.pool, 200)
            async with ledger.pool.acquire() as connection:
                assert (await audit(connection)).difference is None
    finally:
        posting = False
        await asyncio.gather(*crowd)


@pytest.mark.parametrize(
    ("change", "later"),
    [
        ("UPDATE transfers SET reason = 'tesT' WHERE id = $1", 0),
        ("UPDATE transfers SET occurred_at = occurred_at + interval '1 microsecond' WHERE id = $1", 0),
        ("UPDATE transfers SET input_hash = '\\x73616d66' WHERE id = $1", 0),
        ("UPDATE lots SET expires_at = now() WHERE transfer_id = $1", 0),
        ("UPDATE lots SET cost_per_point = 7 WHERE transfer_id = $1", 0),
        ("UPDATE seals SET hash = sha256(hash) WHERE transfer_id = $1", 0),
        ("UPDATE seals SET transfer_id = gen_random_uuid() WHERE transfer_id = $1", 0),
        ("DELETE FROM seals WHERE transfer_id = $1", 1),
    ],
)
async def test_a_byte_changed_by_a_superuser_is_named(ledger: Ledger, change: str, later: int) -> None:
    await a_history(ledger)
    await ledger.seal_all()
    made_a_lot = await ledger.pool.fetchval("SELECT transfer_id FROM lots ORDER BY id DESC LIMIT 1")
    where = await ledger.pool.fetchval("SELECT position FROM seals WHERE transfer_id = $1", made_a_lot)
    async with ledger.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(change, made_a_lot)
    async with ledger.pool.acquire() as connection:
        difference = (await audit(connection)).difference
    assert difference is not None
    assert difference.check == CHAIN
    assert difference.subject.endswith(f"(seal {where + later})")


async def test_the_history_cannot_be_unsealed(ledger: Ledger) -> None:
    await a_history(ledger)
    await ledger.seal_all()
    for change in ("UPDATE seals SET hash = hash", "DELETE FROM seals", "TRUNCATE seals"):
        with pytest.raises(asyncpg.RestrictViolationError, match="the ledger is only ever added to"):
            await ledger.pool.execute(change)
    with pytest.raises(asyncpg.RestrictViolationError, match="UPDATE on lots is refused"):
        await ledger.pool.execute("UPDATE lots SET expires_at = now()")
