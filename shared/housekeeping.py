"""Upkeep of the plumbing tables: inbox partitions ahead of time and away after it, old keys away."""

from datetime import datetime, timedelta

from shared.clock import utc_now
from shared.database import Database

PARTITION_DAYS = 7
PARTITIONS_AHEAD = 2
DELETE_BATCH = 10_000


async def tidy(database: Database) -> None:
    """Make the inbox's next partitions, drop those past their retention, delete expired keys."""
    now = utc_now()
    for ahead in range(PARTITIONS_AHEAD + 1):
        await _make_partition(database, _week(now) + timedelta(days=PARTITION_DAYS * ahead))
    await _drop_partitions(database, now - timedelta(days=database.settings.inbox_days + PARTITION_DAYS))
    await database.pool.execute(
        """DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
               SELECT ctid FROM idempotency_keys WHERE created_at < now() - $1::interval LIMIT $2))""",
        timedelta(hours=database.settings.idempotency_hours),
        DELETE_BATCH,
    )


async def _make_partition(database: Database, start: datetime) -> None:
    end = start + timedelta(days=PARTITION_DAYS)
    name = f"inbox_{start:%Y%m%d}"
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(361)")  # one at a time makes it
        if await connection.fetchval("SELECT to_regclass($1)", name):
            return
        low, high = await connection.fetchrow("SELECT uuid7_floor($1), uuid7_floor($2)", start, end)
        await connection.execute("SET LOCAL lock_timeout = '4s'")
        # The whole table, not only its default partition: an insert that was already routed there would
        # wait, and then be refused by the bounds that the attachment gives it.
        await connection.execute("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE")
        await connection.execute(f"CREATE TABLE {name} (LIKE inbox INCLUDING ALL)")
        # Ids that came before the partition did stand in the default one; they move along.
        await connection.execute(
            f"""WITH moved AS (DELETE FROM inbox_other WHERE event_id >= $1 AND event_id < $2 RETURNING *)
                INSERT INTO {name} SELECT * FROM moved""",  # noqa: S608 - the name is a date of ours
            low,
            high,
        )
        await connection.execute(
            f"ALTER TABLE inbox ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')"
        )


async def _drop_partitions(database: Database, before: datetime) -> None:
    oldest = f"inbox_{before:%Y%m%d}"
    rows = await database.pool.fetch(
        """SELECT inhrelid::regclass::text AS name FROM pg_inherits
           WHERE inhparent = 'inbox'::regclass AND inhrelid::regclass::text ~ '^inbox_[0-9]{8}$'"""
    )
    for row in rows:
        if row["name"] < oldest:
            await database.pool.execute(f"DROP TABLE {row['name']}")
    await database.pool.execute("DELETE FROM inbox_other WHERE event_id < uuid7_floor($1)", before)


def _week(moment: datetime) -> datetime:
    """The Monday before, so that every replica names the same partition."""
    monday = moment - timedelta(days=moment.weekday())
    return monday.replace(hour=0, minute=0, second=0, microsecond=0)
