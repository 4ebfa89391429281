"""What a member's deeds of one kind earn in the order of time. Pure.

A purchase's points depend on what came before it: the tier it was made in, whether it was the first, what
was left of a limit. So a late purchase changes those after it. `replay` counts deeds in order from a
position; from the beginning it gives what the whole history is worth, and from where the last count ended
it only adds, with the same outcome. The order in which deeds are heard of plays no part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from services.loyalty.earning.refunds import share
from services.loyalty.earning.rules import Award, Deed, Rule, Terms, Used, awards, qualifying
from services.loyalty.tiers.rules import (
    Change,
    Ladder,
    Standing,
    Tier,
    advance,
    begin,
    qualify,
)


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A refund of a purchase, as the tiers see it."""

    id: UUID
    purchase_id: UUID
    amount: int
    paid: int
    occurred_at: datetime


Item: TypeAlias = Deed | GivenBack
Place: TypeAlias = tuple[datetime, bool, UUID]


@dataclass(frozen=True, slots=True)
class Programme:
    """All that decides what a deed earns, besides the member's history. `rules` are sorted by `in_order`."""

    rules: Sequence[Rule]
    ladder: Ladder
    terms: Terms


@dataclass(slots=True)
class Position:
    """How far a member's purchases are counted: where the member stands, and what limits are used up."""

    standing: Standing
    last: Place | None = None
    bought: bool = False
    used: dict[str, Used] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a deed earns, the tier it was done in, and what it counts towards the next."""

    deed: Deed
    awards: Sequence[Award]
    tier: Tier | None = None
    qualifying: int = 0


def start(programme: Programme) -> Position:
    """Before the first purchase."""
    return Position(begin(programme.ladder))


def place(item: Item) -> Place:
    """Where an item stands in the order of time; a refund comes after what was bought at the same moment."""
    return item.occurred_at, isinstance(item, GivenBack), item.id


def replay(
    position: Position, items: Sequence[Item], programme: Programme
) -> tuple[list[Outcome], list[Change]]:
    """Count purchases and refunds that all come after the position, which is moved behind the last.

    Refunds are counted together with their purchases; one of a purchase before the position is passed over.
    """
    outcomes: list[Outcome] = []
    changes: list[Change] = []
    counted: dict[UUID, _Counted] = {}
    for item in sorted(items, key=place):
        position.last = place(item)
        changes += advance(position.standing, programme.ladder, item.occurred_at)
        if isinstance(item, GivenBack):
            of = counted.get(item.purchase_id)
            if of is not None:
                changes += qualify(position.standing, programme.ladder, of.day, -of.give_back(item))
            continue
        outcome = _buy(position, item, programme)
        outcomes.append(outcome)
        counted[item.id] = _Counted(item, outcome.qualifying)
        if outcome.qualifying:
            day = item.occurred_at.date()
            changes += qualify(position.standing, programme.ladder, day, outcome.qualifying)
    return outcomes, changes


def _buy(position: Position, deed: Deed, programme: Programme) -> Outcome:
    table = programme.ladder.at(deed.occurred_at)
    tier = table.tiers[table.rank(position.standing.tier) or 0]
    given = awards(
        deed, programme.rules, programme.terms, position.used, tier=tier, first=not position.bought
    )
    position.bought = True
    if programme.ladder.basis == "spend":
        worth = qualifying(deed, programme.terms)
    else:
        worth = sum(award.points for award in given)
    return Outcome(deed, given, tier, worth)


class _Counted:
    """A purchase that qualified, and how much of it came back."""

    def __init__(self, deed: Deed, worth: int) -> None:
        self.day = deed.occurred_at.date()
        self._worth, self._refunded, self._taken = worth, 0, 0

    def give_back(self, refund: GivenBack) -> int:
        """How much less it qualifies by this refund: shares are of all refunds together."""
        self._refunded += refund.amount
        taken = share(self._worth, refund.paid, self._refunded)
        less, self._taken = taken - self._taken, taken
        return less


def each_alone(deeds: Sequence[Deed], programme: Programme) -> list[Outcome]:
    """What deeds of other kinds than purchases earn: only limits look back, to the month's beginning."""
    used: dict[tuple[UUID, str], dict[str, Used]] = {}
    outcomes = []
    for deed in sorted(deeds, key=place):
        limits = used.setdefault((deed.customer_id, deed.kind), {})
        outcomes.append(Outcome(deed, awards(deed, programme.rules, programme.terms, limits)))
    return outcomes


def points_of(outcome: Outcome) -> int:
    """All that a deed earns."""
    return sum(award.points for award in outcome.awards)
