"""Earning: what events and operators bring, counted, posted to the ledger and set against what is owed.

Points are those of the order of time. The newest purchases of a member only add to where the last count
ended; a late one has the member's purchases counted anew from the first, and the ledger follows: what an
award has become more is given by another transfer, what it has become less is taken back like a refund.
Taking back stays within the member's balance; the rest is owed and taken from the next points that come in.
So the end is the same whatever came first, the refund, its purchase, another purchase or the spending.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.loyalty.earning import refunds, replay, rule_store, store
from services.loyalty.earning.replay import GivenBack, Outcome, Position, Programme, place
from services.loyalty.earning.rules import Award, Deed, Kind, Terms, concerns, exchanged, read_used, written
from services.loyalty.earning.store import Granted, Kept, ToSettle, Written, transfer_key
from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.store import Cause, Connection, Earning, Key
from services.loyalty.settings import LoyaltySettings, RefundPolicy
from services.loyalty.tiers import service as tiers
from services.loyalty.tiers import store as standings
from services.loyalty.tiers.rules import BEGINNING, Change
from services.loyalty.tiers.store import Moved
from shared.clock import utc_now
from shared.contracts.handles import Refund
from shared.telemetry import logger

ACTOR = "reactions"
CHUNK = 2000  # earnings in one statement

_log = logger(part="earning")


class Counting:
    """What one count decides: deeds to be written, earnings to be posted, standings to be kept."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.written: list[Written] = []
        self.earnings: list[Earning] = []
        self.moved: list[Moved] = []

    def decide(self, outcome: Outcome, before: Kept | None) -> None:
        """Have the deed's awards be what the count says, whatever was given before."""
        given = before.granted if before else {}
        granted = dict(given)
        for award in outcome.awards:
            was = given.get(award.rule, Granted(0, 0, 0))
            more = award.points - was.points
            if more > 0:
                self.earnings.append(self._earning(outcome.deed, award, was, more))
            granted[award.rule] = Granted(
                award.points, was.claimed + max(0, -more), was.grants + (1 if more > 0 else 0)
            )
        for rule in given.keys() - {award.rule for award in outcome.awards}:
            was = given[rule]
            granted[rule] = Granted(0, was.claimed + was.points, was.grants)
        tier = outcome.tier.name if outcome.tier else None
        if (
            before is None
            or granted != given
            or (before.deed, before.tier, before.qualifying) != (outcome.deed, tier, outcome.qualifying)
        ):
            self.written.append(Written(outcome, granted))

    def _earning(self, deed: Deed, award: Award, was: Granted, more: int) -> Earning:
        again = f", {was.points} of it given before: an earlier one became known" if was.grants else ""
        cause = Cause(
            deed.reason,
            ACTOR,
            deed.occurred_at,
            award.rule,
            award.arithmetic + again,
            deed.event_id,
        )
        key = transfer_key(deed, award.rule, was.grants + 1)
        until = award.pending_until
        waits = until if until is not None and until > self.now else None
        return Earning(deed.customer_id, more, key, cause, award.expires_at, pending_until=waits)


async def programme(connection: Connection, settings: LoyaltySettings) -> Programme:
    """The rules, tiers and terms in effect."""
    terms = Terms(settings.currency, settings.exchange, settings.purchase_points_limit, settings.points_days)
    ladder = await tiers.ladder(connection, settings)
    return Programme(await rule_store.rules(connection), ladder, terms)


async def count(
    connection: asyncpg.Connection,
    settings: LoyaltySettings,
    deeds: Sequence[Deed],
    refunds: Sequence[tuple[Refund, UUID]] = (),
    watched: frozenset[Kind] = frozenset(),
) -> list[Deed]:
    """Count what many members did, in one transaction and in any order of arrival; returns what was new.

    Args:
        watched: kinds that are kept also when no rule is for them.

    All accounts are opened and locked first, so two of these, or a refund and its purchase that are heard
    of at the same moment, go one after the other and the later one sees what the first wrote.
    """
    members = {deed.customer_id for deed in deeds} | {refund.customer_id for refund, _ in refunds}
    if not members:
        return []
    await ledger.lock_members(connection, list(members))
    await store.keep_refunds(connection, refunds)
    family = await ledger.families(connection, members)
    present = await programme(connection, settings)
    fresh = [
        exchanged(_whose(deed, family), present.terms)
        for deed in await store.unknown(connection, deeds, family)
    ]
    counting = Counting(utc_now())
    purchases = [deed for deed in fresh if deed.kind == "purchase"]
    returned = {family[refund.customer_id] for refund, _ in refunds}
    await _count_purchases(connection, present, counting, family, purchases, anew=returned)
    others = [deed for deed in fresh if deed.kind != "purchase"]
    await _count_others(connection, present, counting, others, watched=watched)
    await _keep(connection, settings, counting)
    await settle(connection, members, settings.refund_policy)
    return fresh


