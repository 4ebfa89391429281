"""Customers who are one, two again, or forgotten: no order of events matters."""

import asyncio
import random
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from services.scoring import due
from services.scoring.facts.families import Merge, joined, members_of, owner_of
from services.scoring.settings import ScoringSettings
from shared.contracts import Event, decode
from shared.contracts.erasure import ErasureCompleted
from shared.contracts.feedback import TicketBreached
from shared.contracts.handles import LineItem
from shared.contracts.loyalty import PointsEarned, ReferralCompleted, TierChanged
from shared.contracts.profile import (
    ConsentChanged,
    CustomerErased,
    CustomerRegistered,
    CustomerUpdated,
    PurchaseRecorded,
)
from shared.database import Database
from shared.ids import new_id
from tests.scoring.events import (
    answered,
    day,
    event,
    given_back,
    hear,
    merged,
    purchase,
    refund,
    ticket,
    unmerged,
)
from tests.scoring.facts.test_store import rebuild

TOLD = (
    "purchases", "refunds", "tickets", "survey_answers", "referrals", "registrations", "told_attributes",
    "told_consents", "told_standings",
)  # fmt: skip
STATE = (
    *TOLD, "purchase_lines", "customer_facts", "customer_scores", "owners", "customer_attributes", "consents",
    "loyalty_standings",
)  # fmt: skip

A, B, C, D = (UUID(int=n) for n in range(1, 5))


def test_owners_follow_from_the_merges_that_stand_whatever_their_order() -> None:
    chain = [Merge(new_id(), A, B), Merge(new_id(), B, C), Merge(new_id(), D, A)]
    for merges in permutations(chain):
        into = joined(merges)
        assert [owner_of(c, into) for c in (A, B, C, D)] == [D, D, D, D]
        assert members_of(A, into) == {A, B, C}
    # Undoings that are not heard yet: the newer of two merges counts, and a circle is cut at its oldest.
    assert joined([Merge(new_id(), A, B), Merge(new_id(), C, B)]) == {B: C}
    first, second = Merge(new_id(), A, B), Merge(new_id(), B, A)
    assert joined([first, second]) == joined([second, first]) == {A: B}


def life(customer: UUID, seed: int) -> list[Event[Any]]:
    """One event of each kind that is told of a customer, some twice."""
    chance = random.Random(seed)
    purchases = [
        purchase(
            customer, chance.randrange(150) / 3, chance.choice([500, 900]), chance.choice(["CNY", "EUR"])
        )
        for _ in range(4)
    ]
    lines = (LineItem(sku=f"sku-{seed}", category="kitchen", amount=500, cost=300),)
    bought = PurchaseRecorded(
        items=tuple(p.model_copy(update={"lines": lines, "channel": f"shop-{seed}"}) for p in purchases)
    )
    ticket_id = uuid4()
    return [
        event(CustomerRegistered(customer_id=customer, registered_at=day(seed), attributes={"plan": "pro"})),
        event(CustomerUpdated(customer_id=customer, attributes={"plan": f"plan-{seed}", "name": "Li Lei"}),
              day(seed + 5)),
        event(bought),
        given_back(refund(purchases[0], 2, on=60), refund(purchases[1], on=70)),
        ticket(ticket_id, customer, told=seed),
        ticket(ticket_id, customer, told=seed - 1, what=TicketBreached),
        answered(customer, 3 + seed, on=seed),
        event(ReferralCompleted(customer_id=customer, referral_id=uuid4(), referee_id=uuid4(),
                                purchase_id=uuid4(), points=1, occurred_at=day(seed))),
        event(ConsentChanged(customer_id=customer, purpose="marketing", channel="email",
                             status="granted" if seed % 2 else "withdrawn", occurred_at=day(seed))),
        event(TierChanged(customer_id=customer, from_tier="basic", to_tier=f"tier-{seed}", qualifying=1,
                          occurred_at=day(seed)), day(seed)),
        event(PointsEarned(customer_id=customer, transfer_id=uuid4(), points=5, balance=100 + seed,
                           reason="purchase", occurred_at=day(seed)), day(seed)),
    ]  # fmt: skip


async def state(database: Database) -> dict[str, list[str]]:
    """Everything that is kept, each row as text."""
    return {
        name: sorted(row[0] for row in await database.pool.fetch(f"SELECT t::text FROM {name} t"))  # noqa: S608
        for name in STATE
    }


async def clear(database: Database) -> None:
    await database.pool.execute(
        f"TRUNCATE {', '.join(TOLD)}, purchase_lines, owners, merges, customer_facts CASCADE"
    )
    await database.pool.execute("TRUNCATE customer_scores, section_marks, outbox")


async def test_no_order_of_lives_merges_and_undoings_matters(
    database: Database, settings: ScoringSettings
) -> None:
    customers = [uuid4() for _ in range(5)]
    a, b, c, d, e = customers
    into_a, into_b, late, undone = merged(a, b), merged(b, c), merged(d, a), merged(d, e)
    events = [
        *(one for n, customer in enumerate(customers, 1) for one in life(customer, n)),
        into_a, into_b, late, undone, unmerged(undone), unmerged(into_b),
    ]  # fmt: skip
    await hear(database, settings, *events)
    expected = await state(database)
    assert {row.split(",")[0].strip("(") for row in expected["customer_facts"]} == {str(x) for x in (c, d, e)}
    assert await rebuild(database, settings) == 0
    assert await state(database) == expected
    chance = random.Random(7)
    for _ in range(6):
        await clear(database)
        shuffled = events + chance.sample(events, 10)
        chance.shuffle(shuffled)
        while shuffled:
            count = chance.randint(1, 25)
            await hear(database, settings, *shuffled[:count])
            del shuffled[:count]
        assert await state(database) == expected


