"""Facts from events: each rule alone, then that order, repetition and batches never matter."""

import random
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.scoring.facts import walks
from services.scoring.facts.histories import Purchased, read_log
from services.scoring.facts.store import read_histories, read_spending
from services.scoring.settings import ScoringSettings
from services.scoring.value.service import walk_on
from shared.contracts import Event
from shared.contracts.feedback import TicketLinked, TicketReopened, TicketResolved, TicketUpdated
from shared.database import Database
from tests.scoring.conftest import AS_OF
from tests.scoring.events import (
    answered,
    bought,
    day,
    given_back,
    hear,
    purchase,
    refund,
    registered,
    table,
    ticket,
)


async def facts_of(database: Database, customer: UUID) -> dict[str, Any]:
    (row,) = [row for row in await table(database, "customer_facts") if row["customer_id"] == customer]
    return row


async def rebuild(database: Database, settings: ScoringSettings) -> int:
    """Walk over everyone; returns how many facts differed."""
    async with database.pool.acquire() as connection, connection.transaction():
        walk_id = await walks.ask(connection, "rebuild", "test")
    while await walk_on(database, settings, AS_OF):
        pass
    async with database.pool.acquire() as connection:
        progress = await walks.show(connection, walk_id, "rebuild")
    assert progress is not None
    assert progress.finished_at is not None
    return progress.changed


async def test_purchases_of_one_day_are_one_transaction(
    database: Database, settings: ScoringSettings
) -> None:
    customer = uuid4()
    await hear(
        database,
        settings,
        bought(purchase(customer, 0, 100), purchase(customer, 0.2, 50), purchase(customer, 10, 300)),
    )
    facts = await facts_of(database, customer)
    assert (facts["purchases"], facts["days"]) == (3, 2)
    assert (facts["first_on"], facts["last_on"]) == (day(0).date(), day(10).date())
    assert (facts["currency"], facts["spend"], facts["repeat_days"], facts["repeat_spend"]) == (
        "CNY",
        450,
        1,
        300,
    )


async def test_a_purchase_given_back_in_full_never_happened(
    database: Database, settings: ScoringSettings
) -> None:
    customer = uuid4()
    first, second = purchase(customer, 0, 500), purchase(customer, 9, 700)
    await hear(database, settings, bought(first, second))
    await hear(database, settings, given_back(refund(second, 300, on=10), refund(second, 400, on=12)))
    facts = await facts_of(database, customer)
    assert (facts["purchases"], facts["days"], facts["spend"], facts["refunds"]) == (1, 1, 500, 2)
    assert facts["last_on"] == day(0).date()


async def test_a_purchase_given_back_in_part_is_worth_the_rest(
    database: Database, settings: ScoringSettings
) -> None:
    customer = uuid4()
    first, second = purchase(customer, 0, 500), purchase(customer, 9, 700)
    await hear(database, settings, given_back(refund(second, 200, on=10)), bought(first, second))
    facts = await facts_of(database, customer)
    assert (facts["days"], facts["spend"], facts["repeat_spend"], facts["refunds"]) == (2, 1000, 500, 1)


async def test_a_free_purchase_counts(database: Database, settings: ScoringSettings) -> None:
    customer = uuid4()
    await hear(database, settings, bought(purchase(customer, 0, 100), purchase(customer, 5, 0)))
    facts = await facts_of(database, customer)
    assert (facts["days"], facts["spend"]) == (2, 100)


async def test_money_is_kept_apart_by_currency(database: Database, settings: ScoringSettings) -> None:
    customer = uuid4()
    await hear(
        database,
        settings,
        bought(
            purchase(customer, 0, 100, "USD"),
            purchase(customer, 5, 900, "CNY"),
            purchase(customer, 7, 800, "CNY"),
            purchase(customer, 9, 70, "EUR"),
        ),
    )
    facts = await facts_of(database, customer)
    assert (facts["currency"], facts["spend"], facts["currency_days"]) == ("CNY", 1700, 2)
    assert (facts["repeat_days"], facts["repeat_spend"], facts["days"]) == (2, 1700, 4)
    assert facts["other_spend"] == (
        '[{"days": 1, "amount": 70, "currency": "EUR"}, {"days": 1, "amount": 100, "currency": "USD"}]'
    )


async def test_what_lies_after_the_observation_date_is_left_out_and_counted(
    database: Database, settings: ScoringSettings
) -> None:
    customer = uuid4()
    early = purchase(customer, 0, 100)
    await hear(
        database,
        settings,
        bought(early, purchase(customer, 300, 900), purchase(customer, 400, 900)),
        given_back(refund(early, 100, on=200)),
    )
    facts = await facts_of(database, customer)
    assert (facts["purchases"], facts["spend"], facts["refunds"], facts["later"]) == (1, 100, 0, 2)
    assert facts["next_on"] == day(200).date()


async def test_a_customer_without_purchases_has_facts(database: Database, settings: ScoringSettings) -> None:
    customer = uuid4()
    await hear(database, settings, registered(customer, on=3))
    facts = await facts_of(database, customer)
    assert (facts["registered_at"], facts["purchases"], facts["first_on"]) == (day(3), 0, None)


async def test_a_ticket_stands_as_it_was_last_told(database: Database, settings: ScoringSettings) -> None:
    customer, ticket_id = uuid4(), uuid4()
    told = [
        ticket(ticket_id, None, told=1, mood=-0.8),
        ticket(ticket_id, customer, told=2, mood=-0.8, what=TicketLinked),
        ticket(ticket_id, customer, told=3, mood=-0.2, status="resolved", what=TicketResolved),
    ]
    for one in reversed(told):
        await hear(database, settings, one)
    await hear(database, settings, ticket(uuid4(), customer, kind="praise", mood=0.6))
    facts = await facts_of(database, customer)
    assert (facts["tickets"], facts["open_tickets"], facts["complaints"]) == (2, 1, 1)
    assert float(facts["mood"]) == 0.2


