"""The ledger against a model of it: any sequence of postings keeps every promise.

A rule-based machine (Hypothesis) posts to a real Postgres what a plain Python model does in parallel, and
after each step both agree and the audit finds nothing.
"""

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from services.loyalty.ledger.refusals import AlreadyReversed, InsufficientPoints
from services.loyalty.ledger.store import Key, Posted
from shared.database import Database
from shared.problems import Problem
from shared.settings import ServiceSettings
from tests.loyalty.points import Ledger, empty, key

T = TypeVar("T")
amounts = st.integers(1, 50)


@dataclass
class Done:
    """A transfer that the model knows."""

    transfer_id: UUID
    member: UUID
    change: int  # of the member's balance
    reversed: int = 0


@dataclass
class Repeat:
    """A request that may be sent again."""

    member: UUID
    points: int
    named: Key
    answer: Posted = field(repr=False)


class LedgerMachine(RuleBasedStateMachine):
    made: ClassVar[ServiceSettings]

    members: Bundle[UUID] = Bundle("members")
    transfers: Bundle[Done] = Bundle("transfers")
    requests: Bundle[Repeat] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.balances: dict[UUID, int] = {}
        self.do(empty(self.made))
        self.database = Database(self.made)
        self.do(self.database.open())
        self.ledger = Ledger(self.database.pool)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def refused(self, work: Coroutine[Any, Any, Any]) -> Problem:
        try:
            answer = self.do(work)
        except Problem as problem:
            return problem
        raise AssertionError(f"not refused: {answer}")

    @initialize(target=members)
    def first_members(self) -> Any:
        members = [uuid4() for _ in range(3)]
        for member in members:
            self.balances[member] = 0
        return multiple(*members)

    @rule(target=transfers, member=members, points=amounts)
    def earn(self, member: UUID, points: int) -> Done:
        answer = self.do(self.ledger.earn(member, points))
        self.balances[member] += points
        assert answer.balance == self.balances[member]
        return Done(answer.transfer_id, member, points)

    @rule(target=requests, member=members, points=amounts)
    def redeem(self, member: UUID, points: int) -> Any:
        named = key()
        if points > self.balances[member]:
            self.refused(self.ledger.spend(member, points, named))
            return multiple()
        answer = self.do(self.ledger.spend(member, points, named))
        self.balances[member] -= points
        assert answer.balance == self.balances[member]
        return Repeat(member, points, named, answer)

    @rule(request=requests)
    def repeat(self, request: Repeat) -> None:
        answer = self.do(self.ledger.spend(request.member, request.points, request.named))
        assert answer.replayed
        assert (answer.transfer_id, answer.balance) == (request.answer.transfer_id, request.answer.balance)

    @rule(target=transfers, request=consumes(requests))
    def remember(self, request: Repeat) -> Done:
        return Done(request.answer.transfer_id, request.member, -request.points)

    @rule(done=transfers, points=amounts)
    def take_back(self, done: Done, points: int) -> None:
        left = abs(done.change) - done.reversed
        if done.change < 0 or points > left:
            return
        answer = self.do(self.ledger.take_back(done.transfer_id, points))
        taken = min(points, self.balances[done.member])
        assert (answer.points if answer else 0) == taken
        self.balances[done.member] -= taken
        done.reversed += taken

    @rule(done=transfers)
    def reverse(self, done: Done) -> None:
        left = abs(done.change) - done.reversed
        if left == 0:
            assert isinstance(self.refused(self.ledger.reverse(done.transfer_id)), AlreadyReversed)
        elif done.change > 0 and left > self.balances[done.member]:
            assert isinstance(self.refused(self.ledger.reverse(done.transfer_id)), InsufficientPoints)
        else:
            answer = self.do(self.ledger.reverse(done.transfer_id))
            assert answer.points == left
            self.balances[done.member] -= left if done.change > 0 else -left
            done.reversed += left

    @rule(giver=members, receiver=members, points=amounts)
    def move(self, giver: UUID, receiver: UUID, points: int) -> None:
        if giver == receiver:
            return
        row = self.do(self.ledger.move(giver, receiver, points))
        if row["outcome"] == "posted":
            self.balances[giver] -= points
            self.balances[receiver] += points
        else:
            assert points > self.balances[giver]

    @invariant()
    def balances_agree_and_the_audit_finds_nothing(self) -> None:
        for member, balance in self.balances.items():
            assert (self.do(self.ledger.balance(member)) or 0) == balance
        self.do(self.ledger.must_be_sound())

    def teardown(self) -> None:
        self.do(self.database.close())
        self.runner.close()


LedgerMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("C360_FUZZ_EXAMPLES", "10")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class TestLedger(LedgerMachine.TestCase):
    @pytest.fixture(autouse=True)
    def on_one_database(self, one_database: ServiceSettings) -> None:
        LedgerMachine.made = one_database
