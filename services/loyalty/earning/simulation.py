"""What a rule would have given for what members did in the past, before it goes live."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from services.loyalty.earning.replay import Programme
from services.loyalty.earning.rules import Deed, Rule, Used, awards, in_order
from services.loyalty.earning.store import read_deed
from services.loyalty.ledger.store import Connection
from services.loyalty.tiers.rules import BEGINNING, Ladder, Tier

DEEDS_LIMIT = 100_000
SLICE = 2_000  # deeds between two turns for others

# Index: deeds_in_time, and deeds_of_member for the first purchase.
_PAST = """
    SELECT d.id, d.kind::text, d.customer_id, d.occurred_at, d.recorded_at, d.reason, d.event_id, d.amount,
           d.currency, d.exchange, d.parts::text, d.subject, d.channel, d.told_of, d.tier,
           d.id = (SELECT first.id FROM deeds AS first
                    WHERE first.customer_id = d.customer_id AND first.kind = d.kind
                    ORDER BY first.occurred_at, first.id LIMIT 1) AS first
      FROM deeds AS d
     WHERE d.kind = $1::text::deed_kind AND d.occurred_at >= $2 AND d.occurred_at < $3
     ORDER BY d.customer_id, d.occurred_at, d.id LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class Simulated:
    """The sums over all deeds that were looked at."""

    deeds: int
    awarded: int
    members: int
    points: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Past:
    """A deed, the tier in which it was done, and whether it was the member's first."""

    deed: Deed
    tier: Tier | None
    first: bool


async def simulate(
    connection: Connection, programme: Programme, rule: Rule, start: datetime, end: datetime
) -> Simulated:
    """Count the deeds of the rule's kind with and without it; the difference is what it would have given.

    A campaign gives what it adds to the other rules. Deeds that no rule was for were not kept, other than
    purchases. Those of the month before `start` only use up the limits of the other rules.
    """
    always = replace(rule, starts_at=BEGINNING, ends_at=None, made_at=BEGINNING)
    others = [other for other in programme.rules if other.id != rule.id]
    month = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    rows = await connection.fetch(_PAST, rule.kind, month, end, DEEDS_LIMIT + 1)
    past = (_past(row, programme.ladder) for row in rows[:DEEDS_LIMIT])
    counted = Counted(programme, in_order([*others, always]), others, start)
    while counted.add(past):  # noqa: ASYNC110 - others get their turn between two slices
        await asyncio.sleep(0)
    complete = len(rows) <= DEEDS_LIMIT
    return Simulated(counted.deeds, counted.awarded, len(counted.members), counted.points, complete)


def _past(row: Record, ladder: Ladder) -> Past:
    deed = read_deed(row)
    tiers = ladder.at(deed.occurred_at).tiers
    return Past(deed, next((tier for tier in tiers if tier.name == row["tier"]), None), row["first"])


class Counted:
    """The sums so far, over deeds in the order of members and time, from `start` on."""

    def __init__(
        self, programme: Programme, rules: Sequence[Rule], others: Sequence[Rule], start: datetime
    ) -> None:
        self.deeds = self.awarded = self.points = 0
        self._start, self._looked_at = start, 0
        self.members: set[UUID] = set()
        self._terms = programme.terms
        self._ways = (rules, others)
        self._used: tuple[dict[str, Used], dict[str, Used]] = ({}, {})
        self._member: UUID | None = None

    def add(self, past: Iterable[Past]) -> bool:
        """Count the next deeds, a bounded number of them; False when there were none."""
        before = self._looked_at
        for each in past:
            self._looked_at += 1
            self._count(each)
            if self._looked_at - before == SLICE:
                break
        return self._looked_at > before

    def _count(self, past: Past) -> None:
        if past.deed.customer_id != self._member:
            self._member, self._used = past.deed.customer_id, ({}, {})
        if past.deed.occurred_at < self._start:
            self._points(past, self._ways[1], self._used[1])
            self._used[0].update(self._used[1])
            return
        with_rule, without = (
            self._points(past, rules, used) for rules, used in zip(self._ways, self._used, strict=True)
        )
        self.deeds += 1
        if with_rule != without:
            self.awarded += 1
            self.points += with_rule - without
            self.members.add(past.deed.customer_id)

    def _points(self, past: Past, rules: Sequence[Rule], used: dict[str, Used]) -> int:
        given = awards(past.deed, rules, self._terms, used, tier=past.tier, first=past.first)
        return sum(award.points for award in given)
