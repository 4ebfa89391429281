"""The audit: recompute every balance, lot, sum and hash from what was written; name the first that differs.

Each check is one statement, so it sees postings whole or not at all, and runs beside them; the chain of
hashes is checked in chunks, since a seal only ever follows those before it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two ways to the same number disagree."""

    check: str
    subject: str
    expected: str
    found: str


# Each gives subject, expected (recomputed) and found (kept) of the first row that differs.
CHECKS: dict[str, str] = {
    "the entries of every transfer sum to zero and move its points": """
        SELECT 'transfer ' || coalesce(t.id, e.transfer_id) AS subject,
               '0, ' || coalesce(t.points::text, 'no transfer') AS expected,
               coalesce(e.total, 0) || ', ' || coalesce(e.given, 0) AS found
          FROM transfers AS t
          FULL JOIN (SELECT transfer_id, sum(points) AS total, sum(greatest(points, 0)) AS given
                       FROM entries GROUP BY transfer_id) AS e ON e.transfer_id = t.id
         WHERE e.total IS DISTINCT FROM 0 OR e.given IS DISTINCT FROM t.points
         ORDER BY 1 LIMIT 1
    """,
    "every balance is the sum of its entries": """
        SELECT 'account ' || coalesce(a.id, e.account_id) AS subject, coalesce(e.total, 0)::text AS expected,
               coalesce(a.balance::text, 'no account') AS found
          FROM accounts AS a
          FULL JOIN (SELECT account_id, sum(points) AS total FROM entries GROUP BY account_id) AS e
                 ON e.account_id = a.id
         WHERE a.id IS NULL OR (a.balance IS NOT NULL AND a.balance <> coalesce(e.total, 0))
         ORDER BY coalesce(a.id, e.account_id) LIMIT 1
    """,
    "every balance is the sum of its lots": """
        SELECT 'account ' || coalesce(a.id, l.account_id) AS subject, coalesce(l.total, 0)::text AS expected,
               coalesce(a.balance::text, 'no balance') AS found
          FROM accounts AS a
          FULL JOIN (SELECT account_id, sum(remaining) AS total FROM lots GROUP BY account_id) AS l
                 ON l.account_id = a.id
         WHERE coalesce(a.balance, 0) <> coalesce(l.total, 0)
         ORDER BY coalesce(a.id, l.account_id) LIMIT 1
    """,
    "what remains of every lot is what its uses left": """
        SELECT 'lot ' || coalesce(l.id, u.lot_id) AS subject,
               (coalesce(l.points, 0) - coalesce(u.used, 0))::text AS expected,
               coalesce(l.remaining::text, 'no lot') AS found
          FROM lots AS l
          FULL JOIN (SELECT lot_id, sum(points) AS used FROM uses GROUP BY lot_id) AS u ON u.lot_id = l.id
         WHERE l.remaining IS DISTINCT FROM l.points - coalesce(u.used, 0)
         ORDER BY coalesce(l.id, u.lot_id) LIMIT 1
    """,
    "every transfer changes the lots by what it moves": """
        SELECT 'transfer ' || transfer_id AS subject, sum(moved)::text AS expected,
               sum(changed)::text AS found
          FROM (SELECT transfer_id, points AS moved, 0 AS changed FROM entries WHERE balance IS NOT NULL
                UNION ALL SELECT transfer_id, 0, points FROM lots
                UNION ALL SELECT transfer_id, 0, -points FROM uses) AS part
         GROUP BY transfer_id HAVING sum(moved) <> sum(changed)
         ORDER BY transfer_id LIMIT 1
    """,
    "every running balance follows from the one before": """
        SELECT 'entry ' || id AS subject, running::text AS expected, balance::text AS found
          FROM (SELECT id, balance, sum(points) OVER (PARTITION BY account_id ORDER BY id) AS running
                  FROM entries WHERE balance IS NOT NULL) AS e
         WHERE balance <> running
         ORDER BY id LIMIT 1
    """,
    "the lifetime totals are the sums of their entries": """
        SELECT 'account ' || id AS subject, earned || ' earned, ' || spent || ' spent' AS expected,
               kept_earned || ' earned, ' || kept_spent || ' spent' AS found
          FROM (SELECT min(id) AS id, sum(earned) AS earned, sum(spent) AS spent,
                       sum(kept_earned) AS kept_earned, sum(kept_spent) AS kept_spent
                  FROM (SELECT NULL::bigint AS id, a.owner,
                               CASE t.kind WHEN 'earning' THEN e.points ELSE 0 END AS earned,
                               CASE t.kind WHEN 'redemption' THEN -e.points ELSE 0 END AS spent,
                               0 AS kept_earned, 0 AS kept_spent
                          FROM entries AS e JOIN transfers AS t ON t.id = e.transfer_id
                          JOIN accounts AS a ON a.id = e.account_id
                         WHERE e.balance IS NOT NULL AND t.kind IN ('earning', 'redemption')
                        UNION ALL
                        SELECT NULL, survivor, earned, spent, 0, 0 FROM merges WHERE undone_at IS NULL
                        UNION ALL
                        SELECT NULL, merged, -earned, -spent, 0, 0 FROM merges WHERE undone_at IS NULL
                        UNION ALL
                        SELECT id, owner, 0, 0, earned, spent FROM accounts) AS part
                 GROUP BY owner) AS customer
         WHERE earned <> kept_earned OR spent <> kept_spent
         ORDER BY id LIMIT 1
    """,
    "nothing is reversed more than once": """
        SELECT 'transfer ' || t.id AS subject, 'at most ' || t.points AS expected,
               sum(r.points)::text AS found
          FROM transfers AS t JOIN transfers AS r ON r.reverses = t.id
         GROUP BY t.id HAVING sum(r.points) > t.points
         ORDER BY 1 LIMIT 1
    """,
    "every hold has its points until it is closed": """
        SELECT 'hold ' || coalesce(h.id, l.hold) AS subject, coalesce(h.due, 0)::text AS expected,
               coalesce(l.points, 0)::text AS found
          FROM (SELECT id, CASE WHEN closed_at IS NULL THEN points ELSE 0 END AS due FROM holds) AS h
          FULL JOIN (SELECT hold, sum(remaining) AS points FROM lots WHERE hold IS NOT NULL
                      GROUP BY hold) AS l ON l.hold = h.id
         WHERE coalesce(h.due, 0) <> coalesce(l.points, 0)
         ORDER BY 1 LIMIT 1
    """,
    "every hold is what was set aside and what was spent of it": """
        SELECT 'hold ' || coalesce(h.id, t.id) AS subject,
               coalesce(t.points::text, 'no transfer') || ', ' || coalesce(spent.points, 0) AS expected,
               coalesce(h.points::text, 'no hold') || ', ' || coalesce(h.captured, 0) AS found
          FROM holds AS h
          FULL JOIN (SELECT id, points FROM transfers WHERE kind = 'hold') AS t ON t.id = h.id
          LEFT JOIN (SELECT l.hold, sum(u.points) AS points
                       FROM lots AS l JOIN uses AS u ON u.lot_id = l.id
                       JOIN transfers AS capture ON capture.id = u.transfer_id
                      WHERE l.hold IS NOT NULL AND capture.kind = 'redemption' GROUP BY l.hold) AS spent
                 ON spent.hold = coalesce(h.id, t.id)
         WHERE h.points IS DISTINCT FROM t.points OR coalesce(h.captured, 0) <> coalesce(spent.points, 0)
         ORDER BY 1 LIMIT 1
    """,
    "every lot lies in an account of its kind": """
        SELECT 'lot ' || id AS subject, wanted::text AS expected, kind::text AS found
          FROM (SELECT l.id, a.kind, CASE WHEN l.hold IS NOT NULL THEN 'hold'::account_kind
                                          WHEN l.pending_until IS NOT NULL THEN 'pending'::account_kind
                                          ELSE 'member'::account_kind END AS wanted
                  FROM lots AS l JOIN accounts AS a ON a.id = l.account_id) AS lot
         WHERE kind <> wanted
         ORDER BY id LIMIT 1
    """,
    "every merged customer leads to the survivor": """
        SELECT 'account ' || a.id AS subject, coalesce(m.survivor::text, 'nobody') AS expected,
               coalesce(a.merged_into::text, 'nobody') AS found
          FROM accounts AS a
          LEFT JOIN merges AS m ON m.merged = a.owner AND m.undone_at IS NULL AND a.kind = 'member'
         WHERE a.merged_into IS DISTINCT FROM m.survivor
         ORDER BY a.id LIMIT 1
    """,
}

