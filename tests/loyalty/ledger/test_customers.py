"""What the ledger does when customers are merged, unmerged and erased elsewhere, and by the clock."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from services.loyalty.jobs import make_jobs
from services.loyalty.ledger import store
from services.loyalty.reactions import make_reactions
from services.loyalty.settings import LoyaltySettings
from shared.contracts import EventData, decode, encode
from shared.contracts.erasure import ErasureCompleted
from shared.contracts.handles import Purchase, Refund
from shared.contracts.loyalty import PointsExpiring
from shared.contracts.profile import (
    CustomerErased,
    CustomerMerged,
    CustomerUnmerged,
    PurchaseRecorded,
    PurchaseRefunded,
)
from shared.database import Database
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from tests.loyalty.points import CAUSE, MORNING, Ledger, key

SOON = datetime(2098, 1, 1, tzinfo=UTC)


@pytest.fixture
def consumer(settings: LoyaltySettings, database: Database) -> Consumer:
    return Consumer(make_reactions(settings), database)


async def happen(consumer: Consumer, *data: EventData) -> None:
    for each in data:
        await consumer.deliver([encode(each, event_id=new_id(), time=MORNING, traceparent=None).encode()])


def purchase(customer_id: UUID, amount: int) -> Purchase:
    return Purchase(
        purchase_id=new_id(),
        customer_id=customer_id,
        source="shop",
        source_id="O-1",
        amount=amount,
        currency="CNY",
        occurred_at=MORNING,
    )


def refund(of: Purchase) -> Refund:
    return Refund(
        refund_id=new_id(),
        purchase_id=of.purchase_id,
        customer_id=of.customer_id,
        amount=of.amount,
        purchase_amount=of.amount,
        currency=of.currency,
        occurred_at=MORNING,
        purchased_at=of.occurred_at,
    )


async def owed(ledger: Ledger, customer_id: UUID) -> int:
    return int(
        await ledger.pool.fetchval(
            "SELECT owed FROM accounts WHERE kind = 'member' AND owner = $1", customer_id
        )
    )


async def test_merged_customers_earn_spend_and_owe_together_until_it_is_undone(
    consumer: Consumer, ledger: Ledger
) -> None:
    kept, gone, merge = await ledger.member(50), uuid4(), uuid4()
    bought = purchase(gone, 100_00)
    merged = CustomerMerged(survivor_id=kept, merged_id=gone, merge_id=merge)
    await happen(consumer, PurchaseRecorded(items=(bought,)), merged, merged)
    assert await ledger.aside(kept) == (150, 0, 0)
    await ledger.spend(kept, 120)
    await happen(consumer, PurchaseRefunded(items=(refund(bought),)))
    assert (await ledger.aside(kept), await owed(ledger, kept)) == ((0, 0, 0), 70)
    await happen(consumer, PurchaseRecorded(items=(purchase(gone, 90_00),)))  # knew the old id
    assert (await ledger.aside(kept), await owed(ledger, kept)) == ((20, 0, 0), 0)
    await ledger.must_be_sound()

    undone = CustomerUnmerged(survivor_id=kept, merged_id=gone, merge_id=merge)
    await happen(consumer, undone, undone, merged)
    assert (await ledger.aside(kept), await ledger.aside(gone)) == ((20, 0, 0), (0, 0, 0))
    await ledger.must_be_sound()


@pytest.mark.parametrize(("policy", "left"), [("owed", 40), ("within-balance", 100), ("pending-only", 140)])
async def test_what_refunds_take_back_is_the_programme_s_policy(
    settings: LoyaltySettings, database: Database, ledger: Ledger, policy: str, left: int
) -> None:
    """100 earned, 60 spent, all refunded: 40 can be taken, 60 can only be owed; then 100 come in."""
    member = await ledger.member()
    consumer = Consumer(make_reactions(settings.model_copy(update={"refund_policy": policy})), database)
    bought = purchase(member, 100_00)
    await happen(consumer, PurchaseRecorded(items=(bought,)))
    await ledger.spend(member, 60)
    for _ in range(2):
        await happen(consumer, PurchaseRefunded(items=(refund(bought),)))
    assert await owed(ledger, member) == (60 if policy == "owed" else 0)
    await happen(consumer, PurchaseRecorded(items=(purchase(member, 100_00),)))
    assert (await ledger.aside(member), await owed(ledger, member)) == ((left, 0, 0), 0)
    await ledger.must_be_sound()


async def test_an_erased_customer_is_forgotten_with_a_receipt_and_the_sums_stay(
    consumer: Consumer, ledger: Ledger
) -> None:
    gone, erasure = await ledger.member(50), uuid4()
    erased = CustomerErased(customer_id=gone, erasure_id=erasure)
    await happen(consumer, erased, erased)
    assert await ledger.aside(gone) == (0, 0, 0)
    assert await ledger.pool.fetchval("SELECT sum(balance) FROM accounts") == 50
    rows = await ledger.pool.fetch("SELECT envelope FROM outbox WHERE type = 'erasure.completed' ORDER BY id")
    receipts = [decode(row["envelope"]).data for row in rows]
    assert [receipt.counts["accounts"] for receipt in receipts if isinstance(receipt, ErasureCompleted)] == [
        1,
        0,
    ]
    await ledger.must_be_sound()


async def test_the_clock_expires_promotes_tells_times_out_and_seals(
    settings: LoyaltySettings, database: Database, ledger: Ledger, consumer: Consumer
) -> None:
    """Each job in more batches than one, and again with nothing left to do."""
    members = [await ledger.member(10, SOON) for _ in range(3)]
    for member in members:
        await store.earn(ledger.pool, member, 5, CAUSE, key(), pending_until=MORNING)
        await store.hold(ledger.pool, member, 4, CAUSE, key(), expires_at=MORNING)
    bought = purchase(members[0], 3_00)
    await happen(consumer, PurchaseRecorded(items=(bought,)))
    await ledger.spend(members[0], 9)
    await happen(consumer, PurchaseRefunded(items=(refund(bought),)))
    assert await owed(ledger, members[0]) == 3
    small = settings.model_copy(update={"upkeep_batch": 2, "expiry_notice_days": 36_500})
    jobs = {job.name: job for job in make_jobs(small)}

    for _ in range(2):
        await jobs["tell of points that expire"].run(database)
        await jobs["promote pending points"].run(database)
    assert await owed(ledger, members[0]) == 0  # taken of what became available
    assert [await ledger.aside(member) for member in members] == [(2, 0, 4), (11, 0, 4), (11, 0, 4)]
    await ledger.pass_expiry(SOON)
    for _ in range(2):
        await jobs["expire points"].run(database)
        await jobs["time out holds"].run(database)
        await jobs["expire points"].run(database)
    assert [await ledger.aside(member) for member in members] == [(2, 0, 0), (5, 0, 0), (5, 0, 0)]
    told = [
        decode(row["envelope"]).data
        for row in await ledger.pool.fetch("SELECT envelope FROM outbox WHERE type = 'points.expiring'")
    ]
    assert sorted(each.points for each in told if isinstance(each, PointsExpiring)) == [6, 6]
    await ledger.seal_all()
    await jobs["seal the ledger"].run(database)
    await ledger.must_be_sound()


async def test_expiry_beside_spending_and_merging_never_loses_a_point(ledger: Ledger) -> None:
    """Batches, postings and merges of the same customers at once: deadlocks do not surface."""
    members = [uuid4() for _ in range(6)]
    given = [store.Earning(member, 10, f"{n} {member}", CAUSE, SOON) for member in members for n in range(5)]
    await store.post_earnings(ledger.pool, given, "test", 0)
    await ledger.pass_expiry(SOON)

    async def expire() -> None:
        while await ledger.expire(3):
            pass

    async def spend(member: UUID) -> None:
        with pytest.raises(Exception, match="The balance is 0"):
            await ledger.spend(member, 1)

    merging = (ledger.merge(a, b) for a, b in zip(members[:3], members[3:], strict=True))
    await asyncio.gather(expire(), expire(), *(spend(member) for member in members), *merging)
    assert [await ledger.aside(member) for member in members] == [(0, 0, 0)] * 6
    assert await ledger.pool.fetchval("SELECT sum(points) FROM entries WHERE account_id = 2") == 300
    await ledger.must_be_sound()
