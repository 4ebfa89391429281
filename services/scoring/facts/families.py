"""Customers who are one, who are two again, and who are forgotten.

All merges that stand are kept, and who owns what follows from them alone; so any order of merges and undoings
ends the same. What was told of a customer is moved to whoever they are one with, and remembers whom it was
told of. Forgotten customers leave their id behind, so that what comes late is not written down.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from shared.contracts import Event
from shared.contracts.profile import CustomerErased, CustomerMerged, CustomerUnmerged

# Who owns what stays as it is while somebody writes it down: taken before anything else, by all who read it.
_HOLD = "SELECT pg_advisory_xact_lock_shared(hashtext('scoring.families'))"
_HOLD_ALONE = "SELECT pg_advisory_xact_lock(hashtext('scoring.families'))"
_RECORD_MERGES = """
    INSERT INTO merges AS m (merge_id, survivor_id, merged_id, undone)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bool[]) AS told (id) ORDER BY id
    ON CONFLICT (merge_id) DO UPDATE SET undone = true WHERE EXCLUDED.undone AND NOT m.undone
"""
# Everybody whom standing merges link to these, and those merges. Indexes: merges_survivor, merges_merged.
_FAMILY = """
    WITH RECURSIVE family (id) AS (
        SELECT unnest($1::uuid[])
        UNION
        SELECT near.id FROM family f CROSS JOIN LATERAL (
            SELECT merged_id FROM merges WHERE survivor_id = f.id AND NOT undone
            UNION ALL SELECT survivor_id FROM merges WHERE merged_id = f.id AND NOT undone
        ) AS near (id)
    )
    SELECT merge_id, survivor_id, merged_id FROM merges
    WHERE NOT undone AND survivor_id IN (SELECT id FROM family)
"""
_OWNERS = "SELECT customer_id, owner FROM owners WHERE customer_id = ANY ($1)"
_MOVE = "SELECT move_customers($1, $2, $3)"
_KEEP_OWNERS = """
    WITH now AS (
        SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS n (customer_id, owner)
    ), gone AS (
        DELETE FROM owners o USING now n WHERE o.customer_id = n.customer_id AND n.customer_id = n.owner
    )
    INSERT INTO owners (customer_id, owner) SELECT customer_id, owner FROM now WHERE customer_id <> owner
    ON CONFLICT (customer_id) DO UPDATE SET owner = EXCLUDED.owner
"""
_FORGET = "SELECT forget_customers($1, $2)::text"
_FORGOTTEN = """
    INSERT INTO owners (customer_id) SELECT unnest($1::uuid[])
    ON CONFLICT (customer_id) DO UPDATE SET owner = NULL
"""
_LOCK_FACTS = "SELECT FROM customer_facts WHERE customer_id = ANY ($1) ORDER BY customer_id FOR UPDATE"
# Tables that refer to the facts are emptied with them; the section is shown as nothing. What a job has taken
# off the list of who is due leaves with the job: it may wait for the facts, so waiting for it would deadlock.
_VANISH = """
    WITH facts AS (DELETE FROM customer_facts WHERE customer_id = ANY ($1)),
         scores AS (DELETE FROM customer_scores WHERE customer_id = ANY ($1)),
         due AS (DELETE FROM due WHERE (work, id) IN (
             SELECT work, id FROM due WHERE customer_id = ANY ($1) FOR UPDATE SKIP LOCKED))
    INSERT INTO section_marks (customer_id) SELECT unnest($1::uuid[])
"""
_KNOWN = """
    SELECT k.who FROM unnest($1::uuid[]) AS k (who)
    WHERE EXISTS (SELECT FROM purchases WHERE customer_id = k.who)
       OR EXISTS (SELECT FROM refunds WHERE customer_id = k.who)
       OR EXISTS (SELECT FROM tickets WHERE customer_id = k.who)
       OR EXISTS (SELECT FROM survey_answers WHERE customer_id = k.who)
       OR EXISTS (SELECT FROM referrals WHERE customer_id = k.who)
       OR EXISTS (SELECT FROM registrations WHERE customer_id = k.who)
       OR EXISTS (SELECT FROM told_attributes WHERE customer_id = k.who)
       OR EXISTS (SELECT FROM told_consents WHERE customer_id = k.who)
       OR EXISTS (SELECT FROM told_standings WHERE customer_id = k.who)
"""
_RECEIPT = """
    SELECT outbox_emit('erasure.completed', NULL, jsonb_build_object(
        'erasure_id', $1::uuid, 'service', 'scoring', 'counts', $2::text::jsonb))
"""

FamilyEvent = CustomerMerged | CustomerUnmerged | CustomerErased


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge that stands."""

    id: UUID
    survivor: UUID
    merged: UUID


def joined(merges: Iterable[Merge]) -> dict[UUID, UUID]:
    """Into whom each merged customer is merged.

    Of two merges of one customer the newer counts, as the undoing of the other must be on its way; and so of
    merges that close a circle the oldest does not.
    """
    into: dict[UUID, UUID] = {}
    for merge in sorted(merges, key=lambda m: m.id, reverse=True):
        if merge.merged not in into and owner_of(merge.survivor, into) != merge.merged:
            into[merge.merged] = merge.survivor
    return into


