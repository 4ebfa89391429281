"""What loyalty does when customers register, buy and return: once each, the same in any order."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.loyalty.reactions import make_reactions
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.contracts import EventData, encode
from shared.contracts.handles import Purchase, Refund
from shared.contracts.profile import CustomerRegistered, PurchaseRecorded, PurchaseRefunded
from shared.database import Database
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from tests.loyalty.points import MORNING, Ledger


@pytest.fixture
def consumer(settings: LoyaltySettings, database: Database) -> Consumer:
    return Consumer(make_reactions(settings), database)


def registered(customer_id: UUID) -> CustomerRegistered:
    return CustomerRegistered(customer_id=customer_id, registered_at=MORNING)


def purchase(
    customer_id: UUID, amount: int = 12900, *, at: datetime = MORNING, currency: str = "CNY"
) -> Purchase:
    return Purchase(
        purchase_id=new_id(),
        customer_id=customer_id,
        source="shop",
        source_id=f"O-{amount}",
        amount=amount,
        currency=currency,
        occurred_at=at,
    )


def refund(of: Purchase, amount: int) -> Refund:
    return Refund(
        refund_id=new_id(),
        purchase_id=of.purchase_id,
        customer_id=of.customer_id,
        amount=amount,
        purchase_amount=of.amount,
        currency=of.currency,
        occurred_at=of.occurred_at + timedelta(days=3),
        purchased_at=of.occurred_at,
    )


def bought(*purchases: Purchase) -> PurchaseRecorded:
    return PurchaseRecorded(items=purchases)


def returned(*refunds: Refund) -> PurchaseRefunded:
    return PurchaseRefunded(items=refunds)


async def hear(consumer: Consumer, *events: EventData) -> None:
    """Deliver together, as the transport does; each as an event of its own id."""
    await consumer.deliver(
        [encode(data, event_id=new_id(), time=utc_now(), traceparent=None).encode() for data in events]
    )


async def account(pool: asyncpg.Pool, customer_id: UUID) -> dict[str, Any]:
    row = await pool.fetchrow(
        "SELECT balance, earned, spent, owed FROM accounts WHERE owner = $1", customer_id
    )
    return dict(row)


async def test_a_new_customer_gets_an_account_and_the_sign_up_points(
    consumer: Consumer, ledger: Ledger
) -> None:
    member = uuid4()
    await hear(consumer, registered(member))
    assert await account(ledger.pool, member) == {"balance": 500, "earned": 500, "spent": 0, "owed": 0}
    row = await ledger.pool.fetchrow("SELECT t.*, l.expires_at FROM transfers AS t, lots AS l")
    assert (row["rule"], row["arithmetic"], row["occurred_at"]) == ("sign-up", "500 once", MORNING)
    assert row["expires_at"] == MORNING + timedelta(days=365)


async def test_a_purchase_earns_with_its_rule_arithmetic_time_and_event(
    consumer: Consumer, ledger: Ledger
) -> None:
    member = uuid4()
    long_ago = datetime.fromisoformat("1997-01-01T00:00:00Z")
    item = purchase(member, 12999, at=long_ago)
    event_id = new_id()
    envelope = encode(bought(item), event_id=event_id, time=utc_now(), traceparent=None).encode()
    await consumer.deliver([envelope])
    row = await ledger.pool.fetchrow("SELECT t.*, l.earned_at FROM transfers AS t, lots AS l")
    assert row["points"] == 129
    assert row["rule"] == "purchase"
    assert row["arithmetic"] == "floor(129.99 CNY × 1) = 129"
    assert row["reason"] == "Purchase O-12999 at shop"
    assert row["event_id"] == event_id
    assert row["occurred_at"] == row["earned_at"] == long_ago


async def test_a_purchase_earns_once_however_often_it_is_told(consumer: Consumer, ledger: Ledger) -> None:
    member = uuid4()
    item = purchase(member)
    await hear(consumer, bought(item), bought(item))
    await hear(consumer, bought(item))
    assert await ledger.balance(member) == 129
    assert await ledger.count("transfers") == 1


async def test_a_purchase_too_small_to_earn_makes_no_transfer(consumer: Consumer, ledger: Ledger) -> None:
    member = uuid4()
    item = purchase(member, 99)
    await hear(consumer, bought(item), returned(refund(item, 99)))
    assert await account(ledger.pool, member) == {"balance": 0, "earned": 0, "spent": 0, "owed": 0}
    assert await ledger.count("transfers") == 0


async def test_money_of_other_currencies_counts_what_it_is_worth(
    settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    member = uuid4()
    exchanged = settings.model_copy(update={"exchange": {"JPY": Decimal("0.05")}})
    yen, yuan = purchase(member, 1000, currency="JPY"), purchase(member, 1000)
    await hear(Consumer(make_reactions(exchanged), database), bought(yen, yuan))
    assert await ledger.balance(member) == 50 + 10


async def test_a_refund_takes_its_share_back_and_a_repeat_takes_nothing(
    consumer: Consumer, ledger: Ledger
) -> None:
    member = uuid4()
    item = purchase(member)
    half, rest = refund(item, 6450), refund(item, 6450)
    await hear(consumer, bought(item))
    await hear(consumer, returned(half))
    await hear(consumer, returned(half))
    assert await account(ledger.pool, member) == {"balance": 65, "earned": 65, "spent": 0, "owed": 0}
    await hear(consumer, returned(rest))
    assert await account(ledger.pool, member) == {"balance": 0, "earned": 0, "spent": 0, "owed": 0}
    shown = await ledger.pool.fetch(
        "SELECT arithmetic FROM transfers WHERE reverses IS NOT NULL ORDER BY posted_at"
    )
    assert [row["arithmetic"] for row in shown] == [
        "floor(129 × 6450 ÷ 12900) = 64",
        "floor(129 × 12900 ÷ 12900) = 129, less 64 taken before",
    ]
    await ledger.must_be_sound()


async def test_a_refund_that_comes_before_its_purchase_ends_the_same(
    consumer: Consumer, ledger: Ledger
) -> None:
    member = uuid4()
    item = purchase(member)
    await hear(consumer, returned(refund(item, 6450)))
    assert await ledger.count("transfers") == 0
    await hear(consumer, bought(item))
    assert await account(ledger.pool, member) == {"balance": 65, "earned": 65, "spent": 0, "owed": 0}


async def test_what_was_spent_is_owed_and_taken_from_the_next_points(
    consumer: Consumer, ledger: Ledger
) -> None:
    member = uuid4()
    item, next_one = purchase(member, 10000), purchase(member, 7000)
    await hear(consumer, bought(item))
    await ledger.spend(member, 90)
    await hear(consumer, returned(refund(item, 10000)))
    assert await account(ledger.pool, member) == {"balance": 0, "earned": 90, "spent": 90, "owed": 90}
    await hear(consumer, bought(next_one))
    assert await account(ledger.pool, member) == {"balance": 0, "earned": 90, "spent": 90, "owed": 20}
    await hear(consumer, bought(purchase(member, 5000)))
    assert await account(ledger.pool, member) == {"balance": 30, "earned": 120, "spent": 90, "owed": 0}
    await ledger.must_be_sound()


async def test_a_refund_and_its_purchase_heard_at_the_same_moment_end_right(
    settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    """Two replicas: whichever comes second to the member's lock sees what the first wrote."""
    import asyncio

    replicas = [Consumer(make_reactions(settings), database) for _ in range(2)]
    for _ in range(10):
        member = uuid4()
        item = purchase(member)
        await asyncio.gather(
            hear(replicas[0], bought(item)), hear(replicas[1], returned(refund(item, item.amount)))
        )
        assert await account(ledger.pool, member) == {"balance": 0, "earned": 0, "spent": 0, "owed": 0}


