"""All SQL of earning: what members did and what it earned, refunds, and what is still to be taken back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.loyalty.earning.refunds import Taken
from services.loyalty.earning.replay import GivenBack, Outcome, points_of
from services.loyalty.earning.rules import Deed, Part
from shared.contracts.handles import Refund

_KNOWN = (
    "SELECT id, kind::text FROM deeds WHERE (id, kind) IN (SELECT * FROM unnest($1::uuid[], $2::deed_kind[]))"
)
# Index: deeds_of_member.
_ONCE = """
    SELECT kind::text, customer_id, coalesce(told_of, customer_id) AS told_of, occurred_at
      FROM deeds WHERE customer_id = ANY ($1::uuid[]) AND kind IN ('sign-up', 'birthday')
"""
_WRITE = """
    INSERT INTO deeds (id, kind, customer_id, occurred_at, recorded_at, reason, event_id, amount, currency,
                       exchange, parts, subject, channel, told_of, tier, qualifying, points, claimed, awards)
    SELECT id, kind, customer_id, occurred_at, recorded_at, reason, event_id, amount, currency, exchange,
           parts::jsonb, subject, channel, told_of, tier, qualifying, points, claimed, awards::jsonb
      FROM unnest($1::uuid[], $2::deed_kind[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::text[],
                  $7::uuid[], $8::bigint[], $9::text[], $10::numeric[], $11::text[], $12::text[], $13::text[],
                  $14::uuid[], $15::text[], $16::bigint[], $17::bigint[], $18::bigint[], $19::text[])
           AS deed (id, kind, customer_id, occurred_at, recorded_at, reason, event_id, amount, currency,
                    exchange, parts, subject, channel, told_of, tier, qualifying, points, claimed, awards)
    ON CONFLICT (id, kind) DO UPDATE SET
        (occurred_at, amount, currency, exchange, tier, qualifying, points, claimed, awards)
      = (excluded.occurred_at, excluded.amount, excluded.currency, excluded.exchange, excluded.tier,
         excluded.qualifying, excluded.points, excluded.claimed, excluded.awards)
"""
# Index: deeds_of_member. $3: only what happened since, for each member.
_HISTORY = """
    SELECT d.id, d.kind::text, d.customer_id, d.occurred_at, d.recorded_at, d.reason, d.event_id, d.amount,
           d.currency, d.exchange, d.parts::text, d.subject, d.channel, d.told_of, d.tier, d.qualifying,
           d.awards::text
      FROM unnest($1::uuid[], $2::deed_kind[], $3::timestamptz[]) AS wanted (customer_id, kind, since)
      JOIN deeds AS d ON d.customer_id = wanted.customer_id AND d.kind = wanted.kind
                     AND d.occurred_at >= wanted.since
"""
# Index: deeds_pkey.
_KEPT = """
    SELECT id, kind::text, customer_id, occurred_at, recorded_at, reason, event_id, amount, currency,
           exchange, parts::text, subject, channel, told_of, tier, qualifying, awards::text
      FROM deeds WHERE id = ANY ($1::uuid[]) AND kind <> 'purchase'
"""
_KEEP_REFUNDS = """
    INSERT INTO refunds (refund_id, purchase_id, customer_id, amount, purchase_amount, occurred_at, event_id)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::timestamptz[],
                         $7::uuid[])
    ON CONFLICT DO NOTHING
"""
# Index: refunds_of_customer.
_REFUNDS = """
    SELECT * FROM refunds
     WHERE customer_id = ANY ($1::uuid[])
        OR customer_id = ANY ($2::uuid[]) AND purchase_id = ANY ($3::uuid[])
"""
_REGROUP = """
    UPDATE deeds AS d SET customer_id = m.survivor, told_of = m.customer
      FROM unnest($1::uuid[], $2::uuid[]) AS m (customer, survivor)
     WHERE d.customer_id = ANY ($1::uuid[]) AND coalesce(d.told_of, d.customer_id) = m.customer
       AND d.customer_id <> m.survivor
"""
_FORGET_STANDINGS = """
    WITH gone AS (
        DELETE FROM standings AS s WHERE customer_id = ANY ($1::uuid[]) AND NOT EXISTS (
            SELECT FROM deeds AS d WHERE d.customer_id = s.customer_id AND d.kind = 'purchase')
        RETURNING customer_id
    ), unmade AS (
        DELETE FROM tier_changes USING gone WHERE tier_changes.customer_id = gone.customer_id
    )
    INSERT INTO section_marks (customer_id) SELECT customer_id FROM gone
