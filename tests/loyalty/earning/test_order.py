"""Time comes from the event: late, repeated and refunded purchases end where the order of time ends."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.loyalty.app import create_app
from services.loyalty.earning import rule_store
from services.loyalty.earning.rule_store import Version
from services.loyalty.reactions import make_reactions
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tiers import service as tiers
from shared.clock import utc_now
from shared.contracts import EventData
from shared.contracts.feedback import SurveyAnswered, TicketResolved
from shared.contracts.handles import Activity
from shared.contracts.profile import (
    ActivityRecorded,
    CustomerMerged,
    CustomerUnmerged,
    CustomerUpdated,
)
from shared.database import Database
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from tests.loyalty.earning.test_reactions import (
    account,
    bought,
    hear,
    in_batches,
    purchase,
    refund,
    registered,
    returned,
)
from tests.loyalty.points import MORNING, Ledger
from tests.support.apps import running

DAY = timedelta(days=1)
LONG_AGO = MORNING - 1000 * DAY
RULES: dict[str, dict[str, Any]] = {
    "first": {"kind": "purchase", "points": 300, "first_purchase_only": True},
    "bonus": {"kind": "purchase", "rate": "0.5", "daily_limit": 900, "monthly_limit": 2000},
    "spring": {
        "kind": "purchase",
        "multiplier": "2",
        "starts_at": (MORNING + 20 * DAY).isoformat(),
        "ends_at": (MORNING + 40 * DAY).isoformat(),
    },
}


@pytest.fixture
async def consumer(settings: LoyaltySettings, database: Database) -> Consumer:
    for name, said in RULES.items():
        version = Version(name, 1, {"name": name} | said, LONG_AGO)
        assert await rule_store.add(database.pool, version, "test")
    return Consumer(make_reactions(settings), database)


def activity(member: UUID, at: datetime) -> Activity:
    return Activity(activity_id=new_id(), customer_id=member, kind="visit", occurred_at=at)


def a_year(member: UUID) -> list[EventData]:
    """Purchases that climb to gold and fall again, some on one day; refunds; activities beyond the limit."""
    amounts = [
        (0, 400_000),
        (0, 90_000),
        (5, 80_000),
        (25, 700_000),
        (26, 30_000),
        (39, 1_400_000),
        (500, 50_000),
    ]
    items = [purchase(member, amount, at=MORNING + n * DAY) for n, amount in amounts]
    visits = [activity(member, MORNING + n * timedelta(hours=1)) for n in range(8)]
    ticket = {"ticket_id": new_id(), "kind": "suggestion", "category": "app", "severity": "low", "mood": 0.5}
    return [
        registered(member),
        *(bought(item) for item in items),
        bought(items[2], items[3]),
        returned(refund(items[3], 350_000)),
        returned(refund(items[5], 900_000)),
        ActivityRecorded(items=tuple(visits[:5])),
        ActivityRecorded(items=tuple(visits[5:])),
        SurveyAnswered(
            answer_id=new_id(), customer_id=member, survey="nps", kind="nps", score=9, occurred_at=MORNING
        ),
        TicketResolved(**ticket, customer_id=member, status="resolved", channel="mail", occurred_at=MORNING),
    ]


async def ended(ledger: Ledger, member: UUID) -> dict[str, Any]:
    deeds = await ledger.pool.fetch(
        """SELECT kind::text, occurred_at, tier, qualifying, d.points, a.rule, a.points AS by_rule
           FROM deeds AS d, jsonb_to_recordset(d.awards) AS a(rule text, points bigint)
           WHERE customer_id = $1 AND a.points > 0 ORDER BY occurred_at, amount, kind, rule, by_rule""",
        member,
    )
    changes = await ledger.pool.fetch(
        "SELECT at, to_tier, qualifying FROM tier_changes WHERE customer_id = $1 ORDER BY at, place", member
    )
    standing = await ledger.pool.fetchrow(
        "SELECT tier, tier_now, total, counted::text FROM standings WHERE customer_id = $1", member
    )
    return {
        "deeds": [tuple(row) for row in deeds],
        "changes": [tuple(row) for row in changes],
        "standing": tuple(standing),
        "account": await account(ledger.pool, member),
    }


async def test_any_order_of_arrival_ends_at_the_same_points_and_the_same_tier(
    consumer: Consumer, ledger: Ledger
) -> None:
    story = a_year(uuid4())
    member = story[0].subject
    assert member is not None
    found = []
    for seed in range(8):
        chance, whose = random.Random(seed), uuid4()
        told = [renamed(event, member, whose) for event in story]
        if seed:
            told += chance.sample(told, 3)  # some are told again
            chance.shuffle(told)
        for batch in in_batches(told, chance):
            await hear(consumer, *batch)
        found.append(await ended(ledger, whose))
    for other in found[1:]:
        assert other == found[0]
    assert [to for _, to, _ in found[0]["changes"]] == ["silver", "gold", "silver", "regular"]
    assert await ledger.count("dead_letters") == 0
    await ledger.must_be_sound()


def renamed(event: EventData, member: UUID, other: UUID) -> EventData:
    """The same story of another member, with ids of its own that sort alike."""
    text = event.model_dump_json().replace(str(member), str(other))
    data = type(event).model_validate_json(text)
    items = getattr(data, "items", None)
    if items is None:
        fresh = {name: uuid5_of(value, other) for name, value in ids_of(data)}
        return data.model_copy(update=fresh)
    return data.model_copy(
        update={
            "items": tuple(
                item.model_copy(update={name: uuid5_of(value, other) for name, value in ids_of(item)})
                for item in items
            )
        }
    )


def ids_of(data: Any) -> list[tuple[str, UUID]]:
    names = ("purchase_id", "refund_id", "activity_id", "answer_id", "ticket_id")
    return [(name, value) for name in names if (value := getattr(data, name, None)) is not None]


def uuid5_of(value: UUID, other: UUID) -> UUID:
    """Another id for another member, in the order of the first."""
    return UUID(int=(value.int & ~0xFFFFFFFF) | (other.int & 0xFFFFFFFF))


async def test_a_late_purchase_takes_back_and_gives_what_the_order_of_time_says(
    consumer: Consumer, ledger: Ledger
) -> None:
    member = uuid4()
    early, later = purchase(member, 600_000), purchase(member, 100_000, at=MORNING + DAY)
    await hear(consumer, bought(later))
    assert await ledger.balance(member) == 300 + 500 + 1_000
    await hear(consumer, bought(early))
    # The bonus for the first purchase goes to the early one; the later one was made in silver.
    assert await ledger.balance(member) == (300 + 900 + 6_000) + (625 + 1_250)
    shown = await ledger.pool.fetch(
        """SELECT rule, points, arithmetic FROM transfers WHERE reverses IS NULL
           ORDER BY occurred_at, rule, points"""
    )
    assert [tuple(row) for row in shown][-2:] == [
        (
            "purchase",
            250,
            "floor(1000.00 CNY × 1 × 1.25 silver) = 1250, 1000 of it given before: "
            "an earlier one became known",
        ),
        ("purchase", 1_000, "floor(1000.00 CNY × 1) = 1000"),
    ]
    back = await ledger.pool.fetchrow(
        "SELECT reason, rule, points, arithmetic FROM transfers WHERE reverses IS NOT NULL"
    )
    assert tuple(back) == ("Recount", "first", 300, "300 too much by the order of time")
    await ledger.must_be_sound()


async def test_a_purchase_keeps_the_exchange_rate_of_when_it_was_first_heard_of(
    settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    then, now = (
        Consumer(make_reactions(settings.model_copy(update={"exchange": {"JPY": rate}})), database)
        for rate in (Decimal("0.05"), Decimal("0.04"))
    )
    member = uuid4()
    first, second = (purchase(member, 10_000, at=MORNING + n * DAY, currency="JPY") for n in (1, 2))
    await hear(then, bought(first))
    await hear(now, bought(second))
    assert await ledger.balance(member) == 500 + 400
    await hear(now, bought(purchase(member, 100, at=MORNING)))
    await hear(now, returned(refund(second, 5_000)))
    assert await ledger.balance(member) == 500 + 200 + 1
    assert await ledger.pool.fetchval("SELECT total FROM standings") == 50_000 + 20_000 + 100
    await ledger.must_be_sound()


async def test_points_that_wait_for_the_return_period_are_pending(consumer: Consumer, ledger: Ledger) -> None:
    version = Version(
        "later",
        1,
        {"name": "l", "kind": "purchase", "rate": "1", "pending_days": 14, "exclusive": True, "priority": 9},
        LONG_AGO,
    )
    await rule_store.add(ledger.pool, version, "test")
    member, now = uuid4(), utc_now()
    new, old = purchase(member, 10_000, at=now), purchase(member, 5_000, at=now - 20 * DAY)
    await hear(consumer, bought(new, old))
    kinds = await ledger.pool.fetch(
        "SELECT kind::text, balance FROM accounts WHERE owner = $1 ORDER BY kind", member
    )
    assert [tuple(row) for row in kinds] == [("member", 50), ("pending", 100)]
    await hear(consumer, returned(refund(new, 4_000)))
    kinds = await ledger.pool.fetch(
        "SELECT kind::text, balance FROM accounts WHERE owner = $1 ORDER BY kind", member
    )
    assert [tuple(row) for row in kinds] == [("member", 50), ("pending", 60)]
    await ledger.must_be_sound()


async def test_tiers_move_by_the_clock_and_tell_it(
    consumer: Consumer, settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    member, now = uuid4(), utc_now()
    await hear(consumer, bought(purchase(member, 500_000, at=now - 360 * DAY)))
    assert await ledger.pool.fetchval("SELECT tier_now FROM standings") == "silver"
    assert await tiers.review(database, settings, now + 2 * DAY) == 0
    assert await tiers.review(database, settings, now + 40 * DAY) == 1
    assert await tiers.review(database, settings, now + 40 * DAY) == 0
    assert await ledger.pool.fetchval("SELECT tier_now FROM standings") == "regular"
    told = await ledger.pool.fetch(
        """SELECT envelope::jsonb -> 'data' ->> 'from_tier', envelope::jsonb -> 'data' ->> 'to_tier'
           FROM outbox WHERE type = 'tier.changed' ORDER BY id"""
    )
    assert [tuple(row) for row in told] == [("regular", "silver"), ("silver", "regular")]


async def test_what_qualifies_stays_as_it_was_when_the_first_purchase_was_counted(
    settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    member, now = uuid4(), utc_now()
    points = settings.model_copy(update={"tier_basis": "points", "tier_period": "calendar"})
    for each in (settings, points):  # nobody was counted yet
        await tiers.review(database, each, now)
    await hear(Consumer(make_reactions(points), database), bought(purchase(member, 70_000, at=now)))
    await tiers.review(database, settings, now)
    await hear(Consumer(make_reactions(settings), database), bought(purchase(member, 30_000, at=now)))
    assert await ledger.pool.fetchval("SELECT total FROM standings") == 700 + 300
    app = create_app(settings)
    async with running(app) as client:
        shown = (await client.get("/v1/tiers")).json()
    assert (shown["basis"], shown["period"], shown["currency"]) == ("points", "calendar", None)


async def test_a_birthday_is_given_once_a_year(
    consumer: Consumer, settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    from services.loyalty.earning.birthdays import give

    member, leap = uuid4(), uuid4()
    for who, born in ((member, "1990-06-15"), (leap, "1992-02-29")):
        new = registered(who).model_copy(update={"attributes": {"birthday": born}})
        await hear(consumer, new)
    june = datetime.fromisoformat("2027-06-15T08:00:00+00:00")
    assert [await give(database, settings, june + n * DAY) for n in (-1, 0, 1, 365, 366)] == [0, 1, 0, 0, 1]
    assert await ledger.balance(member) == 500 + 200
    february = datetime.fromisoformat("2027-02-28T08:00:00+00:00")
    assert await give(database, settings, february) == 1
    assert await ledger.balance(leap) == 600


async def test_members_who_are_one_have_one_birthday_and_who_takes_it_away_has_none(
    consumer: Consumer, settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    from services.loyalty.earning.birthdays import give

    one, two, three = uuid4(), uuid4(), uuid4()
    for who, born in ((one, "1990-06-15"), (two, "1990-06-15"), (three, "1990-06-15")):
        new = registered(who).model_copy(update={"attributes": {"birthday": born}})
        await hear(consumer, new)
    await hear(consumer, CustomerMerged(merge_id=new_id(), survivor_id=one, merged_id=two))
    await hear(consumer, CustomerUpdated(customer_id=three, attributes={"plan": "pro"}))
    await hear(consumer, CustomerUpdated(customer_id=three, attributes={"birthday": None}))
    june = datetime.fromisoformat("2027-06-15T08:00:00+00:00")
    assert [await give(database, settings, june + n * DAY) for n in range(3)] == [1, 0, 0]
    await hear(consumer, CustomerUpdated(customer_id=one, attributes={"birthday": "1990-06-13"}))
    assert await give(database, settings, june + DAY) == 0  # the day before the one that was given
    assert await ledger.balance(one) == 500 + 500 + 100
    assert await ledger.balance(three) == 500


async def test_merged_customers_count_as_one_and_as_two_again(consumer: Consumer, ledger: Ledger) -> None:
    one, two = uuid4(), uuid4()
    first, second = purchase(one, 400_000), purchase(two, 300_000, at=MORNING + DAY)
    await hear(consumer, bought(first, second))
    apart = await ledger.balance(one), await ledger.balance(two)
    assert apart == (300 + 900 + 4_000, 300 + 900 + 3_000)
    merge = {"merge_id": new_id(), "survivor_id": one, "merged_id": two}
    await hear(consumer, CustomerMerged(**merge))
    # The second of two purchases is no first one any more; together they reach silver.
    assert await ledger.balance(one) == 300 + 900 + 4_000 + 900 + 3_000
    assert (
        await ledger.pool.fetchval("SELECT tier_now FROM standings WHERE customer_id = $1", one) == "silver"
    )
    assert await ledger.pool.fetchval("SELECT count(*) FROM standings") == 1
    await hear(consumer, bought(purchase(two, 100_000, at=MORNING + 2 * DAY)))
    assert await ledger.balance(one) == 9_100 + 200 + 1_250
    await hear(consumer, returned(refund(second, 300_000)))
    await hear(consumer, CustomerUnmerged(**merge))
    held = dict(await ledger.pool.fetch("SELECT customer_id, total FROM standings"))
    assert held == {one: 400_000, two: 100_000}
    await ledger.must_be_sound()
