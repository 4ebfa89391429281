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

# Run by the revisions that bring or change them, in this order.
FUNCTIONS = tuple(Path(__file__).with_name(name) for name in ("post.sql", "post_earnings.sql"))

MAX_POINTS = 2**53 - 1  # a balance that every JSON reader tells exactly

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
    """The answer of a posting; `balance` is the member's after it. A replay gives the first answer."""

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


# post_transfer for each way that points move. $1 to $9: what `_why` gives.
_EARN = """
    SELECT outcome, transfer_id, points, balance FROM post_transfer(
        $10, 'issuer', '00000000-0000-0000-0000-000000000000', 'member', $11, $12,
        $1, $2, $3, $4, $5, $6, $7, $8, coalesce($13::timestamptz, 'infinity'), $14, p_traceparent => $9)
"""
_SPEND = """
    SELECT outcome, transfer_id, points, balance FROM post_transfer(
        $10, 'member', $11, 'issuer', '00000000-0000-0000-0000-000000000000', $12,
        $1, $2, $3, $4, $5, $6, $7, $8, p_traceparent => $9)
"""
_REVERSE = """
    SELECT outcome, transfer_id, points, balance FROM post_transfer(
        NULL, NULL, NULL, NULL, NULL, $10, $1, $2, $3, $4, $5, $6, $7, $8,
        p_reverses => $11, p_at_most => $12, p_traceparent => $9)
"""
_POST_EARNINGS = "SELECT posted_key FROM post_earnings($1::jsonb, $2, $3, $4) WHERE outcome = 'too-many'"


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
) -> Posted:
    """Give points to a member, whose account is opened with the first; they make a lot of their own.

    Raises:
        TooManyPoints, IdempotencyKeyReused: nothing was changed.
    """
    earned = (kind, customer_id, points, expires_at, cost_per_point)
    return _accepted(await connection.fetchrow(_EARN, *_why(cause, key), *earned))


async def spend(
    connection: Connection,
    customer_id: UUID,
    points: int,
    cause: Cause,
    key: Key,
    *,
    kind: str = "redemption",
) -> Posted:
    """Take points from a member, from the lots that expire soonest.

    Raises:
        InsufficientPoints, UnknownMember, IdempotencyKeyReused: nothing was changed.
    """
    return _accepted(await connection.fetchrow(_SPEND, *_why(cause, key), kind, customer_id, points))


async def reverse(connection: Connection, transfer_id: UUID, cause: Cause, key: Key) -> Posted:
    """Undo what is left of a transfer: points go back into the lots they came from.

    Raises:
        UnknownTransfer, AlreadyReversed, NotReversible, InsufficientPoints, IdempotencyKeyReused.
    """
    return _accepted(await connection.fetchrow(_REVERSE, *_why(cause, key), None, transfer_id, False))


async def take_back(
    connection: Connection, transfer_id: UUID, points: int, cause: Cause, key: Key
) -> Posted | None:
    """Reverse up to `points` of an earning, within the member's balance; None when the balance is empty."""
    found = await connection.fetchrow(_REVERSE, *_why(cause, key), points, transfer_id, True)
    return None if found["outcome"] == "nothing" else _accepted(found)


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
        }
        for earning in earnings
    ]
    rows = await connection.fetch(
        _POST_EARNINGS, orjson.dumps(items).decode(), actor, cost_per_point, current_traceparent()
    )
    return [row["posted_key"] for row in rows]


async def lock_members(connection: Connection, customer_ids: Sequence[UUID]) -> None:
    """Open the missing accounts and lock all, in order: before any other work on many members."""
    await connection.execute("SELECT lock_members($1)", sorted(set(customer_ids)))


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
     WHERE l.account_id = $1 AND l.remaining > 0
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
              FROM lots WHERE remaining > 0 GROUP BY 1) AS months
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
