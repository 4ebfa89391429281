"""Many at once: one effect for each key, never below zero, no deadlock."""

import asyncio
import os
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from services.loyalty.ledger import merging, statement, store, upkeep
from services.loyalty.ledger.refusals import AlreadyReversed, InsufficientPoints
from services.loyalty.ledger.store import Posted
from shared.clock import utc_now
from shared.problems import Problem
from tests.loyalty.points import CAUSE, MORNING, Ledger, key


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


CLIENTS, MEMBERS = 32, 10
LONG = bool(os.environ.get("C360_LONG"))
FUZZ_S = float(os.environ.get("C360_FUZZ_S", "3600" if LONG else "60"))
THINK_S = 0.0 if LONG else 0.3  # at most between two deeds of a client, so that other tests get their turn
SOON = datetime(2098, 1, 1, tzinfo=UTC)


class Client:
    """Somebody who does whatever can be done, at random, with few members."""

    def __init__(self, ledger: Ledger, members: list[UUID], chance: random.Random) -> None:
        self.ledger, self.pool, self.chance, self.members = ledger, ledger.pool, chance, members
        self.transfers: list[UUID] = []
        self.holds: list[UUID] = []
        self.merges: list[tuple[UUID, UUID, UUID]] = []
        self.did: Counter[str] = Counter()

    async def run(self, until: float) -> None:
        ways = (
            self.earn,
            self.wait,
            self.spend,
            self.hold,
            self.close,
            self.undo,
            self.batch,
            self.clock,
            self.merge,
        )
        weights = (8, 3, 8, 4, 4, 6, 2, 2, 1)
        while time.monotonic() < until:
            (way,) = self.chance.choices(ways, weights)
            try:
                await way(self.chance.choice(self.members), self.chance.randint(1, 40))
                self.did[way.__name__] += 1
            except (Problem, merging.MergeTooEarly) as refused:
                self.did[type(refused).__name__] += 1
            await asyncio.sleep(self.chance.uniform(0, THINK_S))

    async def earn(self, member: UUID, points: int) -> None:
        expires_at = self.chance.choice([None, SOON, utc_now() + timedelta(milliseconds=10 * points)])
        self.transfers.append((await self.ledger.earn(member, points, expires_at)).transfer_id)

    async def wait(self, member: UUID, points: int) -> None:
        until = self.chance.choice([MORNING, SOON])
        earned = await store.earn(
            self.pool, member, points, CAUSE, key(), expires_at=SOON, pending_until=until
        )
        self.transfers.append(earned.transfer_id)

    async def spend(self, member: UUID, points: int) -> None:
        self.transfers.append((await self.ledger.spend(member, points)).transfer_id)

    async def hold(self, member: UUID, points: int) -> None:
        expires_at = self.chance.choice([MORNING, SOON])
        held = await store.hold(self.pool, member, points, CAUSE, key(), expires_at=expires_at)
        self.holds.append(held.hold_id)

    async def close(self, _: UUID, points: int) -> None:
        hold = self.chance.choice(self.holds or [uuid4()])
        if points % 2:
            await store.release(self.pool, hold, CAUSE, key())
        else:
            captured = await store.capture(self.pool, hold, points, CAUSE, key())
            self.transfers.append(captured.transfer_id)

    async def undo(self, _: UUID, points: int) -> None:
        transfer = self.chance.choice(self.transfers or [uuid4()])
        if points % 2:
            await self.ledger.reverse(transfer, points=points)
        else:
            await self.ledger.take_back(transfer, points)

    async def batch(self, _: UUID, points: int) -> None:
        waiting = [None, MORNING]
        items = [
            store.Earning(
                member, points, str(uuid4()), CAUSE, SOON, pending_until=self.chance.choice(waiting)
            )
            for member in self.chance.sample(self.members, 5)
        ]
        await store.post_earnings(self.pool, items, "test", 1)

    async def clock(self, *_: object) -> None:
        await upkeep.expire_lots(self.pool, 50)
        await self.ledger.promote(50)
        await upkeep.release_due_holds(self.pool, 5)
        await upkeep.seal(self.pool, 200)

    async def merge(self, member: UUID, points: int) -> None:
        if self.merges and points % 2:
            await merging.unmerge(self.pool, *self.merges.pop(), None)
        else:
            merge = (uuid4(), member, self.chance.choice(self.members))
            await merging.merge(self.pool, *merge, None)
            self.merges.append(merge)


async def test_32_clients_on_10_members_break_nothing_and_never_see_a_deadlock(ledger: Ledger) -> None:
    """A minute here; an hour with C360_LONG."""
    members = [await ledger.member(100) for _ in range(MEMBERS)]
    clients = [Client(ledger, members, random.Random(number)) for number in range(CLIENTS)]
    until = time.monotonic() + FUZZ_S
    await asyncio.gather(*(client.run(until) for client in clients))
    did = sum((client.did for client in clients), Counter())
    assert did["spend"] > 0, did
    await ledger.must_be_sound()

    # The liability equals the ledger to the unit.
    now = utc_now()
    async with ledger.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")
        told = await statement.liability(connection, now - timedelta(days=1), now + timedelta(days=1))
    moved = told["period"]
    signed = moved["earned"] - moved["spent"] - moved["expired"] + moved["adjusted"] + moved["reversed"]
    outstanding = -await ledger.pool.fetchval("SELECT sum(points) FROM entries WHERE balance IS NULL")
    assert told["points"] == moved["closing"] == moved["opening"] + signed == outstanding
    assert told["points"] == sum(month["points"] for month in told["by_expiry"])
    assert moved["opening"] == 0
    assert moved["expired"] > 0