async def test_an_undone_merge_leaves_everything_as_it_was(
    database: Database, settings: ScoringSettings
) -> None:
    kept, other, nobody = uuid4(), uuid4(), uuid4()
    await hear(database, settings, *life(kept, 1), *life(other, 2))
    before = await state(database)
    merge, empty = merged(kept, other), merged(nobody, kept)
    await hear(database, settings, merge)
    (one,) = await database.pool.fetch("SELECT * FROM customer_facts")
    assert (one["customer_id"], one["purchases"], one["severe_tickets"], one["breaches"]) == (kept, 6, 2, 2)
    assert (one["tier"], one["points"]) == ("tier-2", 102)
    assert orjson.loads(one["channels"]) == {"shop-1": 3, "shop-2": 3}
    assert await database.pool.fetchval("SELECT value FROM customer_attributes") == '"plan-2"'
    assert await database.pool.fetchval("SELECT status FROM consents") == "withdrawn"
    assert other in {row[0] for row in await database.pool.fetch("SELECT customer_id FROM section_marks")}
    await hear(database, settings, empty)
    assert await database.pool.fetchval("SELECT customer_id FROM customer_facts") == nobody
    await hear(database, settings, unmerged(merge))
    await hear(database, settings, unmerged(empty))
    assert await state(database) == before


@pytest.mark.parametrize("late", [False, True])
async def test_who_is_forgotten_leaves_nothing_and_nothing_more_is_written(
    database: Database, settings: ScoringSettings, late: bool
) -> None:
    gone, part, other = uuid4(), uuid4(), uuid4()
    await hear(database, settings, *life(gone, 1), *life(part, 2), *life(other, 3))
    await database.pool.execute(
        """WITH e AS (INSERT INTO experiments (id, design) VALUES (gen_random_uuid(), '{}') RETURNING id)
           INSERT INTO exposures (experiment_id, customer_id, arm, exposed_at)
           SELECT id, unnest($1::uuid[]), 1, now() FROM e""",
        [gone, part],
    )
    merge = merged(gone, part)
    erasure = event(CustomerErased(customer_id=gone, erasure_id=uuid4()))
    for one in (erasure, merge) if late else (merge, erasure):
        await hear(database, settings, one)
    rows = [row["envelope"] for row in await database.pool.fetch(
        "SELECT envelope FROM outbox WHERE type = 'erasure.completed'")]  # fmt: skip
    (receipt,) = [decode(row) for row in rows]
    assert isinstance(receipt.data, ErasureCompleted)
    assert (receipt.source, receipt.data.erasure_id) == ("/scoring", erasure.data.erasure_id)
    assert (receipt.data.service, receipt.data.counts["purchases"]) == ("scoring", 4 if late else 8)
    await hear(database, settings, *life(gone, 4), *life(part, 5), unmerged(merge), merged(other, gone))
    for name, rows in (await state(database)).items():
        theirs = [row for row in rows if str(gone) in row or str(part) in row]
        assert theirs == (
            [f"({who},)" for who in sorted([str(gone), str(part)])] if name == "owners" else []
        ), name
    assert await database.pool.fetchval("SELECT count(*) FROM customer_facts") == 1
    tables = await database.pool.fetch(
        """SELECT table_name FROM information_schema.columns WHERE column_name = 'customer_id'
           AND table_name NOT LIKE '%_due' AND table_name NOT IN ('owners', 'section_marks')"""
    )
    for (name,) in tables:
        query = f"SELECT count(*) FROM {name} WHERE customer_id = ANY ($1)"  # noqa: S608
        assert await database.pool.fetchval(query, [gone, part]) == 0, name


async def test_a_part_may_be_forgotten_and_the_rest_stays(
    database: Database, settings: ScoringSettings
) -> None:
    whole, part = uuid4(), uuid4()
    await hear(database, settings, *life(whole, 1))
    before = await state(database)
    await hear(database, settings, *life(part, 2), merged(whole, part))
    await hear(database, settings, event(CustomerErased(customer_id=part, erasure_id=uuid4())))
    after = await state(database)
    assert after.pop("owners") == [f"({part},)"]
    assert after == {name: rows for name, rows in before.items() if name != "owners"}


async def test_a_job_at_work_on_a_customer_does_not_hold_up_their_erasure(
    database: Database, settings: ScoringSettings
) -> None:
    await hear(database, settings, event(PurchaseRecorded(items=[purchase(A, on=1)])))
    async with database.pool.acquire() as job, job.transaction():
        assert await due.take(job, "churn", 10) == [A]
        async with asyncio.timeout(5):
            await hear(database, settings, event(CustomerErased(customer_id=A, erasure_id=uuid4())))
    assert not await database.pool.fetchval("SELECT count(*) FROM due")
