"""Posting to the ledger through its functions; what is read of it is in statement.py and audit.py."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from services.loyalty.ledger.refusals import refusal
from shared.ids import new_id
from shared.telemetry import current_traceparent

_HERE = Path(__file__).parent
# Run by the revisions that bring or change them, in this order.
FUNCTIONS = tuple(_HERE / name for name in ("post.sql", "post_earnings.sql"))
FUNCTIONS_OF_0003 = tuple(_HERE / name for name in ("lots.sql", "holds.sql", "merges.sql", "seals.sql"))

MAX_POINTS = 2**53 - 1  # a balance that every JSON reader tells exactly

TRIES = 5  # of a statement that lost against another

Connection: TypeAlias = asyncpg.Connection | asyncpg.Pool


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
_POST_EARNINGS = """
    SELECT posted_key
      FROM post_earnings($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
     WHERE outcome = 'too-many'
"""
_HOLD = "SELECT outcome, transfer_id, points, balance FROM place_hold($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_CLOSE_HOLD = """
    SELECT outcome, transfer_id, points, balance FROM close_hold($10, $11, $1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


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
        return _accepted(await fetch(connection, _EARN, *_why(cause, key), *earned))
    more = (pending_until, partner)
    return _accepted(await fetch(connection, _EARN_OTHERWISE, *_why(cause, key), *earned, *more))


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
        return _accepted(await fetch(connection, _SPEND, *_why(cause, key), *spent))
    return _accepted(await fetch(connection, _SPEND_AT_PARTNER, *_why(cause, key), *spent, partner))


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
    return _accepted(await fetch(connection, _REVERSE, *_why(cause, key), *undone))


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
    found = await fetch(connection, _REVERSE, *_why(cause, key), *undone)
    return None if found[0]["outcome"] == "nothing" else _accepted(found)


async def hold(
    connection: Connection, customer_id: UUID, points: int, cause: Cause, key: Key, *, expires_at: datetime
) -> Held:
    """Set points of a member aside until they are captured or released, at the latest until `expires_at`.

    Raises:
        InsufficientPoints, UnknownMember, IdempotencyKeyReused: nothing was changed.
    """
    found = await fetch(
        connection,
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
    return _accepted(await fetch(connection, _CLOSE_HOLD, *_why(cause, key), hold_id, points))


async def release(connection: Connection, hold_id: UUID, cause: Cause, key: Key) -> Posted:
    """Give all held points back and close the hold.

    Raises:
        UnknownHold, HoldClosed, IdempotencyKeyReused: nothing was changed.
    """
    return _accepted(await fetch(connection, _CLOSE_HOLD, *_why(cause, key), hold_id, 0))


async def post_earnings(
    connection: Connection, earnings: Sequence[Earning], actor: str, cost_per_point: Decimal
) -> list[str]:
    """Post earnings set-based, in the order of their time; keys that were used before are passed over.

    Returns the keys that were refused because the member's balance would become too large.
    """
    if not earnings:
        return []
    columns = [
        (
            earning.customer_id,
            earning.kind,
            earning.points,
            earning.key,
            earning.cause.reason,
            earning.cause.rule,
            earning.cause.arithmetic,
            earning.cause.occurred_at,
            earning.expires_at,
            earning.pending_until,
            earning.cause.event_id,
            new_id(),
            new_id(),
        )
        for earning in earnings
    ]
    more = (actor, cost_per_point, current_traceparent())
    rows = await fetch(connection, _POST_EARNINGS, *zip(*columns, strict=True), *more)
    return [row["posted_key"] for row in rows]


async def lock_members(connection: Connection, customer_ids: Sequence[UUID]) -> None:
    """Open the missing accounts and lock all, in order: before any other work on many members.

    The row of a member's account is the lock on all accounts of the customer, pending and held ones too.
    """
    await connection.execute("SELECT lock_members($1)", sorted(set(customer_ids)))


async def survivors(connection: Connection, customer_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Whose points these customers' are now: their own, or of whom they were merged into."""
    rows = await connection.fetch("SELECT customer, survivor FROM survivors($1)", list(set(customer_ids)))
    return {row["customer"]: row["survivor"] for row in rows}


async def families(connection: Connection, customer_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """These customers and all who are merged with them, each with the one who has their points now."""
    ids = list(set(customer_ids))
    if not await connection.fetchval(_SOME_MERGED, ids):
        return {customer_id: customer_id for customer_id in ids}
    rows = await connection.fetch(_FAMILIES, ids)
    return {row["customer"]: row["survivor"] for row in rows}


async def fetch(connection: Connection, query: str, *arguments: Any) -> list[asyncpg.Record]:
    """Run one statement that posts; on the pool, where it is its own transaction, again after losing.

    A posting and a merge of the same customers, met at the same moment, may make one of them lose.
    """
    tries = TRIES if isinstance(connection, asyncpg.Pool) else 1
    while True:
        try:
            rows: list[asyncpg.Record] = await connection.fetch(query, *arguments)
            return rows
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            tries -= 1
            if tries == 0:
                raise


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


def _accepted(found: list[asyncpg.Record]) -> Posted:
    outcome, transfer_id, points, balance = found[0]
    if outcome not in {"posted", "replayed"}:
        raise refusal(outcome, balance)
    return Posted(transfer_id, points, balance, outcome == "replayed")


# Indexes: accounts_merged for those who took others in, accounts_kind_owner_key for those who were.
_SOME_MERGED = """
    SELECT EXISTS (SELECT FROM accounts WHERE merged_into = ANY ($1::uuid[]))
        OR EXISTS (SELECT FROM accounts
                    WHERE kind = 'member' AND owner = ANY ($1::uuid[]) AND merged_into IS NOT NULL)
"""
# Index: accounts_merged.
_FAMILIES = """
    SELECT family.customer, s.survivor
      FROM (SELECT DISTINCT survivor FROM survivors($1)) AS s
     CROSS JOIN LATERAL family(s.survivor) AS family (customer)
"""
# Indexes: accounts_kind_owner_key, entries_pkey.
_ACCOUNT = """
    SELECT a.id FROM accounts AS m LEFT JOIN accounts AS a ON a.kind = $2::account_kind AND a.owner = m.owner
     WHERE m.kind = 'member' AND m.owner = (SELECT survivor FROM survivors(ARRAY[$1::uuid]))
"""
_MEMBERS_OF = """
    SELECT DISTINCT a.owner FROM entries AS e JOIN accounts AS a ON a.id = e.account_id
     WHERE e.transfer_id = $1 AND a.kind <= 'hold'
"""


async def account_of(connection: Connection, customer_id: UUID, kind: str = "member") -> int | None:
    """The id of a customer's account, the survivor's when merged; None when none of this kind was opened.

    Raises:
        UnknownMember: loyalty has not heard of this customer.
    """
    row = await connection.fetchrow(_ACCOUNT, customer_id, kind)
    if row is None:
        raise refusal("unknown-account", None)
    account_id: int | None = row["id"]
    return account_id


async def members_of(connection: Connection, transfer_id: UUID) -> list[UUID]:
    """The customers whose points a transfer moved."""
    return [row["owner"] for row in await connection.fetch(_MEMBERS_OF, transfer_id)]
