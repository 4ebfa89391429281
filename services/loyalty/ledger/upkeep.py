"""What the ledger does by the clock: expiry, pending points, holds, sealing. Each batch may be repeated."""

from datetime import datetime
from uuid import UUID

import asyncpg

from services.loyalty.ledger.store import Connection, fetch

# Index: holds_due.
_DUE_HOLDS = """
    SELECT id FROM holds WHERE closed_at IS NULL AND expires_at <= now() ORDER BY expires_at LIMIT $1
"""
_TIME_OUT = "SELECT close_hold($1, 0, 'Hold timed out', 'clock', now(), $2, '')"


async def expire_lots(connection: Connection, limit: int) -> int:
    """Book the points that expired longest ago; fewer lots than the limit: all are done."""
    rows = await fetch(connection, "SELECT expire_lots($1) AS done", limit)
    return int(rows[0]["done"])


async def promote_lots(connection: Connection, limit: int) -> tuple[list[UUID], bool]:
    """Make pending points available whose time has come; whose they were, and whether there are more."""
    rows = await fetch(connection, "SELECT owners, more FROM promote_lots($1)", limit)
    return list(rows[0]["owners"]), rows[0]["more"]


async def tell_expiring(connection: Connection, before: datetime, limit: int) -> int:
    """Tell of points that expire soon, once for each member and day; fewer than the limit: all are told."""
    told: int = await connection.fetchval("SELECT tell_expiring($1, $2)", before, limit)
    return told


async def release_due_holds(connection: Connection, limit: int) -> int:
    """Give back what was held past its time, each hold in a transaction of its own; returns how many.

    Raises:
        DataCorruptedError: somebody wrote behind the ledger's back; raised when all others were given back.
    """
    due = await connection.fetch(_DUE_HOLDS, limit)
    corrupted: asyncpg.DataCorruptedError | None = None
    for row in due:
        try:
            await fetch(connection, _TIME_OUT, row["id"], f"timeout of hold {row['id']}")
        except asyncpg.DataCorruptedError as error:
            corrupted = error
    if corrupted is not None:
        raise corrupted
    return len(due)


async def seal(connection: Connection, limit: int) -> int:
    """Add the next transfers to the hash chain; returns how many there were."""
    sealed: int = await connection.fetchval("SELECT seal_transfers($1)", limit)
    return sealed
