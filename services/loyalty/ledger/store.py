"""All SQL of the ledger: posting through its functions, and what members and operators read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import orjson

from services.loyalty.ledger.refusals import refusal
from shared.telemetry import current_traceparent

_HERE = Path(__file__).parent
# Run by the revisions that bring or change them, in this order.
FUNCTIONS = tuple(_HERE / name for name in ("post.sql", "post_earnings.sql"))
FUNCTIONS_OF_0003 = tuple(_HERE / name for name in ("lots.sql", "holds.sql", "merges.sql", "seals.sql"))

MAX_POINTS = 2**53 - 1  # a balance that every JSON reader tells exactly

Connection: TypeAlias = asyncpg.Connection | asyncpg.Pool


class MergeTooEarly(Exception):
    """Another merge of the customer stands, whose undo is still on its way; the event is tried again."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a transfer is made: for people (reason, rule, arithmetic), and to trace it (actor, event)."""

    reason: str
    actor: str
    occurred_at: datetime
    rule: str | None = None
    arithmetic: str | None = None
    event_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """Names a posting, so that it happens once; `input_hash` tells whether a repeat asks for the same."""

    name: str
    input_hash: bytes


@dataclass(frozen=True, slots=True)
class Posted:
    """The answer of a posting; `balance` is what the member has available then. A replay gives the first."""

    transfer_id: UUID
    points: int
    balance: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Earning:
    """One earning of many that are posted together."""

    customer_id: UUID
    points: int
    key: str
    cause: Cause
    expires_at: datetime | None
    kind: str = "earning"
    pending_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The answer of a hold; `balance` is what the member has available after it."""

    hold_id: UUID
    points: int
    balance: int
    replayed: bool = False


# post_transfer for each way that points move. $1 to $9: what `_why` gives.
_EARN = """
    SELECT outcome, transfer_id, points, balance FROM post_transfer(
        $10, $11, 'issuer', 'member', $12, $1, $2, $3, $4, $5, $6, $7, $8,
        coalesce($13::timestamptz, 'infinity'), $14, p_traceparent => $9)
"""
_EARN_OTHERWISE = """
    SELECT outcome, transfer_id, points, balance FROM post_transfer(
        $10, $11, CASE WHEN $16::uuid IS NULL THEN 'issuer' ELSE 'partner' END::account_kind,
        CASE WHEN $15::timestamptz IS NULL THEN 'member' ELSE 'pending' END::account_kind, $12,
        $1, $2, $3, $4, $5, $6, $7, $8, coalesce($13::timestamptz, 'infinity'), $14, p_traceparent => $9,
        p_pending_until => $15, p_partner => $16)
"""
_SPEND = """
    SELECT outcome, transfer_id, points, balance FROM post_transfer(
        $10, $11, 'member', 'issuer', $12, $1, $2, $3, $4, $5, $6, $7, $8, p_traceparent => $9)
"""
_SPEND_AT_PARTNER = """
    SELECT outcome, transfer_id, points, balance FROM post_transfer(
        $10, $11, 'member', 'partner', $12, $1, $2, $3, $4, $5, $6, $7, $8, p_traceparent => $9,
        p_partner => $13)
"""
_REVERSE = """
    SELECT outcome, transfer_id, points, balance FROM post_transfer(
        NULL, NULL, NULL, NULL, $10, $1, $2, $3, $4, $5, $6, $7, $8,
        p_reverses => $11, p_at_most => $12, p_traceparent => $9, p_pending_only => $13)