CHAIN = "every seal covers its transfer and the seal before it"
CHAIN_CHUNK = 20_000  # seals in one statement

_COUNTS = """
    SELECT (SELECT count(*) FROM accounts) AS accounts, (SELECT count(*) FROM transfers) AS transfers,
           (SELECT count(*) FROM entries) AS entries, (SELECT count(*) FROM lots) AS lots,
           (SELECT count(*) FROM seals) AS seals
"""
_HEAD = "SELECT position, encode(hash, 'hex') AS hash FROM seals ORDER BY position DESC LIMIT 1"
# $1: the seals after this one, to $2. A hash is made of the kept hash before it, so a row that was changed
# shows at its own seal, and a seal that was made to fit or taken out shows at the next.
_BROKEN_SEAL = """
    SELECT 'transfer ' || transfer_id || ' (seal ' || position || ')' AS subject,
           CASE WHEN after < position - 1 THEN 'seal ' || position - 1 || ' before it'
                ELSE coalesce(encode(expected, 'hex'), 'no transfer') END AS expected,
           CASE WHEN after < position - 1 THEN 'seal ' || after ELSE encode(hash, 'hex') END AS found
      FROM (SELECT s.position, s.transfer_id, s.hash,
                   coalesce(lag(s.position) OVER (ORDER BY s.position), 0) AS after,
                   sha256(CASE s.position WHEN 1 THEN ''::bytea
                                          ELSE lag(s.hash) OVER (ORDER BY s.position) END
                          || c.content) AS expected
              FROM seals AS s LEFT JOIN sealable AS c ON c.transfer_id = s.transfer_id
             WHERE s.position BETWEEN $1 AND $2) AS chain
     WHERE position > $1 AND (after < position - 1 OR hash IS DISTINCT FROM expected)
     ORDER BY position LIMIT 1
"""
UNSEALED = "nothing older than the newest seal is without one"
# Not while the newest seal is of a server that this ledger was restored from: its numbers lie ahead.
_UNSEALED = """
    WITH newest AS (
        SELECT t.posted_in, t.id FROM seals AS s JOIN transfers AS t ON t.id = s.transfer_id
         WHERE t.posted_in < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
           AND s.position = (SELECT max(position) FROM seals)
    )
    SELECT 'transfer ' || t.id AS subject, 'a seal' AS expected, 'none' AS found
      FROM newest JOIN transfers AS t ON (t.posted_in, t.id) < (newest.posted_in, newest.id)
     WHERE NOT EXISTS (SELECT FROM seals AS s WHERE s.transfer_id = t.id)
     ORDER BY t.id LIMIT 1
"""
KEPT = "the seal that was kept is still there"
_SEAL = "SELECT encode(hash, 'hex') FROM seals WHERE position = $1"