async def test_a_ticket_that_moves_to_another_customer_leaves_the_first(
    database: Database, settings: ScoringSettings
) -> None:
    one, other, ticket_id = uuid4(), uuid4(), uuid4()
    await hear(database, settings, ticket(ticket_id, one, told=1))
    await hear(database, settings, ticket(ticket_id, other, told=2, what=TicketUpdated))
    assert (await facts_of(database, one))["tickets"] == 0
    assert (await facts_of(database, other))["tickets"] == 1


async def test_the_last_answer_of_each_survey_stands(database: Database, settings: ScoringSettings) -> None:
    customer = uuid4()
    await hear(
        database,
        settings,
        answered(customer, 9, on=5),
        answered(customer, 3, on=2),
        answered(customer, 5, kind="csat"),
    )
    facts = await facts_of(database, customer)
    assert (facts["nps"], facts["csat"], facts["ces"]) == (9, 5, None)


def story(seed: int) -> list[Event[Any]]:
    """Months of eight customers' lives, as events in the order in which they happened."""
    rng = random.Random(seed)
    customers = [UUID(int=rng.getrandbits(128), version=4) for _ in range(8)]
    events = [registered(customer, on=rng.randrange(5)) for customer in customers]
    purchases = [
        purchase(
            rng.choice(customers),
            rng.randrange(220) / 2,
            rng.choice([0, 50, 999]),
            rng.choice(["CNY", "EUR"]),
        )
        for _ in range(40)
    ]
    for start in range(0, 40, 4):
        events.append(bought(*purchases[start : start + 4]))
    for some in rng.sample(purchases, 14):
        events.append(
            given_back(refund(some, rng.choice([some.amount, some.amount // 3]), on=rng.randrange(240)))
        )
    for _ in range(6):
        ticket_id, customer = uuid4(), rng.choice(customers)
        events.append(ticket(ticket_id, None, told=1, mood=rng.uniform(-1, 1)))
        events.append(ticket(ticket_id, customer, told=2, what=TicketLinked))
        events.append(ticket(ticket_id, customer, told=3, status="resolved", what=TicketResolved))
        if rng.random() < 0.5:
            events.append(ticket(ticket_id, customer, told=4, status="open", what=TicketReopened))
    events += [answered(rng.choice(customers), rng.randrange(11), on=rng.randrange(9)) for _ in range(10)]
    return events


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_with_repetitions_comes_out_as_a_rebuild(
    database: Database, settings: ScoringSettings, seed: int
) -> None:
    events = story(seed)
    await hear(database, settings, *events)
    expected, scores = await table(database, "customer_facts"), await table(database, "customer_scores")
    assert await rebuild(database, settings) == 0
    assert await table(database, "customer_facts") == expected

    await database.pool.execute(
        "TRUNCATE purchases, refunds, tickets, survey_answers, customer_facts, customer_scores CASCADE"
    )
    rng = random.Random(seed)
    shuffled = events + rng.sample(events, len(events) // 2)
    rng.shuffle(shuffled)
    while shuffled:
        count = rng.randrange(1, 6)
        await hear(database, settings, *shuffled[:count])
        del shuffled[:count]
    assert await table(database, "customer_facts") == expected
    assert await table(database, "customer_scores") == scores
    assert await rebuild(database, settings) == 0


async def test_a_rebuild_mends_facts_that_were_lost(database: Database, settings: ScoringSettings) -> None:
    await hear(database, settings, *story(1))
    expected = await table(database, "customer_facts")
    lost, spoiled = expected[0]["customer_id"], expected[1]["customer_id"]
    await database.pool.execute("DELETE FROM customer_facts WHERE customer_id = $1", lost)
    await database.pool.execute("UPDATE customer_facts SET days = 99 WHERE customer_id = $1", spoiled)
    assert await rebuild(database, settings) == 2
    assert await table(database, "customer_facts") == expected


async def test_facts_give_the_histories_that_the_literature_would(
    database: Database, settings: ScoringSettings
) -> None:
    rng = random.Random(4)
    customers = [uuid4() for _ in range(30)]
    purchases = [
        purchase(rng.choice(customers), rng.randrange(300) * 0.7, rng.randrange(1, 5000)) for _ in range(150)
    ]
    await hear(database, settings, bought(*purchases))
    log = [Purchased(p.customer_id, p.occurred_at.date(), float(p.amount)) for p in purchases]
    histories, spending = read_log(log, end=AS_OF, unit="week")
    async with database.pool.acquire() as connection:
        read = await read_histories(connection, AS_OF, "week", 1000)
        spent = await read_spending(connection, "CNY", 1000)
    for name in ("frequency", "recency", "age", "customers"):
        assert getattr(read, name) == pytest.approx(getattr(histories, name))
    assert sorted(spent.mean) == pytest.approx(sorted(spending.mean))


async def test_two_writers_of_one_customer_do_not_lose_each_other(
    database: Database, settings: ScoringSettings
) -> None:
    import asyncio

    customer = uuid4()
    purchases = [purchase(customer, n, 10) for n in range(20)]
    await asyncio.gather(*(hear(database, settings, bought(p)) for p in purchases))
    facts = await facts_of(database, customer)
    assert (facts["purchases"], facts["days"], facts["spend"]) == (20, 20, 200)
    assert facts["last_on"] == date(2026, 1, 20)
