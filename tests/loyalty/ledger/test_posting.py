"""Posting: what a transfer writes, which lots it takes, how it is repeated and undone."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.loyalty.ledger import store
from services.loyalty.ledger.refusals import (
    AlreadyReversed,
    InsufficientPoints,
    NegativePoints,
    NothingToMove,
    NotReversible,
    TooManyPoints,
    UnknownMember,
    UnknownTransfer,
)
from services.loyalty.ledger.store import MAX_POINTS
from shared.contracts import decode
from shared.contracts.loyalty import PointsEarned, PointsEvent
from shared.web.idempotency import IdempotencyKeyReused
from tests.loyalty.points import CAUSE, MORNING, Ledger, key

SOON, LATER = datetime(2098, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


async def test_an_earning_opens_the_account_and_makes_a_lot(ledger: Ledger) -> None:
    member = uuid4()
    posted = await ledger.earn(member, 100, SOON)
    assert (posted.points, posted.balance, posted.replayed) == (100, 100, False)
    assert await ledger.balance(member) == 100
    assert await ledger.lots(member) == [100]
    assert await ledger.totals(member) == (100, 0)
    await ledger.must_be_sound()


async def test_the_two_entries_sum_to_zero_and_only_the_member_s_has_a_balance(ledger: Ledger) -> None:
    member = await ledger.member(100)
    await ledger.spend(member, 30)
    rows = await ledger.pool.fetch("SELECT points, balance FROM entries ORDER BY transfer_id, points")
    assert [tuple(row) for row in rows] == [(-100, None), (100, 100), (-30, 70), (30, None)]


async def test_points_are_spent_soonest_expiry_first(ledger: Ledger) -> None:
    member = await ledger.member()
    await ledger.earn(member, 10)  # never expires
    await ledger.earn(member, 10, LATER)
    await ledger.earn(member, 10, SOON)
    await ledger.spend(member, 15)
    assert await ledger.lots(member) == [10, 5, 0]
    await ledger.must_be_sound()


async def test_of_lots_that_expire_together_the_oldest_goes_first(ledger: Ledger) -> None:
    member = await ledger.member()
    for _ in range(3):
        await ledger.earn(member, 10, SOON)
    await ledger.spend(member, 10)
    await ledger.spend(member, 5)
    assert await ledger.lots(member) == [0, 5, 10]


async def test_one_redemption_may_empty_very_many_lots(ledger: Ledger) -> None:
    member = await ledger.member()
    earnings = [store.Earning(member, 1, f"lot {n}", CAUSE, None) for n in range(500)]
    await store.post_earnings(ledger.pool, earnings, "test", 0)
    posted = await ledger.spend(member, 499)
    assert posted.balance == 1
    assert sum(await ledger.lots(member)) == 1
    await ledger.must_be_sound()


async def test_too_little_is_refused_with_the_balance_and_changes_nothing(ledger: Ledger) -> None:
    member = await ledger.member(10)
    with pytest.raises(InsufficientPoints) as refused:
        await ledger.spend(member, 11)
    assert refused.value.extensions == {"balance": 10}
    assert await ledger.balance(member) == 10
    assert await ledger.count("transfers") == 1


async def test_amounts_that_are_none_are_refused_each_by_its_name_and_change_nothing(ledger: Ledger) -> None:
    member = await ledger.member(10)
    spent = await ledger.spend(member, 4)
    wrong = [
        (ledger.earn(member, 0), NothingToMove),
        (ledger.spend(member, 0), NothingToMove),
        (ledger.earn(member, -1), NegativePoints),
        (ledger.spend(member, -1), NegativePoints),
        (ledger.reverse(spent.transfer_id, points=-1), NegativePoints),
        (ledger.earn(member, 2**53), TooManyPoints),
        (ledger.spend(member, 2**53), InsufficientPoints),
        (ledger.reverse(spent.transfer_id, points=2**53), AlreadyReversed),
        (store.hold(ledger.pool, member, 0, CAUSE, key(), expires_at=SOON), NothingToMove),
        (store.hold(ledger.pool, member, 7, CAUSE, key(), expires_at=SOON), InsufficientPoints),
    ]
    for posting, refused in wrong:
        with pytest.raises(refused):
            await posting
    assert await ledger.aside(member) == (6, 0, 0)
    assert await ledger.count("transfers") == 2


async def test_an_unknown_member_has_nothing_to_spend(ledger: Ledger) -> None:
    with pytest.raises(UnknownMember):
        await ledger.spend(uuid4(), 1)


async def test_a_balance_stays_a_number_that_every_reader_tells_exactly(ledger: Ledger) -> None:
    member = await ledger.member(MAX_POINTS)
    with pytest.raises(TooManyPoints):
        await ledger.earn(member, 1)
    assert await ledger.balance(member) == MAX_POINTS


async def test_a_repeat_gets_the_first_answer_even_when_the_balance_has_gone(ledger: Ledger) -> None:
    member = await ledger.member(100)
    named = key()
    first = await ledger.spend(member, 60, named)
    await ledger.spend(member, 40)
    again = await ledger.spend(member, 60, named)
    assert again.replayed
    assert (again.transfer_id, again.points, again.balance) == (first.transfer_id, 60, 40)
    assert await ledger.balance(member) == 0


async def test_a_used_key_with_other_input_is_refused(ledger: Ledger) -> None:
    member, other = await ledger.member(100), await ledger.member(100)
    await ledger.spend(member, 60, key("k", b"one"))
    for someone in (member, other):
        with pytest.raises(IdempotencyKeyReused):
            await ledger.spend(someone, 60, key("k", b"two"))
        with pytest.raises(IdempotencyKeyReused):
            await ledger.spend(someone, 6000, key("k", b"two"))
    assert await ledger.balance(member) == 40
    assert await ledger.balance(other) == 100


async def test_the_same_key_on_two_members_at_once_posts_once(ledger: Ledger) -> None:
    members = [await ledger.member(100) for _ in range(8)]
    answers = await asyncio.gather(
        *(ledger.spend(member, 10, key("k", member.bytes)) for member in members), return_exceptions=True
    )
    assert sum(isinstance(answer, store.Posted) for answer in answers) == 1
    assert sum(isinstance(answer, IdempotencyKeyReused) for answer in answers) == 7
    await ledger.must_be_sound()


async def test_a_reversed_redemption_goes_back_into_its_lots(ledger: Ledger) -> None:
    member = await ledger.member()
    await ledger.earn(member, 10, LATER)
    await ledger.earn(member, 10, SOON)
    spent = await ledger.spend(member, 15)
    assert await ledger.lots(member) == [5, 0]
    undone = await ledger.reverse(spent.transfer_id)
    assert (undone.points, undone.balance) == (15, 20)
    assert await ledger.lots(member) == [10, 10]
    assert await ledger.totals(member) == (20, 0)
    await ledger.must_be_sound()


async def test_a_reversed_earning_takes_its_own_lot_first(ledger: Ledger) -> None:
    member = await ledger.member()
    await ledger.earn(member, 10, SOON)
    earned = await ledger.earn(member, 10, LATER)
    undone = await ledger.reverse(earned.transfer_id)
    assert undone.balance == 10
    assert await ledger.lots(member) == [10, 0]
    assert await ledger.totals(member) == (10, 0)


async def test_a_reversed_earning_whose_lot_is_spent_takes_from_the_others(ledger: Ledger) -> None:
    member = await ledger.member()
    earned = await ledger.earn(member, 10, SOON)
    await ledger.earn(member, 10, LATER)
    await ledger.spend(member, 6)
    await ledger.reverse(earned.transfer_id)
    assert await ledger.lots(member) == [0, 4]
    await ledger.must_be_sound()


async def test_an_earning_that_is_spent_cannot_be_reversed_into_debt(ledger: Ledger) -> None:
    member = uuid4()
    earned = await ledger.earn(member, 10)
    await ledger.spend(member, 1)
    with pytest.raises(InsufficientPoints):
        await ledger.reverse(earned.transfer_id)
    assert await ledger.balance(member) == 9


async def test_a_transfer_is_reversed_once(ledger: Ledger) -> None:
    member = await ledger.member(10)
    spent = await ledger.spend(member, 10)
    named = key()
    await ledger.reverse(spent.transfer_id, named)
    with pytest.raises(AlreadyReversed):
        await ledger.reverse(spent.transfer_id)
    assert (await ledger.reverse(spent.transfer_id, named)).replayed
    assert await ledger.balance(member) == 10


async def test_a_reversal_is_not_reversed(ledger: Ledger) -> None:
    member = await ledger.member(10)
    spent = await ledger.spend(member, 10)
    undone = await ledger.reverse(spent.transfer_id)
    with pytest.raises(NotReversible):
        await ledger.reverse(undone.transfer_id)


async def test_an_unknown_transfer_cannot_be_reversed(ledger: Ledger) -> None:
    with pytest.raises(UnknownTransfer):
        await ledger.reverse(uuid4())


async def test_an_earning_is_taken_back_in_parts_and_within_the_balance(ledger: Ledger) -> None:
    member = uuid4()
    earned = await ledger.earn(member, 100)
    first = await ledger.take_back(earned.transfer_id, 30)
    assert first is not None
    assert (first.points, first.balance) == (30, 70)
    await ledger.spend(member, 50)
    second = await ledger.take_back(earned.transfer_id, 70)
    assert second is not None
    assert (second.points, second.balance) == (20, 0)
    assert await ledger.take_back(earned.transfer_id, 50) is None
    assert await ledger.totals(member) == (50, 50)
    await ledger.must_be_sound()


async def test_reversing_what_was_taken_back_in_part_undoes_the_rest(ledger: Ledger) -> None:
    member = uuid4()
    earned = await ledger.earn(member, 100)
    await ledger.take_back(earned.transfer_id, 30)
    undone = await ledger.reverse(earned.transfer_id)
    assert (undone.points, undone.balance) == (70, 0)
    with pytest.raises(AlreadyReversed):
        await ledger.reverse(earned.transfer_id)


async def test_a_posting_tells_the_others_and_marks_the_section(ledger: Ledger) -> None:
    member = uuid4()
    cause = store.Cause('欢迎 "new"\\', "test", MORNING)
    earned = await store.earn(ledger.pool, member, 100, cause, key())
    spent = await ledger.spend(member, 30)
    await ledger.reverse(spent.transfer_id)
    rows = await ledger.pool.fetch("SELECT envelope FROM outbox ORDER BY id")
    events = [decode(row["envelope"]) for row in rows]
    told = [event.data for event in events]
    assert all(isinstance(data, PointsEvent) for data in told)
    assert sorted(
        (data.type, data.points, data.balance) for data in told if isinstance(data, PointsEvent)
    ) == [
        ("points.earned", 100, 100),
        ("points.redeemed", 30, 70),
        ("points.reversed", 30, 100),
    ]
    (first,) = [event for event in events if isinstance(event.data, PointsEarned)]
    assert (first.source, first.subject, first.traceparent) == ("/loyalty", str(member), None)
    assert first.data == PointsEarned(
        customer_id=member,
        transfer_id=earned.transfer_id,
        points=100,
        balance=100,
        reason=cause.reason,
        occurred_at=MORNING,
    )
    assert await ledger.count("section_marks") == 3


async def test_a_refused_posting_tells_nobody(ledger: Ledger) -> None:
    member = await ledger.member(10)
    before = await ledger.count("outbox"), await ledger.count("section_marks")
    with pytest.raises(InsufficientPoints):
        await ledger.spend(member, 11)
    assert (await ledger.count("outbox"), await ledger.count("section_marks")) == before


async def test_earnings_posted_together_are_as_if_posted_one_by_one(ledger: Ledger) -> None:
    together, alone = await ledger.member(), await ledger.member()
    points = [5, 7, 11]
    when = [MORNING + timedelta(hours=hours) for hours in (2, 0, 1)]
    earnings = [
        store.Earning(together, n, f"batch {n}", store.Cause("r", "test", at, "rule", "sum"), SOON)
        for n, at in zip(points, when, strict=True)
    ]
    assert await store.post_earnings(ledger.pool, earnings, "test", 1) == []
    for earning in sorted(earnings, key=lambda earning: earning.cause.occurred_at):
        await store.earn(
            ledger.pool, alone, earning.points, earning.cause, key(), expires_at=SOON, cost_per_point=1
        )
    shown = """SELECT e.points, e.balance, t.kind, t.points AS moved, t.reason, t.rule, t.arithmetic, t.actor,
                      t.occurred_at, l.points AS lot, l.remaining, l.earned_at, l.expires_at, l.cost_per_point
                 FROM accounts AS a JOIN entries AS e ON e.account_id = a.id
                 JOIN transfers AS t ON t.id = e.transfer_id JOIN lots AS l ON l.transfer_id = t.id
                WHERE a.owner = $1 ORDER BY e.id"""
    rows = [[tuple(row) for row in await ledger.pool.fetch(shown, who)] for who in (together, alone)]
    assert rows[0] == rows[1]
    assert [row[1] for row in rows[0]] == [7, 18, 23]
    assert (await ledger.events()).count("points.earned") == 6
    await ledger.must_be_sound()


async def test_earnings_posted_again_are_passed_over(ledger: Ledger) -> None:
    member = await ledger.member()
    earnings = [store.Earning(member, 5, f"k{n}", CAUSE, None) for n in (1, 1, 2)]
    for _ in range(2):
        await store.post_earnings(ledger.pool, earnings, "test", 1)
    assert await ledger.balance(member) == 10
    assert await ledger.count("transfers") == 2


async def test_earnings_beyond_what_a_balance_can_tell_are_refused_and_the_rest_goes_in(
    ledger: Ledger,
) -> None:
    full, other = await ledger.member(MAX_POINTS - 10), await ledger.member()
    earnings = [
        store.Earning(full, 11, "too much", CAUSE, None),
        store.Earning(other, 11, "fine", CAUSE, None),
    ]
    assert await store.post_earnings(ledger.pool, earnings, "test", 1) == ["too much"]
    assert (await ledger.balance(full), await ledger.balance(other)) == (MAX_POINTS - 10, 11)
    await ledger.must_be_sound()