async def recount(
    connection: asyncpg.Connection,
    settings: LoyaltySettings,
    deeds: Sequence[Deed],
    withdrawn: Collection[UUID],
) -> list[Deed]:
    """Count deeds by which something else became known, purchases aside; returns what was new.

    Args:
        deeds: as they are now; when and how much may differ from what was counted before.
        withdrawn: ids of deeds that were not done after all, if any of them was counted.
    """
    ids = [*(deed.id for deed in deeds), *withdrawn]
    members = {deed.customer_id for deed in deeds}
    members |= {each.deed.customer_id for each in await store.kept(connection, ids)}
    if not members:
        return []
    await ledger.lock_members(connection, list(members))
    family = await ledger.families(connection, members)
    counting, present = Counting(utc_now()), await programme(connection, settings)
    was = {(each.deed.id, each.deed.kind): each for each in await store.kept(connection, ids)}
    changed = [exchanged(_heard_before(_whose(deed, family), was), present.terms) for deed in deeds]
    await _count_others(connection, present, counting, changed, was=was)
    await _keep(connection, settings, counting)
    await settle(connection, members)
    return [deed for deed in changed if (deed.id, deed.kind) not in was]


async def regroup(
    connection: asyncpg.Connection, settings: LoyaltySettings, customer_ids: Iterable[UUID]
) -> None:
    """Count the purchases of customers who were merged or separated: as if each had always been one member.

    To be called after the ledger has moved their points.
    """
    family = await ledger.families(connection, customer_ids)
    await store.regroup(connection, family)
    counting = Counting(utc_now())
    present = await programme(connection, settings)
    await _count_purchases(connection, present, counting, family, [], anew=set(family.values()))
    await _keep(connection, settings, counting)
    await settle(connection, customer_ids)


async def _keep(connection: asyncpg.Connection, settings: LoyaltySettings, counting: Counting) -> None:
    await store.write(connection, counting.written)
    await _post(connection, settings, counting.earnings)
    await standings.save(connection, counting.moved)


def _whose(deed: Deed, family: Mapping[UUID, UUID]) -> Deed:
    survivor = family[deed.customer_id]
    if survivor == deed.customer_id:
        return deed
    return replace(deed, customer_id=store.own_id(survivor), told_of=deed.customer_id)


def _heard_before(deed: Deed, was: Mapping[tuple[UUID, Kind], Kept]) -> Deed:
    """The rules and rates that were there when it was first heard of decide, also when it is counted anew."""
    known = was.get((deed.id, deed.kind))
    if known is None:
        return deed
    rate = known.deed.exchange if known.deed.currency == deed.currency else None
    return replace(deed, recorded_at=known.deed.recorded_at, exchange=rate)


async def _count_purchases(
    connection: asyncpg.Connection,
    present: Programme,
    counting: Counting,
    family: Mapping[UUID, UUID],
    purchases: Sequence[Deed],
    *,
    anew: set[UUID],
) -> None:
    """Go on from where the members' last counts ended, or from the beginning where something came late."""
    new: dict[UUID, list[Deed]] = {customer_id: [] for customer_id in anew}
    for deed in purchases:
        new.setdefault(deed.customer_id, []).append(deed)
    known = await standings.load(connection, list(new))
    from_beginning = {
        customer_id
        for customer_id, items in new.items()
        if customer_id in anew
        or customer_id not in known
        or min(map(place, items)) <= _last(known[customer_id])
    }
    # Refunds of what was counted before are counted too: whoever gives something back is counted anew.
    whole = [member for member, survivor in family.items() if survivor in from_beginning]
    back = await store.refunds_of(connection, family, whole, [deed.id for deed in purchases])
    past: dict[UUID, dict[UUID, Kept]] = {}
    for kept in await store.history(connection, {(who, "purchase"): BEGINNING for who in from_beginning}):
        past.setdefault(kept.deed.customer_id, {})[kept.deed.id] = kept
    for customer_id, items in new.items():
        before = past.get(customer_id, {})
        every = [*items, *(exchanged(kept.deed, present.terms) for kept in before.values())]
        if not every:
            continue  # a refund whose purchase is still to come
        standing = None if customer_id in from_beginning else known[customer_id]
        position = replay.start(present) if standing is None else _position(standing)
        since = position.standing.clock
        outcomes, changes = replay.replay(
            position, [*every, *_given_back(every, back.get(customer_id, ()))], present
        )
        for outcome in outcomes:
            counting.decide(outcome, before.get(outcome.deed.id))
        was = known.get(customer_id)
        counting.moved.append(
            _moved(
                customer_id,
                position,
                was=was,
                present=present,
                now=counting.now,
                since=since,
                changes=changes,
            )
        )


