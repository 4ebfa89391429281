"""Many at once: one effect for each key, never below zero, no deadlock."""

import asyncio
import random
from collections import Counter
from uuid import uuid4

from services.loyalty.ledger import store
from services.loyalty.ledger.refusals import AlreadyReversed, InsufficientPoints
from services.loyalty.ledger.store import Posted
from tests.loyalty.points import CAUSE, Ledger, key


async def test_200_identical_redemptions_with_one_key_are_one_transfer_and_199_replays(
    ledger: Ledger,
) -> None:
    member = await ledger.member(1000)
    named = key()
    answers = await asyncio.gather(*(ledger.spend(member, 100, named) for _ in range(200)))
    assert Counter(answer.replayed for answer in answers) == {False: 1, True: 199}
    assert len({(answer.transfer_id, answer.points, answer.balance) for answer in answers}) == 1
    assert await ledger.balance(member) == 900
    await ledger.must_be_sound()


async def test_200_redemptions_on_a_balance_for_10_succeed_10_times(ledger: Ledger) -> None:
    member = await ledger.member(1000)
    answers = await asyncio.gather(*(ledger.spend(member, 100) for _ in range(200)), return_exceptions=True)
    assert Counter(type(answer) for answer in answers) == {Posted: 10, InsufficientPoints: 190}
    assert await ledger.balance(member) == 0
    await ledger.must_be_sound()


async def test_500_reversals_of_50_transfers_succeed_50_times(ledger: Ledger) -> None:
    member = await ledger.member(500)
    spent = [await ledger.spend(member, 10) for _ in range(50)]
    wanted = [posted.transfer_id for posted in spent] * 10
    random.Random(1).shuffle(wanted)
    answers = await asyncio.gather(*(ledger.reverse(each) for each in wanted), return_exceptions=True)
    assert Counter(type(answer) for answer in answers) == {Posted: 50, AlreadyReversed: 450}
    assert await ledger.balance(member) == 500
    await ledger.must_be_sound()


async def test_the_first_points_of_a_member_from_many_sides_open_one_account(ledger: Ledger) -> None:
    member = uuid4()
    await asyncio.gather(*(ledger.earn(member, 1) for _ in range(50)))
    assert await ledger.balance(member) == 50
    assert await ledger.count("accounts") == 3  # with the issuer and the breakage


async def test_batches_over_the_same_members_in_any_order_do_not_deadlock(ledger: Ledger) -> None:
    chance = random.Random(2)
    members = [uuid4() for _ in range(30)]

    async def batch(number: int) -> None:
        chosen = chance.sample(members, 20)
        earnings = [store.Earning(member, 1, f"{number} {member}", CAUSE, None) for member in chosen]
        await store.post_earnings(ledger.pool, earnings, "test", 1)

    await asyncio.gather(*(batch(n) for n in range(30)))
    assert sum([await ledger.balance(member) for member in members]) == 30 * 20
    await ledger.must_be_sound()
