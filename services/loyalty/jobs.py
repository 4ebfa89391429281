"""What loyalty does by the clock. Each run is bounded; what is left over is done by the next."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from services.loyalty.challenges.boards import board_jobs
from services.loyalty.earning import service
from services.loyalty.earning.birthdays import birthday_job
from services.loyalty.ledger import upkeep
from services.loyalty.referrals.service import referral_job
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tiers.service import review_job
from shared.clock import utc_now
from shared.database import Database, raw
from shared.jobs import Job

Batch = Callable[[Database, LoyaltySettings], Awaitable[bool]]  # whether there is more


def make_jobs(settings: LoyaltySettings) -> list[Job]:
    """Expiry, notices, promotion, hold time-outs and sealing; with the seconds between their runs."""

    def job(name: str, every_s: float, batch: Batch) -> Job:
        async def run(database: Database) -> None:
            for _ in range(settings.upkeep_batches):
                if not await batch(database, settings):
                    return

        return Job(name, every_s, run)

    return [
        job("expire points", 60, _expire),
        job("promote pending points", 15, _promote),
        job("tell of points that expire", 900, _tell),
        job("time out holds", 5, _time_out),
        job("seal the ledger", 5, _seal),
        review_job(settings),
        birthday_job(settings),
        referral_job(settings),
        *board_jobs(),
    ]


async def _expire(database: Database, settings: LoyaltySettings) -> bool:
    return await upkeep.expire_lots(database.pool, settings.upkeep_batch) == settings.upkeep_batch


async def _promote(database: Database, settings: LoyaltySettings) -> bool:
    async with database.session() as session:
        connection = await raw(session)
        owners, more = await upkeep.promote_lots(connection, settings.upkeep_batch)
        await service.settle(connection, owners)
    return more


async def _tell(database: Database, settings: LoyaltySettings) -> bool:
    before = utc_now() + timedelta(days=settings.expiry_notice_days)
    return await upkeep.tell_expiring(database.pool, before, settings.upkeep_batch) == settings.upkeep_batch


async def _time_out(database: Database, settings: LoyaltySettings) -> bool:
    return await upkeep.release_due_holds(database.pool, settings.upkeep_batch) == settings.upkeep_batch


async def _seal(database: Database, settings: LoyaltySettings) -> bool:
    return await upkeep.seal(database.pool, settings.upkeep_batch) == settings.upkeep_batch