"""
_POST_EARNINGS = "SELECT posted_key FROM post_earnings($1::jsonb, $2, $3, $4) WHERE outcome = 'too-many'"
_HOLD = "SELECT outcome, transfer_id, points, balance FROM place_hold($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_CLOSE_HOLD = """
    SELECT outcome, transfer_id, points, balance FROM close_hold($10, $11, $1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
# Index: holds_due.
_DUE_HOLDS = """
    SELECT id FROM holds WHERE closed_at IS NULL AND expires_at <= now() ORDER BY expires_at LIMIT $1
"""
_TIME_OUT = "SELECT close_hold($1, 0, 'Hold timed out', 'clock', now(), $2, '')"


async def earn(
    connection: Connection,
    customer_id: UUID,
    points: int,
    cause: Cause,
    key: Key,
    *,
    kind: str = "earning",
    expires_at: datetime | None = None,
    cost_per_point: Decimal = Decimal(0),
    pending_until: datetime | None = None,
    partner: UUID | None = None,
) -> Posted:
    """Give points to a member, whose account is opened with the first; they make a lot of their own.

    Args:
        pending_until: the points wait in the member's pending account until then.
        partner: whose points they are, instead of the issuer's; the partner then owes them.

    Raises:
        TooManyPoints, IdempotencyKeyReused: nothing was changed.
    """
    earned = (kind, customer_id, points, expires_at, cost_per_point)
    if pending_until is None and partner is None:
        return _accepted(await connection.fetchrow(_EARN, *_why(cause, key), *earned))
    more = (pending_until, partner)
    return _accepted(await connection.fetchrow(_EARN_OTHERWISE, *_why(cause, key), *earned, *more))


async def spend(
    connection: Connection,
    customer_id: UUID,
    points: int,
    cause: Cause,
    key: Key,
    *,
    kind: str = "redemption",
    partner: UUID | None = None,
) -> Posted:
    """Take points from a member, from the lots that expire soonest; lots past their expiry are booked first.

    Args:
        partner: who gets them, instead of the issuer.

    Raises:
        InsufficientPoints, UnknownMember, IdempotencyKeyReused: nothing was changed.
    """
    spent = (kind, customer_id, points)
    if partner is None:
        return _accepted(await connection.fetchrow(_SPEND, *_why(cause, key), *spent))
    return _accepted(await connection.fetchrow(_SPEND_AT_PARTNER, *_why(cause, key), *spent, partner))


async def reverse(
    connection: Connection, transfer_id: UUID, cause: Cause, key: Key, points: int | None = None
) -> Posted:
    """Undo a transfer, or some points of it: they go back into the lots they came from, each point once.

    Args:
        points: how many; all that are left when None.

    Raises:
        UnknownTransfer, AlreadyReversed, NotReversible, InsufficientPoints, IdempotencyKeyReused.
    """
    undone = (points, transfer_id, False, False)
    return _accepted(await connection.fetchrow(_REVERSE, *_why(cause, key), *undone))


async def take_back(
    connection: Connection,
    transfer_id: UUID,
    points: int,
    cause: Cause,
    key: Key,
    *,
    pending_only: bool = False,
) -> Posted | None:
    """Reverse up to `points` of an earning: of what is still pending, else within the member's balance.

    Args:
        pending_only: leave points alone that are not pending any more.

    Returns:
        None when there was nothing to take.
    """
    undone = (points, transfer_id, True, pending_only)
    found = await connection.fetchrow(_REVERSE, *_why(cause, key), *undone)
    return None if found["outcome"] == "nothing" else _accepted(found)


async def hold(
    connection: Connection, customer_id: UUID, points: int, cause: Cause, key: Key, *, expires_at: datetime
) -> Held:
    """Set points of a member aside until they are captured or released, at the latest until `expires_at`.

    Raises:
        InsufficientPoints, UnknownMember, IdempotencyKeyReused: nothing was changed.
    """
    found = await connection.fetchrow(
        _HOLD,
        customer_id,
        points,
        expires_at,
        cause.reason,
        cause.actor,
        cause.occurred_at,
        key.name,
        key.input_hash,
        cause.event_id,
    )
    posted = _accepted(found)
    return Held(posted.transfer_id, posted.points, posted.balance, posted.replayed)


async def capture(
    connection: Connection, hold_id: UUID, points: int | None, cause: Cause, key: Key
) -> Posted:
    """Spend held points and close the hold; what is not spent goes back into the lots it came from.

    Args:
        points: how many, at least 1; all when None.

    Raises:
        UnknownHold, HoldClosed, MoreThanHeld, IdempotencyKeyReused: nothing was changed.
    """
    return _accepted(await connection.fetchrow(_CLOSE_HOLD, *_why(cause, key), hold_id, points))


async def release(connection: Connection, hold_id: UUID, cause: Cause, key: Key) -> Posted:
    """Give all held points back and close the hold.

    Raises:
        UnknownHold, HoldClosed, IdempotencyKeyReused: nothing was changed.
    """
    return _accepted(await connection.fetchrow(_CLOSE_HOLD, *_why(cause, key), hold_id, 0))


async def post_earnings(
    connection: Connection, earnings: Sequence[Earning], actor: str, cost_per_point: Decimal
) -> list[str]:
    """Post earnings set-based, in the order of their time; keys that were used before are passed over.

    Returns the keys that were refused because the member's balance would become too large.
    """
    items = [
        {
            "owner": earning.customer_id,
            "points": earning.points,
            "key": earning.key,
            "reason": earning.cause.reason,
            "rule": earning.cause.rule,
            "arithmetic": earning.cause.arithmetic,
            "occurred_at": earning.cause.occurred_at,
            "expires_at": earning.expires_at,
            "event_id": earning.cause.event_id,
            "kind": earning.kind,
            "pending_until": earning.pending_until,
        }
        for earning in earnings
    ]
    rows = await connection.fetch(
        _POST_EARNINGS, orjson.dumps(items).decode(), actor, cost_per_point, current_traceparent()
    )
    return [row["posted_key"] for row in rows]


async def lock_members(connection: Connection, customer_ids: Sequence[UUID]) -> None:
    """Open the missing accounts and lock all, in order: before any other work on many members.

    The row of a member's account is the lock on all accounts of the customer, pending and held ones too.
    """
    await connection.execute("SELECT lock_members($1)", sorted(set(customer_ids)))


async def expire_lots(connection: Connection, limit: int) -> int:
    """Book the points that expired longest ago; fewer lots than the limit: all are done."""
    done: int = await connection.fetchval("SELECT expire_lots($1)", limit)
    return done


async def promote_lots(connection: Connection, limit: int) -> tuple[list[UUID], bool]:
    """Make pending points available whose time has come; whose they were, and whether there are more."""
    row = await connection.fetchrow("SELECT owners, more FROM promote_lots($1)", limit)
    return list(row["owners"]), row["more"]


async def tell_expiring(connection: Connection, before: datetime, limit: int) -> int:
    """Tell of points that expire soon, once for each member and day; fewer than the limit: all are told."""
    told: int = await connection.fetchval("SELECT tell_expiring($1, $2)", before, limit)
    return told


async def release_due_holds(connection: Connection, limit: int) -> int:
    """Give back what was held past its time, each hold in a transaction of its own; returns how many."""
    due = await connection.fetch(_DUE_HOLDS, limit)
    for row in due:
        await connection.execute(_TIME_OUT, row["id"], f"timeout of hold {row['id']}")
    return len(due)


async def seal(connection: Connection, limit: int) -> int:
    """Add the next transfers to the hash chain; returns how many there were."""
    sealed: int = await connection.fetchval("SELECT seal_transfers($1)", limit)
    return sealed


async def merge(
    connection: Connection, merge_id: UUID, survivor_id: UUID, merged_id: UUID, event_id: UUID | None
) -> None:
    """Move all points of a customer to another, lot by lot; later postings for the one reach the other.

    A merge that is known, or whose undo came first, changes nothing.

    Raises:
        MergeTooEarly: another merge of this customer still stands.
    """
    outcome = await connection.fetchval(
        "SELECT merge_customers($1, $2, $3, $4)", merge_id, survivor_id, merged_id, event_id
    )
    if outcome == "too-early":
        raise MergeTooEarly


async def unmerge(
    connection: Connection, merge_id: UUID, survivor_id: UUID, merged_id: UUID, event_id: UUID | None
) -> None:
    """Undo a merge: what is left of the points that the merged customer brought goes back, lot by lot."""
    await connection.execute(
        "SELECT unmerge_customers($1, $2, $3, $4)", merge_id, survivor_id, merged_id, event_id
    )


async def forget(connection: Connection, customer_id: UUID) -> int:
    """Replace a customer's id by a random one wherever it owns points; returns in how many accounts."""
    forgotten: int = await connection.fetchval("SELECT forget_customer($1)", customer_id)
    return forgotten


async def survivors(connection: Connection, customer_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Whose points these customers' are now: their own, or of whom they were merged into."""
    rows = await connection.fetch("SELECT customer, survivor FROM survivors($1)", list(set(customer_ids)))
    return {row["customer"]: row["survivor"] for row in rows}


def _why(cause: Cause, key: Key) -> tuple[Any, ...]:
    return (
        cause.reason,
        cause.actor,
        cause.occurred_at,
        key.name,
        key.input_hash,
        cause.rule,
        cause.arithmetic,
        cause.event_id,
        current_traceparent(),
    )


def _accepted(found: asyncpg.Record) -> Posted:
    outcome, transfer_id, points, balance = found
    if outcome not in {"posted", "replayed"}:
        raise refusal(outcome, balance)
    return Posted(transfer_id, points, balance, outcome == "replayed")


# A member's statement, newest first: by the order of posting, which the running balance follows. $2: entries
# before this one. Index: entries_statement.
_STATEMENT = """
    SELECT e.id, jsonb_build_object(
        'transfer_id', t.id, 'kind', t.kind, 'points', e.points, 'balance', e.balance, 'reason', t.reason,
        'rule', t.rule, 'arithmetic', t.arithmetic, 'reverses', t.reverses, 'event_id', t.event_id,
        'occurred_at', t.occurred_at, 'posted_at', t.posted_at)::text AS item
      FROM entries AS e JOIN transfers AS t ON t.id = e.transfer_id
     WHERE e.account_id = $1 AND e.balance IS NOT NULL AND e.id < $2
     ORDER BY e.id DESC LIMIT $3
"""
# What a member still has, in the order in which it is spent. $2: lots after this one. Index: lots_open.
_LOTS = """
    SELECT l.id, jsonb_build_object(
        'transfer_id', l.transfer_id, 'points', l.points, 'remaining', l.remaining, 'earned_at', l.earned_at,
        'expires_at', nullif(l.expires_at, 'infinity'),
        'reason', (SELECT reason FROM transfers WHERE id = l.transfer_id))::text AS item
      FROM lots AS l
     WHERE l.account_id = $1 AND l.open
       AND ($2::bigint IS NULL
            OR (l.expires_at, l.id) > (SELECT last.expires_at, last.id FROM lots AS last WHERE last.id = $2))
     ORDER BY l.expires_at, l.id LIMIT $3
"""
# Index: accounts_kind_owner_key.
_MEMBER = "SELECT id FROM accounts WHERE kind = 'member' AND owner = $1"

_MEMBERS_OF = """
    SELECT a.owner FROM entries AS e JOIN accounts AS a ON a.id = e.account_id
     WHERE e.transfer_id = $1 AND a.kind = 'member'
"""

# What is outstanding, by the month in which it expires; adds up to the members' balances.
_LIABILITY = """
    SELECT (SELECT coalesce(sum(balance), 0) FROM accounts WHERE balance IS NOT NULL) AS points,
           round(coalesce(sum(months.cost), 0)) AS cost,
           coalesce(jsonb_agg(jsonb_build_object('month', months.month, 'points', months.points)
                              ORDER BY months.month NULLS LAST), '[]')::text AS by_expiry
      FROM (SELECT to_char(nullif(expires_at, 'infinity') AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
                   sum(remaining) AS points, sum(remaining * cost_per_point) AS cost
              FROM lots WHERE open GROUP BY 1) AS months
"""


async def account_of(connection: Connection, customer_id: UUID) -> int:
    """The id of a member's account.

    Raises:
        UnknownMember: loyalty has not heard of this customer.
    """
    account_id: int | None = await connection.fetchval(_MEMBER, customer_id)
    if account_id is None:
        raise refusal("unknown-account", None)
    return account_id


async def members_of(connection: Connection, transfer_id: UUID) -> list[UUID]:
    """The customers whose points a transfer moved."""
    return [row["owner"] for row in await connection.fetch(_MEMBERS_OF, transfer_id)]


def row_id(value: object) -> int:
    """The id of an entry or lot in a cursor.

    Raises:
        ValueError: not such an id.
    """
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not the id of a row")
    return value


async def statement(
    connection: Connection, account_id: int, before: int, limit: int
) -> list[tuple[int, str]]:
    """Entries of an account before one of them, newest first: id and JSON text."""
    return [tuple(row) for row in await connection.fetch(_STATEMENT, account_id, before, limit)]


async def open_lots(
    connection: Connection, account_id: int, after: int | None, limit: int
) -> list[tuple[int, str]]:
    """Lots with points left after one of them, in the order they are spent: id and JSON text."""
    return [tuple(row) for row in await connection.fetch(_LOTS, account_id, after, limit)]


async def liability(connection: Connection) -> dict[str, Any]:
    """Points outstanding, their cost in minor units, and the months in which they expire."""
    row = await connection.fetchrow(_LIABILITY)
    return {
        "points": int(row["points"]),
        "cost": int(row["cost"]),
        "by_expiry": orjson.loads(row["by_expiry"]),
    }
