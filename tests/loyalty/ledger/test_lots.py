"""Lots over time: pending, held, expired, and moved with a merged customer."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.loyalty.ledger import merging, store, upkeep
from services.loyalty.ledger.refusals import (
    AlreadyReversed,
    HoldClosed,
    InsufficientPoints,
    MoreThanHeld,
    NotReversible,
    UnknownHold,
)
from services.loyalty.ledger.store import Posted
from tests.loyalty.points import CAUSE, MORNING, Ledger, key

SOON, LATER = datetime(2098, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


async def pending(ledger: Ledger, member: UUID, points: int, until: datetime = SOON) -> Posted:
    return await store.earn(ledger.pool, member, points, CAUSE, key(), expires_at=LATER, pending_until=until)


async def test_pending_points_are_not_spent_until_they_become_available(ledger: Ledger) -> None:
    member = await ledger.member(10)
    named = key()
    first = await store.earn(ledger.pool, member, 100, CAUSE, named, expires_at=LATER, pending_until=MORNING)
    await pending(ledger, member, 7)
    assert (first.points, first.balance) == (100, 10)
    assert await ledger.aside(member) == (10, 107, 0)
    assert await ledger.totals(member) == (117, 0)
    with pytest.raises(InsufficientPoints):
        await ledger.spend(member, 11)

    assert await ledger.promote() == [member]
    assert await ledger.promote() == []
    assert await ledger.aside(member) == (110, 7, 0)
    assert await ledger.totals(member) == (117, 0)
    assert (await store.earn(ledger.pool, member, 100, CAUSE, named)).balance == 10  # the first answer
    expiries = await ledger.pool.fetch(
        "SELECT points, expires_at, earned_at FROM lots WHERE origin IS NOT NULL"
    )
    assert [tuple(row) for row in expiries] == [(100, LATER, MORNING)]
    await ledger.must_be_sound()


async def test_an_earning_is_taken_back_where_its_points_are(ledger: Ledger) -> None:
    """Pending: from the pending ones, in parts too, whatever is available; later: from the member."""
    member = await ledger.member(10)
    waiting, due = await pending(ledger, member, 100), await pending(ledger, member, 50, MORNING)
    taken = await ledger.take_back(waiting.transfer_id, 30)
    assert taken is not None
    assert (taken.points, taken.balance) == (30, 10)
    assert await ledger.aside(member) == (10, 120, 0)
    await ledger.promote()
    await ledger.take_back(due.transfer_id, 20)
    assert await ledger.aside(member) == (40, 70, 0)
    only = {"pending_only": True}
    assert await store.take_back(ledger.pool, due.transfer_id, 5, CAUSE, key(), **only) is None
    assert await store.take_back(ledger.pool, waiting.transfer_id, 5, CAUSE, key(), **only) is not None
    assert (await ledger.reverse(waiting.transfer_id)).points == 65
    assert (await ledger.reverse(due.transfer_id)).points == 30
    with pytest.raises(AlreadyReversed):
        await ledger.reverse(waiting.transfer_id)
    assert await ledger.aside(member) == (10, 0, 0)
    assert await ledger.totals(member) == (10, 0)
    await ledger.must_be_sound()


async def test_a_hold_is_captured_in_part_and_the_rest_goes_back_into_its_lots(ledger: Ledger) -> None:
    member = await ledger.member()
    await ledger.earn(member, 60, LATER)
    await ledger.earn(member, 60, SOON)
    named = key()
    held = await store.hold(ledger.pool, member, 100, CAUSE, named, expires_at=SOON)
    assert (held.points, held.balance) == (100, 20)
    assert (await store.hold(ledger.pool, member, 100, CAUSE, named, expires_at=SOON)).replayed
    with pytest.raises(InsufficientPoints):
        await ledger.spend(member, 21)
    with pytest.raises(NotReversible):
        await ledger.reverse(held.hold_id)
    with pytest.raises(MoreThanHeld):
        await store.capture(ledger.pool, held.hold_id, 101, CAUSE, key())
    with pytest.raises(UnknownHold):
        await store.release(ledger.pool, uuid4(), CAUSE, key())

    named = key()
    captured = await store.capture(ledger.pool, held.hold_id, 70, CAUSE, named)
    assert (captured.points, captured.balance) == (70, 50)
    again = await store.capture(ledger.pool, held.hold_id, 70, CAUSE, named)
    assert again == Posted(captured.transfer_id, 70, 50, replayed=True)
    for close in (
        store.release(ledger.pool, held.hold_id, CAUSE, key()),
        store.capture(ledger.pool, held.hold_id, 1, CAUSE, key()),
    ):
        with pytest.raises(HoldClosed):
            await close
    assert (await ledger.lots(member))[:2] == [50, 0]
    assert await ledger.aside(member) == (50, 0, 0)
    assert await ledger.totals(member) == (120, 70)

    await ledger.reverse(captured.transfer_id, points=20)
    await ledger.reverse(captured.transfer_id)
    assert await ledger.aside(member) == (120, 0, 0)
    assert await ledger.totals(member) == (120, 0)
    expiries = await ledger.pool.fetch(
        "SELECT expires_at, sum(remaining) FROM lots WHERE open GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in expiries] == [(SOON, 60), (LATER, 60)]
    await ledger.must_be_sound()


async def test_a_hold_is_released_once_also_when_its_time_is_over(ledger: Ledger) -> None:
    member = await ledger.member(100)
    first = await store.hold(ledger.pool, member, 40, CAUSE, key(), expires_at=SOON)
    late = await store.hold(ledger.pool, member, 30, CAUSE, key(), expires_at=MORNING)
    with pytest.raises(HoldClosed):
        await store.capture(ledger.pool, late.hold_id, 30, CAUSE, key())
    assert await ledger.aside(member) == (30, 0, 70)
    assert await upkeep.release_due_holds(ledger.pool, 10) == 1
    assert await upkeep.release_due_holds(ledger.pool, 10) == 0
    assert (await store.release(ledger.pool, first.hold_id, CAUSE, key())).balance == 100
    assert await ledger.lots(member) == [100, 0, 0]
    await ledger.must_be_sound()


async def test_a_hold_that_somebody_broke_does_not_keep_the_others(ledger: Ledger) -> None:
    broken, whole = [await ledger.member(100) for _ in range(2)]
    for member in (broken, whole):
        await store.hold(ledger.pool, member, 30, CAUSE, key(), expires_at=MORNING)
    async with ledger.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            """UPDATE lots SET remaining = 0 FROM accounts
                WHERE accounts.id = account_id AND kind = 'hold' AND owner = $1""",
            broken,
        )
    with pytest.raises(asyncpg.DataCorruptedError, match="more than its lots"):
        await upkeep.release_due_holds(ledger.pool, 10)
    assert await ledger.aside(whole) == (100, 0, 0)
    assert await ledger.aside(broken) == (70, 0, 30)


async def test_expired_points_leave_in_batches_and_before_any_are_spent(ledger: Ledger) -> None:
    early, late, held = [await ledger.member(50, SOON) for _ in range(3)]
    await ledger.earn(early, 5, LATER)
    waiting = await pending(ledger, late, 9)
    await store.hold(ledger.pool, held, 20, CAUSE, key(), expires_at=SOON)
    spent = await ledger.spend(early, 10)
    await ledger.pass_expiry(SOON)

    with pytest.raises(InsufficientPoints) as refused:  # although the job has not run
        await ledger.spend(early, 6)
    assert refused.value.extensions == {"balance": 5}
    assert await ledger.aside(early) == (5, 0, 0)
    await ledger.reverse(spent.transfer_id)
    assert await ledger.aside(early) == (15, 0, 0)  # back in its lot, to expire again

    assert [await upkeep.expire_lots(ledger.pool, 2) for _ in range(3)] == [2, 1, 0]
    assert [await ledger.aside(member) for member in (early, late, held)] == [
        (5, 0, 0),
        (0, 9, 0),
        (0, 0, 20),
    ]
    breakage = await ledger.pool.fetchval("SELECT sum(points) FROM entries WHERE account_id = 2")
    assert breakage == 40 + 10 + 50 + 30
    assert (await ledger.events()).count("points.expired") == 4
    assert (await ledger.reverse(waiting.transfer_id)).points == 9
    await ledger.must_be_sound()


async def test_points_that_expire_soon_are_told_once_for_a_day(ledger: Ledger) -> None:
    member, other = await ledger.member(50, SOON), await ledger.member(10)
    await ledger.earn(member, 5, SOON + timedelta(hours=3))
    await ledger.earn(member, 7, LATER)
    await ledger.earn(other, 1, SOON)
    told = [await upkeep.tell_expiring(ledger.pool, SOON + timedelta(days=1), 1) for _ in range(3)]
    assert told == [1, 1, 0]
    rows = await ledger.pool.fetch(
        "SELECT envelope::jsonb -> 'data' ->> 'points' FROM outbox WHERE type = 'points.expiring'"
    )
    assert sorted(row[0] for row in rows) == ["1", "55"]


async def test_a_partner_s_account_gives_and_takes_and_may_owe(ledger: Ledger) -> None:
    member, partner = await ledger.member(10), uuid4()
    given = await store.earn(ledger.pool, member, 100, CAUSE, key(), partner=partner)
    spent = await store.spend(ledger.pool, member, 30, CAUSE, key(), partner=partner)
    waiting = await store.earn(ledger.pool, member, 5, CAUSE, key(), partner=partner, pending_until=SOON)
    owed = "SELECT sum(points) FROM entries JOIN accounts ON accounts.id = account_id WHERE owner = $1"
    assert await ledger.pool.fetchval(owed, partner) == -75
    await ledger.reverse(spent.transfer_id, points=10)
    await ledger.reverse(given.transfer_id, points=40)
    await ledger.reverse(waiting.transfer_id)
    assert await ledger.pool.fetchval(owed, partner) == -40
    assert await ledger.aside(member) == (50, 0, 0)
    assert await ledger.totals(member) == (70, 20)
    await ledger.must_be_sound()


async def test_a_merge_moves_everything_and_its_undo_what_is_left(ledger: Ledger) -> None:
    kept, gone = await ledger.member(10, SOON), await ledger.member(100, LATER)
    await ledger.earn(gone, 20, SOON)
    waiting = await pending(ledger, gone, 30, MORNING)
    held = await store.hold(ledger.pool, gone, 15, CAUSE, key(), expires_at=SOON)
    spent = await ledger.spend(gone, 25)  # 5 of the 20, 20 of the 100
    merge = await ledger.merge(kept, gone)
    await ledger.merge(kept, gone, merge)
    assert await ledger.aside(kept) == (90, 30, 15)
    assert await ledger.aside(gone) == (0, 0, 0)
    assert (await ledger.totals(kept), await ledger.totals(gone)) == ((160, 25), (0, 0))
    await ledger.must_be_sound()

    late = await ledger.earn(gone, 4)  # an event that knew the old id
    together = [store.Earning(gone, 6, "late", CAUSE, None), store.Earning(kept, 1, "own", CAUSE, None)]
    await store.post_earnings(ledger.pool, together, "test", 0)
    await ledger.reverse(spent.transfer_id, points=15)
    await ledger.take_back(waiting.transfer_id, 3)
    await ledger.promote()
    await store.capture(ledger.pool, held.hold_id, 5, CAUSE, key())
    await ledger.spend(gone, 30)  # the survivor's soonest: 10 of its own, 10 that were held, 10 of the 100
    assert await ledger.aside(kept) == (90 + 11 + 15 + 27 + 10 - 30, 0, 0)
    assert await ledger.aside(gone) == (0, 0, 0)
    await ledger.must_be_sound()

    for _ in range(2):
        await merging.unmerge(ledger.pool, merge, kept, gone, None)
    assert late.balance == 94
    assert sum(await ledger.lots(kept)) == 11
    assert (await ledger.aside(kept), await ledger.aside(gone)) == ((11, 0, 0), (112, 0, 0))
    await ledger.must_be_sound()
    await ledger.spend(gone, 112)
    await ledger.merge(kept, gone, merge)  # the first event again changes nothing
    assert await ledger.aside(gone) == (0, 0, 0)
    await ledger.must_be_sound()


async def test_merges_and_their_undoing_may_come_in_any_order(ledger: Ledger) -> None:
    one, two, three = [await ledger.member(points) for points in (1, 20, 300)]
    undone_before = uuid4()
    await merging.unmerge(ledger.pool, undone_before, one, two, None)
    await ledger.merge(one, two, undone_before)
    assert await ledger.aside(two) == (20, 0, 0)

    first = await ledger.merge(one, two)
    with pytest.raises(merging.MergeTooEarly):
        await ledger.merge(three, two)
    with pytest.raises(merging.MergeTooEarly):
        await ledger.merge(two, one)
    second = await ledger.merge(three, one)
    assert await ledger.aside(three) == (321, 0, 0)
    assert await store.survivors(ledger.pool, [one, two, three]) == dict.fromkeys((one, two, three), three)
    await merging.unmerge(ledger.pool, first, one, two, None)
    assert [await ledger.aside(each) for each in (one, two, three)] == [(0, 0, 0), (20, 0, 0), (301, 0, 0)]
    await ledger.must_be_sound()
    await merging.unmerge(ledger.pool, second, three, one, None)
    assert [await ledger.aside(each) for each in (one, two, three)] == [(1, 0, 0), (20, 0, 0), (300, 0, 0)]
    assert [await ledger.totals(each) for each in (one, two, three)] == [(1, 0), (20, 0), (300, 0)]
    await ledger.must_be_sound()


async def test_a_forgotten_customer_leaves_the_sums(ledger: Ledger) -> None:
    kept, gone, other = [await ledger.member(points) for points in (1, 20, 300)]
    await pending(ledger, kept, 5)
    await ledger.merge(kept, gone)
    assert await merging.forget(ledger.pool, kept) == 3
    assert await merging.forget(ledger.pool, kept) == 0
    owners = [row["owner"] for row in await ledger.pool.fetch("SELECT owner FROM accounts")]
    assert not {kept, gone} & set(owners)
    assert other in owners
    assert await ledger.pool.fetchval("SELECT sum(balance) FROM accounts") == 326
    await ledger.must_be_sound()