"""
_FORGET_BIRTHDAYS = "DELETE FROM birthdays WHERE customer_id = ANY ($1::uuid[])"
_FORGET_REFUNDS = "UPDATE refunds SET customer_id = $2 WHERE customer_id = ANY ($1::uuid[])"
_FORGET_DEEDS = """
    UPDATE deeds SET customer_id = $2, told_of = NULL, reason = kind::text,
                     -- Earlier versions named sign-ups by the customer.
                     id = CASE WHEN id = ANY ($1::uuid[]) THEN uuid7() ELSE id END
     WHERE customer_id = ANY ($1::uuid[])
"""
# Awards of these customers of which something came back or was too much, with the transfers that gave them,
# the newest first. Indexes: refunds_of_customer, deeds_pkey, deeds_claimed, transfers_idempotency_key_key,
# transfers_reversed_once.
_TO_SETTLE = """
    WITH refunded AS (
        SELECT purchase_id, max(purchase_amount) AS paid,
               least(sum(amount), max(purchase_amount))::bigint AS refunded, max(occurred_at) AS occurred_at,
               (array_agg(event_id ORDER BY occurred_at DESC, refund_id DESC))[1] AS event_id
          FROM refunds WHERE customer_id = ANY ($1::uuid[]) GROUP BY customer_id, purchase_id
    ), concerned AS (
        SELECT d.customer_id, d.kind, d.id, d.awards, d.occurred_at AS done_at, d.event_id AS done_by, r.paid,
               r.refunded, r.occurred_at, r.event_id
          FROM refunded AS r JOIN deeds AS d ON d.id = r.purchase_id AND d.kind = 'purchase'
        UNION ALL
        SELECT d.customer_id, d.kind, d.id, d.awards, d.occurred_at, d.event_id, 0, 0, NULL, NULL
          FROM deeds AS d
         WHERE d.customer_id = ANY ($1::uuid[]) AND d.claimed > 0
           AND NOT EXISTS (SELECT FROM refunded AS r WHERE r.purchase_id = d.id AND d.kind = 'purchase')
    )
    SELECT c.customer_id, c.kind || '/' || c.id || '/' || award.rule AS name, award.rule, award.points,
           award.claimed, c.paid, c.refunded, coalesce(c.occurred_at, c.done_at) AS occurred_at,
           coalesce(c.event_id, c.done_by) AS event_id, t.id AS transfer_id, t.points AS granted,
           (SELECT coalesce(sum(back.points), 0)::bigint FROM transfers AS back WHERE back.reverses = t.id)
               + coalesce((SELECT waived.points FROM waivers AS waived WHERE waived.transfer_id = t.id), 0)
               AS taken
      FROM concerned AS c
     CROSS JOIN LATERAL jsonb_to_recordset(c.awards)
           AS award (rule text, points bigint, claimed bigint, grants int)
     CROSS JOIN LATERAL generate_series(1, award.grants) AS number
      JOIN transfers AS t ON t.idempotency_key = c.kind || '/' || c.id
           || CASE WHEN award.rule = c.kind::text THEN '' ELSE '/' || award.rule END
           || CASE WHEN number = 1 THEN '' ELSE '/' || number END
     ORDER BY coalesce(c.occurred_at, c.done_at), c.id, award.rule, number DESC
"""
_WAIVE = """
    INSERT INTO waivers AS waived (transfer_id, points) VALUES ($1, $2)
    ON CONFLICT (transfer_id) DO UPDATE SET points = waived.points + excluded.points
"""
_OWE = """
    WITH changed AS (
        UPDATE accounts SET owed = due.owed
          FROM unnest($1::uuid[], $2::bigint[]) AS due (owner, owed)
         WHERE accounts.kind = 'member' AND accounts.owner = due.owner AND accounts.owed <> due.owed
        RETURNING accounts.owner
    )
    INSERT INTO section_marks (customer_id) SELECT owner FROM changed
"""


@dataclass(frozen=True, slots=True)
class Granted:
    """What a rule's award for a deed has given so far: `points` by the last count, `claimed` more by earlier
    ones; in how many transfers."""

    points: int
    claimed: int
    grants: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A deed and what it was given."""

    deed: Deed
    tier: str | None
    qualifying: int
    granted: Mapping[str, Granted]