def a_story(one: UUID, two: UUID) -> list[EventData]:
    """Two members; purchases of one event, and refunds in parts, one of a purchase of the other event."""
    first, second, third = (
        purchase(one),
        purchase(one, 7777, at=MORNING + timedelta(days=1)),
        purchase(two, 555),
    )
    fourth = purchase(two, 100_000)
    return [
        registered(one),
        registered(two),
        bought(first, third),
        bought(second, fourth),
        bought(first),  # told twice
        returned(refund(first, 3000), refund(fourth, 33_333)),
        returned(refund(first, 9900)),
        returned(refund(third, 1)),
    ]


@pytest.mark.parametrize("seed", range(12))
async def test_reactions_end_the_same_in_any_order_and_any_batches(
    consumer: Consumer, ledger: Ledger, seed: int
) -> None:
    chance = random.Random(seed)
    one, two = uuid4(), uuid4()
    story = a_story(one, two)
    story += chance.sample(story, 3)  # some are told again
    chance.shuffle(story)
    for batch in in_batches(story, chance):
        await hear(consumer, *batch)
    assert await account(ledger.pool, one) == {"balance": 577, "earned": 577, "spent": 0, "owed": 0}
    assert await account(ledger.pool, two) == {"balance": 1172, "earned": 1172, "spent": 0, "owed": 0}
    assert await ledger.pool.fetchval("SELECT count(*) FROM dead_letters") == 0
    await ledger.must_be_sound()


def in_batches(story: Sequence[EventData], chance: random.Random) -> list[list[EventData]]:
    batches: list[list[EventData]] = [[]]
    for event in story:
        if chance.random() < 0.5:
            batches.append([])
        batches[-1].append(event)
    return [batch for batch in batches if batch]