@dataclass(frozen=True, slots=True)
class Report:
    """How many rows were looked at, the newest seal, and the first difference, if there is one.

    Whoever keeps a `head` elsewhere can tell later whether the history up to it is still the same: `audit`
    takes it as `kept`.
    """

    rows: dict[str, int]
    head: tuple[int, str] | None
    difference: Difference | None


async def audit(
    connection: asyncpg.Connection,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    beside: asyncpg.Connection | None = None,
    kept: tuple[int, str] | None = None,
) -> Report:
    """Run every check, each until it finds a difference.

    Args:
        progress: told what was looked at, how many steps are done and how many there are.
        beside: another connection, on which the chain is checked meanwhile.
        kept: the `head` of an earlier report; it must still be there.
    """
    rows = dict(await connection.fetchrow(_COUNTS))
    newest = await connection.fetchrow(_HEAD)
    head = (newest["position"], newest["hash"]) if newest else None
    starts = range(0, head[0] if head else 0, CHAIN_CHUNK)
    steps, done = len(CHECKS) + len(starts) + 1, 0

    def step(name: str) -> None:
        nonlocal done
        done += 1
        progress(name, done, steps)

    async def sums() -> Difference | None:
        if kept is not None:
            found = await connection.fetchval(_SEAL, kept[0])
            if found != kept[1]:
                return Difference(KEPT, f"seal {kept[0]}", kept[1], found or "no seal")
        for name, query in CHECKS.items():
            if row := await connection.fetchrow(query):
                return Difference(name, row["subject"], row["expected"], row["found"])
            step(name)
        return None

    async def chain() -> Difference | None:
        for start in starts:
            if row := await (beside or connection).fetchrow(_BROKEN_SEAL, start, start + CHAIN_CHUNK):
                return Difference(CHAIN, row["subject"], row["expected"], row["found"])
            step(CHAIN)
        if row := await (beside or connection).fetchrow(_UNSEALED):
            return Difference(UNSEALED, row["subject"], row["expected"], row["found"])
        step(UNSEALED)
        return None

    if beside is not None:
        first, second = await asyncio.gather(sums(), chain())
        return Report(rows, head, first or second)
    return Report(rows, head, await sums() or await chain())