@dataclass(frozen=True, slots=True)
class Written:
    """A deed as it is to be kept."""

    outcome: Outcome
    granted: Mapping[str, Granted]


@dataclass(frozen=True, slots=True)
class ToSettle:
    """An award of which something came back, with its transfers: id, what it gave, what was taken of it."""

    customer_id: UUID
    name: str
    rule: str
    occurred_at: datetime
    event_id: UUID | None
    award: Taken
    transfers: Sequence[tuple[UUID, int, int]]


def transfer_key(deed: Deed, rule: str, number: int = 1) -> str:
    """The ledger's key of what a rule gave for a deed; the first transfer of the rule that is called like the
    kind is named by the deed alone."""
    name = f"{deed.kind}/{deed.id}"
    name = name if rule == deed.kind else f"{name}/{rule}"
    return name if number == 1 else f"{name}/{number}"


async def unknown(
    connection: asyncpg.Connection, deeds: Iterable[Deed], family: Mapping[UUID, UUID]
) -> list[Deed]:
    """Those that were not told before, once each.

    Whatever names them, a customer signs up once, and a member has one birthday a year.
    """
    told = {(deed.id, deed.kind): deed for deed in deeds}
    if not told:
        return []
    rows = await connection.fetch(_KNOWN, *map(list, zip(*told, strict=True)))
    for row in rows:
        del told[row["id"], row["kind"]]
    once = [family[deed.customer_id] for deed in told.values() if deed.kind in {"sign-up", "birthday"}]
    if not once:
        return list(told.values())
    happened = {
        _once(row["kind"], row["told_of"], row["customer_id"], row["occurred_at"])
        for row in await connection.fetch(_ONCE, once)
    }
    fresh = []
    for deed in told.values():
        name = _once(deed.kind, deed.customer_id, family[deed.customer_id], deed.occurred_at)
        if name is None or name not in happened:
            fresh.append(deed)
            happened.add(name)
    return fresh


def _once(kind: str, told_of: UUID, member: UUID, at: datetime) -> tuple[object, ...] | None:
    """What is the same of two deeds of which only one can be; None when there may be many."""
    match kind:
        case "sign-up":
            return kind, told_of
        case "birthday":
            return kind, member, at.year
        case _:
            return None


async def write(connection: asyncpg.Connection, written: Sequence[Written]) -> None:
    """Keep deeds with what they earned; those that are known get the new outcome."""
    if written:
        await connection.execute(_WRITE, *map(list, zip(*map(_row, written), strict=True)))


async def history(connection: asyncpg.Connection, wanted: Mapping[tuple[UUID, str], datetime]) -> list[Kept]:
    """What members did: for each member and kind, since a moment."""
    if not wanted:
        return []
    columns = ([key[0] for key in wanted], [key[1] for key in wanted], list(wanted.values()))
    return [_kept(row) for row in await connection.fetch(_HISTORY, *columns)]


async def kept(connection: asyncpg.Connection, ids: Sequence[UUID]) -> list[Kept]:
    """What was counted before of these deeds, purchases aside."""
    return [_kept(row) for row in await connection.fetch(_KEPT, list(ids))]


async def keep_refunds(connection: asyncpg.Connection, refunds: Sequence[tuple[Refund, UUID]]) -> None:
    """Remember refunds, each with the event that told it; one that is known stays as it is."""
    columns = [
        (r.refund_id, r.purchase_id, r.customer_id, r.amount, r.purchase_amount, r.occurred_at, event_id)
        for r, event_id in refunds
        if r.amount > 0 and r.purchase_amount > 0
    ]
    if columns:
        await connection.execute(_KEEP_REFUNDS, *map(list, zip(*columns, strict=True)))


async def regroup(connection: asyncpg.Connection, family: Mapping[UUID, UUID]) -> None:
    """Have what was told of these customers be the survivors'."""
    await connection.execute(_REGROUP, list(family), list(family.values()))
    await connection.execute(_FORGET_STANDINGS, list(family))


async def forget(connection: asyncpg.Connection, customer_ids: Sequence[UUID], pseudonym: UUID) -> int:
    """Replace customers by a random id wherever they did something; returns how many deeds it were."""
    await connection.execute(_FORGET_BIRTHDAYS, list(customer_ids))
    await connection.execute(_FORGET_REFUNDS, list(customer_ids), pseudonym)
    return int((await connection.execute(_FORGET_DEEDS, list(customer_ids), pseudonym)).split()[-1])


