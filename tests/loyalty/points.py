"""Short ways to post and to look, for tests: the real ledger, with the parts that a test does not care about
filled in."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg

from services.loyalty.ledger import merging, store, upkeep
from services.loyalty.ledger.audit import audit
from services.loyalty.ledger.store import Cause, Key, Posted
from shared.settings import ServiceSettings
from tests.support.apps import eventually

MORNING = datetime(2026, 3, 1, 10, tzinfo=UTC)
CAUSE = Cause("test", "test", MORNING)

# The ledger refuses this; a superuser with the triggers switched off may.
EMPTY = """
    SET LOCAL session_replication_role = replica;
    TRUNCATE accounts, transfers, entries, lots, uses, holds, expiry_notices, waivers, merges, seals, refunds,
        deeds, birthdays, standings, tier_terms, tier_changes, forgotten, referrals, referral_codes,
        challenges, challenge_progress, badges, board_scores, board_steps, board_runs, board_opt_outs,
        outbox, inbox, dead_letters, section_marks
        RESTART IDENTITY;
    DELETE FROM earning_rules WHERE made_by <> 'defaults';
    DELETE FROM tier_tables WHERE made_by <> 'defaults';
    INSERT INTO accounts (id, kind, owner) VALUES
        (1, 'issuer', '00000000-0000-0000-0000-000000000000'),
        (2, 'breakage', '00000000-0000-0000-0000-000000000000');
"""


async def empty(settings: ServiceSettings) -> None:
    """Make a loyalty database as good as new."""
    connection = await asyncpg.connect(settings.dsn)
    async with connection.transaction():
        await connection.execute(EMPTY)
    await connection.close()


def key(name: str | None = None, content: bytes = b"same") -> Key:
    return Key(name or f"test {uuid4()}", content)


class Ledger:
    """The ledger on one database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def member(self, points: int = 0, expires_at: datetime | None = None) -> UUID:
        customer_id = uuid4()
        if points:
            await self.earn(customer_id, points, expires_at)
        else:
            await store.lock_members(self.pool, [customer_id])
        return customer_id

    async def earn(self, customer_id: UUID, points: int, expires_at: datetime | None = None) -> Posted:
        return await store.earn(self.pool, customer_id, points, CAUSE, key(), expires_at=expires_at)

    async def spend(self, customer_id: UUID, points: int, named: Key | None = None) -> Posted:
        return await store.spend(self.pool, customer_id, points, CAUSE, named or key())

    async def reverse(self, transfer_id: UUID, named: Key | None = None, points: int | None = None) -> Posted:
        return await store.reverse(self.pool, transfer_id, CAUSE, named or key(), points)

    async def take_back(self, transfer_id: UUID, points: int) -> Posted | None:
        return await store.take_back(self.pool, transfer_id, points, CAUSE, key())

    async def merge(self, survivor: UUID, merged: UUID, merge_id: UUID | None = None) -> UUID:
        """Make two customers one; the id of the merge undoes it."""
        merge_id = merge_id or uuid4()
        await merging.merge(self.pool, merge_id, survivor, merged, None)
        return merge_id

    async def balance(self, customer_id: UUID) -> int:
        return await self.pool.fetchval(
            "SELECT balance FROM accounts WHERE kind = 'member' AND owner = $1", customer_id
        )

    async def aside(self, customer_id: UUID) -> tuple[int, int, int]:
        """What a customer has available, pending and held."""
        rows = await self.pool.fetch("SELECT kind, balance FROM accounts WHERE owner = $1", customer_id)
        have = {row["kind"]: row["balance"] for row in rows}
        return have.get("member", 0), have.get("pending", 0), have.get("hold", 0)

    async def promote(self, limit: int = 100) -> list[UUID]:
        """Make pending points available whose time has come; whose they were."""
        owners, _ = await upkeep.promote_lots(self.pool, limit)
        return owners

    async def expire(self, limit: int = 100) -> int:
        """Book one batch of expired lots."""
        return await upkeep.expire_lots(self.pool, limit)

    async def pass_expiry(self, moment: datetime) -> None:
        """Have lots that expire at a moment to come expire yesterday instead, as if time had passed."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(
                "UPDATE lots SET expires_at = now() - interval '1 day' WHERE expires_at = $1", moment
            )

    async def totals(self, customer_id: UUID) -> tuple[int, int]:
        row = await self.pool.fetchrow(
            "SELECT earned, spent FROM accounts WHERE kind = 'member' AND owner = $1", customer_id
        )
        return row["earned"], row["spent"]

    async def lots(self, customer_id: UUID) -> list[int]:
        """What remains in each of a member's lots, in the order they were made."""
        rows = await self.pool.fetch(
            """SELECT remaining FROM lots JOIN accounts ON accounts.id = account_id WHERE owner = $1
               ORDER BY lots.id""",
            customer_id,
        )
        return [row["remaining"] for row in rows]

    async def seal_all(self, limit: int = 100) -> list[int]:
        """Seal everything; the sizes of the batches. Transactions in other databases may hold it up."""
        batches: list[int] = []

        async def sealed() -> bool:
            batches.append(await upkeep.seal(self.pool, limit))
            return await self.count("seals") == await self.count("transfers")

        await eventually(sealed, within_s=60)
        return [batch for batch in batches if batch]

    async def count(self, table: str) -> int:
        return await self.pool.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 - a test's own constant

    async def events(self) -> list[str]:
        return [row["type"] for row in await self.pool.fetch("SELECT type FROM outbox ORDER BY id")]

    async def must_be_sound(self) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = 0")  # an hour's ledger takes its time
            report = await audit(connection)
        assert report.difference is None, report.difference