def owner_of(customer_id: UUID, into: Mapping[UUID, UUID]) -> UUID:
    """Who is left of everybody this customer was merged into."""
    while customer_id in into:
        customer_id = into[customer_id]
    return customer_id


def members_of(customer_id: UUID, into: Mapping[UUID, UUID]) -> set[UUID]:
    """The customer and all who are merged into them, directly or not."""
    members = {customer_id}
    while more := {one for one, other in into.items() if other in members} - members:
        members |= more
    return members


async def hold(connection: asyncpg.Connection, *, alone: bool = False) -> None:
    """Let nobody change who is one with whom until the transaction ends; `alone` to change it oneself."""
    await connection.execute(_HOLD_ALONE if alone else _HOLD)


async def settle(connection: asyncpg.Connection, events: Sequence[Event[Any]]) -> set[UUID]:
    """Merge, part and forget customers, who are held alone; returns of whom facts are to be derived anew.

    Facts and scores of customers who are no longer themselves are gone, and their section is.
    """
    told: dict[UUID, CustomerMerged | CustomerUnmerged] = {}
    erasures: list[CustomerErased] = []
    for event in events:
        match event.data:
            case CustomerErased() as erased:
                erasures.append(erased)
            case CustomerUnmerged() as undone:
                told[undone.merge_id] = undone
            case CustomerMerged() as merged:
                told.setdefault(merged.merge_id, merged)
    touched: set[UUID] = set()
    if told:
        touched |= await _merge(connection, list(told.values()))
    for erased in erasures:
        counts, left = await _forget(connection, erased.customer_id)
        touched |= left
        await connection.execute(_RECEIPT, erased.erasure_id, counts)
    known = {row["who"] for row in await connection.fetch(_KNOWN, sorted(touched))}
    await _vanish(connection, touched - known)
    return known


async def _merge(
    connection: asyncpg.Connection, told: Sequence[CustomerMerged | CustomerUnmerged]
) -> set[UUID]:
    """Write merges and undoings and move what belongs to somebody else now; returns the owners concerned."""
    ids = {i for one in told for i in (one.survivor_id, one.merged_id)}
    forgotten = {i for i, owner in (await _owners(connection, ids)).items() if owner is None}
    heard = [one for one in told if not forgotten & {one.survivor_id, one.merged_id}]
    touched: set[UUID] = set()
    for one in told:
        # Who was merged into somebody who is forgotten is forgotten with them, though it is heard late.
        if isinstance(one, CustomerMerged) and one.survivor_id in forgotten - {one.merged_id}:
            touched |= (await _forget(connection, one.merged_id))[1]
    await connection.execute(
        _RECORD_MERGES,
        [one.merge_id for one in heard],
        [one.survivor_id for one in heard],
        [one.merged_id for one in heard],
        [isinstance(one, CustomerUnmerged) for one in heard],
    )
    concerned = {i for one in heard for i in (one.survivor_id, one.merged_id)}
    family, into = await _family(connection, concerned)
    before: dict[UUID, UUID | None] = {i: i for i in family}
    before |= await _owners(connection, family)
    moves = {i: owner_of(i, into) for i in sorted(family) if before[i] not in (None, owner_of(i, into))}
    if moves:
        moved, owners = list(moves), list(moves.values())
        await connection.execute(_MOVE, moved, [before[i] for i in moved], owners)
        await connection.execute(_KEEP_OWNERS, moved, owners)
        await _vanish(connection, {i for i, owner in moves.items() if i != owner})
    return touched | {owner for i in moves for owner in (before[i], moves[i]) if owner is not None}


async def _forget(connection: asyncpg.Connection, customer_id: UUID) -> tuple[str, set[UUID]]:
    """Delete all that is known of a customer and of those merged into them.

    Returns how many rows of which table as JSON text, and whom they were one with.
    """
    _, into = await _family(connection, {customer_id})
    members = sorted(members_of(customer_id, into))
    owner = owner_of(customer_id, into)
    counts: str = await connection.fetchval(_FORGET, members, [*members, owner])
    await connection.execute(_FORGOTTEN, members)
    await _vanish(connection, members)
    return counts, {owner} - set(members)


async def _family(
    connection: asyncpg.Connection, customer_ids: Collection[UUID]
) -> tuple[set[UUID], dict[UUID, UUID]]:
    """Everybody whom merges link to these customers, and who of them is merged into whom."""
    rows = await connection.fetch(_FAMILY, list(customer_ids))
    merges = [Merge(row["merge_id"], row["survivor_id"], row["merged_id"]) for row in rows]
    return {*customer_ids, *(i for m in merges for i in (m.survivor, m.merged))}, joined(merges)


async def _owners(connection: asyncpg.Connection, customer_ids: Collection[UUID]) -> dict[UUID, UUID | None]:
    """Whose these customers are, where not their own; None of who is forgotten."""
    rows = await connection.fetch(_OWNERS, list(customer_ids))
    return {row["customer_id"]: row["owner"] for row in rows}


async def _vanish(connection: asyncpg.Connection, customer_ids: Collection[UUID]) -> None:
    ids = sorted(customer_ids)
    await connection.execute(_LOCK_FACTS, ids)
    await connection.execute(_VANISH, ids)
