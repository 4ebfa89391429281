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
        SELECT 'transfer ' || coalesce(e.transfer_id, l.transfer_id) AS subject,
               coalesce(e.points, 0)::text AS expected, coalesce(l.points, 0)::text AS found
          FROM (SELECT transfer_id, sum(points) AS points FROM entries WHERE balance IS NOT NULL
                 GROUP BY transfer_id) AS e
          FULL JOIN (SELECT transfer_id, sum(points) AS points
                       FROM (SELECT transfer_id, points FROM lots
                             UNION ALL SELECT transfer_id, -points FROM uses) AS change
                      GROUP BY transfer_id) AS l ON l.transfer_id = e.transfer_id
         WHERE coalesce(e.points, 0) <> coalesce(l.points, 0)
         ORDER BY 1 LIMIT 1
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
                        SELECT id, owner, 0, 0, earned, spent FROM accounts WHERE kind <= 'hold') AS part
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
# shows at its own seal, and a seal that was made to fit shows at the next.
_BROKEN_SEAL = """
    SELECT 'transfer ' || transfer_id || ' (seal ' || position || ')' AS subject,
           coalesce(encode(expected, 'hex'), 'no transfer') AS expected, encode(hash, 'hex') AS found
      FROM (SELECT s.position, s.transfer_id, s.hash,
                   sha256(CASE s.position WHEN 1 THEN ''::bytea
                                          ELSE lag(s.hash) OVER (ORDER BY s.position) END
                          || c.content) AS expected
              FROM seals AS s LEFT JOIN sealable AS c ON c.transfer_id = s.transfer_id
             WHERE s.position BETWEEN $1 AND $2) AS chain
     WHERE position > $1 AND hash IS DISTINCT FROM expected
     ORDER BY position LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Report:
    """How many rows were looked at, the newest seal, and the first difference, if there is one.

    Whoever keeps a `head` elsewhere can tell later whether the history up to it is still the same: the seal
    at its position must have its hash.
    """

    rows: dict[str, int]
    head: tuple[int, str] | None
    difference: Difference | None


async def audit(
    connection: asyncpg.Connection,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    beside: asyncpg.Connection | None = None,
) -> Report:
    """Run every check, each until it finds a difference.

    Args:
        progress: told what was looked at, how many steps are done and how many there are.
        beside: another connection, on which the chain is checked meanwhile.
    """
    rows = dict(await connection.fetchrow(_COUNTS))
    newest = await connection.fetchrow(_HEAD)
    head = (newest["position"], newest["hash"]) if newest else None
    starts = range(0, head[0] if head else 0, CHAIN_CHUNK)
    steps, done = len(CHECKS) + len(starts), 0

    def step(name: str) -> None:
        nonlocal done
        done += 1
        progress(name, done, steps)

    async def sums() -> Difference | None:
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
        return None

    if beside is not None:
        first, second = await asyncio.gather(sums(), chain())
        return Report(rows, head, first or second)
    return Report(rows, head, await sums() or await chain())