async def refunds_of(
    connection: asyncpg.Connection,
    family: Mapping[UUID, UUID],
    whole: Sequence[UUID],
    purchases: Sequence[UUID],
) -> dict[UUID, list[GivenBack]]:
    """Refunds of these members, by the survivor, heard of before or after their purchases.

    Args:
        whole: those of whom all are wanted; of the others, only those of these purchases.
    """
    found: dict[UUID, list[GivenBack]] = {}
    for row in await connection.fetch(_REFUNDS, list(whole), list(family), list(purchases)):
        refund = GivenBack(
            row["refund_id"], row["purchase_id"], row["amount"], row["purchase_amount"], row["occurred_at"]
        )
        found.setdefault(family[row["customer_id"]], []).append(refund)
    return found


async def to_settle(connection: asyncpg.Connection, customer_ids: Sequence[UUID]) -> list[ToSettle]:
    """The awards of which something is, or was, to be taken back; the oldest reason first."""
    rows = await connection.fetch(_TO_SETTLE, list(customer_ids))
    by_name: dict[str, list[asyncpg.Record]] = {}
    for row in rows:
        by_name.setdefault(row["name"], []).append(row)
    return [_to_settle(of) for of in by_name.values()]


async def waive(connection: asyncpg.Connection, of: ToSettle, points: int) -> None:
    """Remember that these points are not taken back, though refunds have them due."""
    await connection.execute(_WAIVE, of.transfers[0][0], points)


async def owe(connection: asyncpg.Connection, owed: Mapping[UUID, int]) -> None:
    """Write down what these members still owe."""
    await connection.execute(_OWE, list(owed.keys()), list(owed.values()))


def _to_settle(rows: Sequence[asyncpg.Record]) -> ToSettle:
    row = rows[0]
    taken = sum(each["taken"] for each in rows)
    return ToSettle(
        row["customer_id"],
        row["name"],
        row["rule"],
        row["occurred_at"],
        row["event_id"],
        Taken(row["points"], row["claimed"], row["paid"], row["refunded"], taken),
        [(each["transfer_id"], each["granted"], each["taken"]) for each in rows],
    )


def _row(written: Written) -> tuple[Any, ...]:
    outcome, deed = written.outcome, written.outcome.deed
    parts = [[part.amount, part.category, part.sku] for part in deed.parts]
    versions = {award.rule: award.version for award in outcome.awards}
    awards = [
        {
            "rule": rule,
            "version": versions.get(rule),
            "points": granted.points,
            "claimed": granted.claimed,
            "grants": granted.grants,
        }
        for rule, granted in written.granted.items()
    ]
    return (
        deed.id,
        deed.kind,
        deed.customer_id,
        deed.occurred_at,
        deed.recorded_at,
        deed.reason,
        deed.event_id,
        deed.amount,
        deed.currency,
        deed.exchange,
        orjson.dumps(parts).decode() if parts else None,
        deed.subject,
        deed.channel,
        deed.told_of,
        outcome.tier.name if outcome.tier else None,
        outcome.qualifying,
        points_of(outcome),
        sum(granted.claimed for granted in written.granted.values()),
        orjson.dumps(awards).decode(),
    )


def own_id(value: UUID) -> UUID:
    """The driver's UUID as Python's own, which JSON writers know."""
    return UUID(int=value.int)


def read_deed(row: asyncpg.Record) -> Deed:
    """A deed of a row of the table."""
    parts = orjson.loads(row["parts"]) if row["parts"] else ()
    return Deed(
        own_id(row["id"]),
        row["kind"],
        own_id(row["customer_id"]),
        row["occurred_at"],
        row["recorded_at"],
        row["reason"],
        own_id(row["event_id"]) if row["event_id"] else None,
        row["amount"],
        row["currency"],
        tuple(Part(*part) for part in parts),
        row["subject"],
        row["channel"],
        own_id(row["told_of"]) if row["told_of"] else None,
        row["exchange"],
    )


def _kept(row: asyncpg.Record) -> Kept:
    granted = {
        award["rule"]: Granted(award["points"], award["claimed"], award["grants"])
        for award in orjson.loads(row["awards"])
    }
    return Kept(read_deed(row), row["tier"], row["qualifying"], granted)
