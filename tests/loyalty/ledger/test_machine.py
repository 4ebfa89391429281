"""The ledger against a model of it: any sequence of postings keeps every promise.

A rule-based machine (Hypothesis) posts to a real Postgres what a plain Python model does in parallel, and
after each step both agree and the audit finds nothing. The model knows what each customer has available,
pending and held, and who was merged into whom; which lots are due to expire it asks the ledger.
"""

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from services.loyalty.ledger import merging, store, upkeep
from services.loyalty.ledger.refusals import AlreadyReversed, HoldClosed, InsufficientPoints, MoreThanHeld
from services.loyalty.ledger.store import Key, Posted
from shared.database import Database
from shared.problems import Problem
from shared.settings import ServiceSettings
from tests.loyalty.points import CAUSE, MORNING, Ledger, empty, key

T = TypeVar("T")
amounts = st.integers(1, 50)
SOON, FAR = datetime(2098, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
DUE = """
    SELECT coalesce(sum(remaining), 0)::bigint FROM lots JOIN accounts ON accounts.id = account_id
     WHERE open AND expires_at <= now() AND kind = $1 AND owner = $2
"""


@dataclass
class Has:
    """What a customer has."""

    available: int = 0
    pending: int = 0
    held: int = 0


@dataclass
class Done:
    """A transfer that the model knows."""

    transfer_id: UUID
    member: UUID  # whose account it was
    points: int
    earned: bool  # or spent
    pending_until: datetime | None = None
    reversed: int = 0


@dataclass
class Repeat:
    """A request that may be sent again."""

    member: UUID
    points: int
    named: Key
    answer: Posted = field(repr=False)


@dataclass
class Hold:
    """A hold, open until it is closed."""

    hold_id: UUID
    member: UUID
    points: int
    open: bool = True


@dataclass
class Merge:
    """A merge that may be undone."""

    merge_id: UUID
    survivor: UUID
    merged: UUID


class LedgerMachine(RuleBasedStateMachine):
    made: ClassVar[ServiceSettings]

    members: Bundle[UUID] = Bundle("members")
    transfers: Bundle[Done] = Bundle("transfers")
    requests: Bundle[Repeat] = Bundle("requests")
    holds: Bundle[Hold] = Bundle("holds")
    merges: Bundle[Merge] = Bundle("merges")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.has: dict[UUID, Has] = {}
        self.into: dict[UUID, UUID] = {}
        self.waiting: list[Done] = []
        self.do(empty(self.made))
        self.database = Database(self.made)
        self.do(self.database.open())
        self.ledger = Ledger(self.database.pool)
        self.pool = self.database.pool

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def refused(self, work: Coroutine[Any, Any, Any]) -> Problem:
        try:
            answer = self.do(work)
        except Problem as problem:
            return problem
        raise AssertionError(f"not refused: {answer}")

    def who(self, member: UUID) -> UUID:
        """Who has the points of a member now."""
        while member in self.into:
            member = self.into[member]
        return member

    def due(self, member: UUID, kind: str = "member") -> int:
        """Points of lots past their expiry that are not booked yet."""
        return int(self.do(self.pool.fetchval(DUE, kind, member)))

    def before_spending(self, member: UUID) -> Has:
        """What a member has once expired points have left, which spending sees to."""
        has = self.has[self.who(member)]
        has.available -= self.due(self.who(member))
        return has

    @initialize(target=members)
    def first_members(self) -> Any:
        members = [uuid4() for _ in range(3)]
        for member in members:
            self.has[member] = Has()
        self.do(store.lock_members(self.pool, members))
        return multiple(*members)

    @rule(target=transfers, member=members, points=amounts, expires_at=st.sampled_from([SOON, FAR, None]))
    def earn(self, member: UUID, points: int, expires_at: datetime | None) -> Done:
        answer = self.do(self.ledger.earn(member, points, expires_at))
        has = self.has[self.who(member)]
        has.available += points
        assert answer.balance == has.available
        return Done(answer.transfer_id, self.who(member), points, earned=True)

    @rule(target=transfers, member=members, points=amounts, until=st.sampled_from([MORNING, FAR]))
    def earn_pending(self, member: UUID, points: int, until: datetime) -> Done:
        answer = self.do(
            store.earn(self.pool, member, points, CAUSE, key(), expires_at=SOON, pending_until=until)
        )
        has = self.has[self.who(member)]
        has.pending += points
        assert answer.balance == has.available
        done = Done(answer.transfer_id, self.who(member), points, earned=True, pending_until=until)
        self.waiting.append(done)
        return done

    @rule()
    def promote(self) -> None:
        due = {member: self.due(member, "pending") for member in self.has}
        self.do(upkeep.expire_lots(self.pool, 1000))
        for member, has in self.has.items():
            has.pending -= due[member]
            has.available = self.do(self.ledger.balance(member))  # less what expired of it
        self.do(self.ledger.promote())
        for done in self.waiting:
            if done.pending_until == MORNING:
                done.pending_until = None
        self.waiting = [done for done in self.waiting if done.pending_until]
        for member, has in self.has.items():
            before = has.available + has.pending
            has.available, has.pending, _ = self.do(self.ledger.aside(member))
            assert has.available + has.pending == before
        left = self.do(self.pool.fetchval("SELECT count(*) FROM lots WHERE open AND pending_until <= now()"))
        assert left == 0

    @rule(target=requests, member=members, points=amounts)
    def redeem(self, member: UUID, points: int) -> Any:
        named, has = key(), self.before_spending(member)
        if points > has.available:
            assert isinstance(self.refused(self.ledger.spend(member, points, named)), InsufficientPoints)
            return multiple()
        answer = self.do(self.ledger.spend(member, points, named))
        has.available -= points
        assert answer.balance == has.available
        return Repeat(self.who(member), points, named, answer)

    @rule(request=requests)
    def repeat(self, request: Repeat) -> None:
        self.before_spending(request.member)
        answer = self.do(self.ledger.spend(request.member, request.points, request.named))
        assert answer.replayed
        assert (answer.transfer_id, answer.balance) == (request.answer.transfer_id, request.answer.balance)

    @rule(target=transfers, request=consumes(requests))
    def remember(self, request: Repeat) -> Done:
        return Done(request.answer.transfer_id, request.member, request.points, earned=False)

    @rule(target=holds, member=members, points=amounts)
    def hold(self, member: UUID, points: int) -> Any:
        has = self.before_spending(member)
        placing = store.hold(self.pool, member, points, CAUSE, key(), expires_at=FAR)
        if points > has.available:
            assert isinstance(self.refused(placing), InsufficientPoints)
            return multiple()
        held = self.do(placing)
        has.available, has.held = has.available - points, has.held + points
        assert held.balance == has.available
        return Hold(held.hold_id, self.who(member), points)

    @rule(target=transfers, hold=holds, points=amounts)
    def capture(self, hold: Hold, points: int) -> Any:
        capturing = store.capture(self.pool, hold.hold_id, points, CAUSE, key())
        if not hold.open or points > hold.points:
            assert isinstance(self.refused(capturing), MoreThanHeld if hold.open else HoldClosed)
            return multiple()
        answer = self.do(capturing)
        hold.open, has = False, self.has[self.who(hold.member)]
        has.available, has.held = has.available + hold.points - points, has.held - hold.points
        assert answer.balance == has.available
        return Done(answer.transfer_id, self.who(hold.member), points, earned=False)

    @rule(hold=holds)
    def release(self, hold: Hold) -> None:
        releasing = store.release(self.pool, hold.hold_id, CAUSE, key())
        if not hold.open:
            assert isinstance(self.refused(releasing), HoldClosed)
            return
        self.do(releasing)
        hold.open, has = False, self.has[self.who(hold.member)]
        has.available, has.held = has.available + hold.points, has.held - hold.points

    @rule(done=transfers, points=amounts)
    def take_back(self, done: Done, points: int) -> None:
        if not done.earned or points > done.points - done.reversed:
            return
        has = self.has[self.who(done.member)]
        pending = self.is_pending(done)
        answer = self.do(self.ledger.take_back(done.transfer_id, points))
        taken = points if pending else min(points, has.available)
        assert (answer.points if answer else 0) == taken
        self.undone(done, taken, pending=pending)

    @rule(done=transfers, points=st.none() | amounts)
    def reverse(self, done: Done, points: int | None) -> None:
        left = done.points - done.reversed
        wanted = left if points is None else points
        has = self.has[self.who(done.member)]
        pending = self.is_pending(done)
        undoing = self.ledger.reverse(done.transfer_id, points=points)
        if wanted > left or left == 0:
            assert isinstance(self.refused(undoing), AlreadyReversed)
        elif done.earned and not pending and wanted > has.available:
            assert isinstance(self.refused(undoing), InsufficientPoints)
        else:
            assert self.do(undoing).points == wanted
            self.undone(done, wanted, pending=pending)

    def is_pending(self, done: Done) -> bool:
        """Whether an earning's points wait; they may have expired while they did."""
        return bool(
            self.do(
                self.pool.fetchval(
                    """SELECT EXISTS (SELECT FROM lots JOIN accounts ON accounts.id = account_id
                        WHERE kind = 'pending' AND open AND $1 IN (transfer_id, origin))""",
                    done.transfer_id,
                )
            )
        )

    def undone(self, done: Done, points: int, *, pending: bool) -> None:
        has = self.has[self.who(done.member)]
        done.reversed += points
        if not done.earned:
            has.available += points
        elif pending:
            has.pending -= points
        else:
            has.available -= points

    @rule(target=merges, survivor=members, merged=members)
    def merge(self, survivor: UUID, merged: UUID) -> Any:
        if merged in self.into or self.who(survivor) == merged:
            return multiple()
        merge_id = self.do(self.ledger.merge(survivor, merged))
        root = self.who(survivor)
        has, had = self.has[root], self.has[merged]
        has.available += had.available
        has.pending += had.pending
        has.held += had.held
        self.has[merged] = Has()
        self.into[merged] = root
        return Merge(merge_id, root, merged)

    @rule(merge=consumes(merges))
    def undo_merge(self, merge: Merge) -> None:
        root = self.who(merge.survivor)
        before = self.has[root]
        self.do(merging.unmerge(self.pool, merge.merge_id, merge.survivor, merge.merged, None))
        del self.into[merge.merged]
        for member in (root, merge.merged):
            self.has[member] = Has(*self.do(self.ledger.aside(member)))
        after = [self.has[root], self.has[merge.merged]]
        assert before == Has(*(sum(getattr(has, name) for has in after) for name in Has.__match_args__))

    @rule()
    def time_passes(self) -> None:
        """Lots that were to expire soon are past their time, and not booked yet."""
        self.do(self.ledger.pass_expiry(SOON))

    @rule()
    def expire(self) -> None:
        due = {member: (self.due(member), self.due(member, "pending")) for member in self.has}
        self.do(upkeep.expire_lots(self.pool, 1000))
        for member, (available, pending) in due.items():
            self.has[member].available -= available
            self.has[member].pending -= pending
            assert self.due(member) == self.due(member, "pending") == 0

    @invariant()
    def all_agree_and_the_audit_finds_nothing(self) -> None:
        for member, has in self.has.items():
            assert Has(*self.do(self.ledger.aside(member))) == has
        self.do(self.ledger.must_be_sound())

    def teardown(self) -> None:
        self.do(self.database.close())
        self.runner.close()


LedgerMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("C360_FUZZ_EXAMPLES", "200" if os.environ.get("C360_LONG") else "25")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class TestLedger(LedgerMachine.TestCase):
    @pytest.fixture(autouse=True)
    def on_one_database(self, one_database: ServiceSettings) -> None:
        LedgerMachine.made = one_database