async def _count_others(
    connection: asyncpg.Connection,
    present: Programme,
    counting: Counting,
    deeds: Sequence[Deed],
    *,
    watched: frozenset[Kind] = frozenset(),
    was: Mapping[tuple[UUID, Kind], Kept] | None = None,
) -> None:
    """Deeds that a rule is for, with those of the same month, whose limits they share.

    Args:
        was: what was counted before of deeds that are counted anew; those that are not among `deeds` any more
            earn nothing.
    """
    was = was or {}
    new = {
        (deed.id, deed.kind): deed
        for deed in deeds
        if deed.kind in watched or any(concerns(rule, deed) for rule in present.rules)
    }
    since: dict[tuple[UUID, str], datetime] = {}
    for deed in [*new.values(), *(kept.deed for kept in was.values())]:
        key = (deed.customer_id, deed.kind)
        month = deed.occurred_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        since[key] = min(month, since.get(key, month))
    before = {(kept.deed.id, kept.deed.kind): kept for kept in await store.history(connection, since)}
    others = [kept.deed for key, kept in before.items() if key not in new and key not in was]
    for outcome in replay.each_alone([*new.values(), *others], present):
        counting.decide(outcome, before.get((outcome.deed.id, outcome.deed.kind)))
    for key in was.keys() - new.keys():
        counting.decide(Outcome(was[key].deed, ()), was[key])


def _last(kept: standings.Kept) -> replay.Place:
    """The latest place that may be counted: of one moment, whatever comes after the last is counted anew."""
    return kept.standing.clock, True, kept.last_id


def _position(kept: standings.Kept) -> Position:
    counted = kept.counted
    return Position(kept.standing.copy(), _last(kept), counted["bought"], read_used(counted["used"]))


def _moved(
    customer_id: UUID,
    position: Position,
    *,
    was: standings.Kept | None,
    present: Programme,
    now: datetime,
    since: datetime,
    changes: Sequence[Change],
) -> Moved:
    assert position.last is not None  # noqa: S101 - something was counted
    counted: dict[str, Any] = {"bought": position.bought, "used": written(position.used)}
    tier_before = was.tier_now if was else present.ladder.at(now).tiers[0].name
    kept = standings.Kept(customer_id, position.standing, position.last[2], counted, tier_before)
    return tiers.moved(kept, present.ladder, now, since=since, changes=changes)


def _given_back(deeds: Iterable[Deed], refunded: Iterable[GivenBack]) -> list[GivenBack]:
    """The refunds of these purchases; one that is dated before its purchase counts right after it."""
    bought = {deed.id: deed.occurred_at for deed in deeds}
    return [
        GivenBack(
            each.id,
            each.purchase_id,
            each.amount,
            each.paid,
            max(each.occurred_at, bought[each.purchase_id]),
        )
        for each in refunded
        if each.purchase_id in bought
    ]


async def _post(
    connection: asyncpg.Connection, settings: LoyaltySettings, earnings: Sequence[Earning]
) -> None:
    in_time = sorted(earnings, key=lambda earning: (earning.cause.occurred_at, earning.key))
    for start in range(0, len(in_time), CHUNK):
        chunk = in_time[start : start + CHUNK]
        refused = await ledger.post_earnings(connection, chunk, ACTOR, settings.cost_per_point)
        if refused:
            _log.error(
                "earnings refused: the balance would become too large", keys=refused[:10], count=len(refused)
            )


async def settle(
    connection: asyncpg.Connection, customer_ids: Iterable[UUID], policy: RefundPolicy = "owed"
) -> None:
    """Take back what these members have due, within their balance; the rest is written as owed.

    To be called, in the same transaction, after anything that gives points to a member. Customers that were
    merged owe together.

    Args:
        policy: what the refunds that are heard of now may take; what it leaves is waived for good.
    """
    owed: dict[UUID, int] = {}
    survivors = await ledger.families(connection, customer_ids)
    for each in await store.to_settle(connection, sorted(survivors)):
        due = refunds.due_back(each.award)
        if due > 0:
            pending_only = policy == "pending-only" and each.award.refunded > 0
            due -= await _take_back(connection, each, due, pending_only=pending_only)
        if due > 0 and policy != "owed" and each.award.refunded > 0:
            await store.waive(connection, each, due)
            due = 0
        survivor = survivors[each.customer_id]
        owed[survivor] = owed.get(survivor, 0) + due
    if owed:
        await store.owe(connection, owed)


async def _take_back(connection: asyncpg.Connection, each: ToSettle, due: int, *, pending_only: bool) -> int:
    """Take up to `due` points back, from the last transfer first; returns how many there were."""
    cause = Cause(
        reason="Refund" if each.award.refunded else "Recount",
        actor=ACTOR,
        occurred_at=each.occurred_at,
        rule="refund" if each.award.refunded else each.rule,
        arithmetic=refunds.due_back_arithmetic(each.award),
        event_id=each.event_id,
    )
    back = 0
    for transfer_id, granted, taken in each.transfers:
        wanted = min(due - back, granted - taken)
        if wanted <= 0:
            continue
        # The key holds where this step of the chain begins, so a repeat is the same step.
        key = Key(f"back/{transfer_id}/{taken}", transfer_id.bytes)
        posted = await ledger.take_back(
            connection, transfer_id, wanted, cause, key, pending_only=pending_only
        )
        back += posted.points if posted else 0
    return back
