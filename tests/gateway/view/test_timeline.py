"""The journey after events that came in any order, often, and side by side."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.view import timeline
from gateway.view.lines import lines_of
from shared.contracts import Event
from shared.contracts.feedback import TicketOpened, TicketUpdated
from shared.contracts.scoring import ActionRecommended, ChurnRiskRaised, SegmentChanged
from shared.database import Database
from shared.ids import new_id
from tests.gateway.view.made import NOON, event, linked, purchases, resolved, ticket

InLoop = Callable[[Coroutine[Any, Any, None]], None]


async def tell(database: Database, *events: Event[Any]) -> None:
    async with database.pool.acquire() as connection, connection.transaction():
        await timeline.write_lines(connection, list(events))


async def journey(database: Database, customer_id: UUID) -> list[asyncpg.Record]:
    return await timeline.read_page(
        database.pool, customer_id, since=None, until=None, types=None, after=None, limit=200
    )


async def test_each_item_of_a_batched_event_is_a_line_of_its_customer(database: Database) -> None:
    one, other = new_id(), new_id()
    bought = purchases(one, other, one)
    await tell(database, bought)
    lines = [orjson.loads(timeline.render(row)) for row in await journey(database, one)]
    assert [line["id"] for line in lines] == [f"{bought.id}.2", str(bought.id)]
    assert [line["summary"]["amount"] for line in lines] == [1002, 1000]
    assert len(await journey(database, other)) == 1


async def test_a_repeated_event_leaves_one_line(database: Database) -> None:
    customer = new_id()
    bought = purchases(customer)
    await tell(database, bought, bought)
    await tell(database, bought)
    assert len(await journey(database, customer)) == 1


async def test_a_ticket_without_a_customer_gets_its_line_when_it_is_linked(database: Database) -> None:
    ticket_id, customer = new_id(), new_id()
    await tell(database, ticket(TicketOpened, ticket_id, None))
    await tell(database, ticket(TicketUpdated, ticket_id, None))
    assert await database.pool.fetchval("SELECT count(*) FROM timeline") == 0
    await tell(database, linked(ticket_id, customer))
    types = {row["type"] for row in await journey(database, customer)}
    assert types == {"ticket.opened", "ticket.updated", "ticket.linked"}
    assert await database.pool.fetchval("SELECT count(*) FROM timeline_waiting") == 0


async def test_a_resolution_that_overtakes_the_ticket_still_tells_whose_it_is(database: Database) -> None:
    ticket_id, customer = new_id(), new_id()
    await tell(database, resolved(ticket_id, customer))
    await tell(database, ticket(TicketOpened, ticket_id, None))
    assert {row["type"] for row in await journey(database, customer)} == {
        "identity.resolved",
        "ticket.opened",
    }


async def test_lines_of_tickets_name_no_contact(database: Database) -> None:
    ticket_id, customer = new_id(), new_id()
    await tell(database, ticket(TicketOpened, ticket_id, customer), resolved(ticket_id, customer))
    for row in await journey(database, customer):
        assert "secret" not in row["summary"]


async def test_a_long_summary_is_shortened_to_its_small_fields(database: Database) -> None:
    from shared.contracts.handles import Activity
    from shared.contracts.profile import ActivityRecorded
    from tests.gateway.view.made import NOON

    customer = new_id()
    visit = Activity(
        activity_id=new_id(),
        customer_id=customer,
        kind="visit",
        occurred_at=NOON,
        details={"page": "x" * 10_000},
    )
    await tell(database, event(ActivityRecorded(items=(visit,))))
    (row,) = await journey(database, customer)
    summary = orjson.loads(row["summary"])
    assert summary == {"activity_id": str(visit.activity_id), "kind": "visit", "shortened": True}


async def test_every_line_is_written_once_whatever_the_order_and_positions_have_no_twin(
    database: Database, in_loop: InLoop
) -> None:
    """Openings, links, resolutions and purchases, repeated and shuffled, in batches side by side."""

    async def check(tickets: int, buys: list[tuple[int, ...]], cuts: int, seed: int) -> None:
        chance = random.Random(seed)
        customers = [new_id() for _ in range(3)]
        events: list[Event[Any]] = [purchases(*(customers[i] for i in buy)) for buy in buys]
        expected = {(e.id, i) for e in events for i in range(len(e.data.items))}
        for _ in range(tickets):
            ticket_id, owner = new_id(), chance.choice(customers)
            tells = chance.choice([linked, resolved])
            story = [ticket(TicketOpened, ticket_id, None), tells(ticket_id, owner)]
            story += [ticket(TicketUpdated, ticket_id, chance.choice([None, owner]), minute=2)]
            expected |= {(e.id, 0) for e in story}
            events += story
        events += chance.sample(events, len(events) // 2)
        chance.shuffle(events)
        batches = [events[start::cuts] for start in range(cuts)]
        await asyncio.gather(*(tell(database, *batch) for batch in batches if batch))

        rows = await database.pool.fetch("SELECT * FROM timeline WHERE customer_id = ANY($1)", customers)
        assert {(row["event_id"], row["item"]) for row in rows} == expected
        assert len(rows) == len(expected)
        heads = dict(await database.pool.fetch("SELECT * FROM timeline_heads"))
        for row in rows:
            assert 1 <= row["position"] <= heads[row["customer_id"]]

    buys = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), max_size=5)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 4), buys, st.integers(1, 4), st.integers(0, 2**32))
    def holds(tickets: int, buys: list[tuple[int, ...]], cuts: int, seed: int) -> None:
        in_loop(check(tickets, buys, cuts, seed))

    await asyncio.to_thread(holds)


def test_a_recommended_action_is_a_line_that_says_why() -> None:
    recommended = ActionRecommended(
        customer_id=new_id(),
        action="apology",
        channel="email",
        reasons=("a complaint is open",),
        expires_at=NOON,
    )
    (line,) = lines_of(event(recommended))
    assert line.customer_id == recommended.customer_id
    assert orjson.loads(line.summary) == {
        "action": "apology",
        "channel": "email",
        "arm": "treated",
        "reasons": ["a complaint is open"],
        "expires_at": "2026-03-01T12:00:00Z",
    }


def test_a_raised_risk_is_a_line_with_its_reasons() -> None:
    raised = ChurnRiskRaised(
        customer_id=new_id(),
        model_version="logistic/2",
        risk=0.83,
        threshold=0.5,
        reasons=("contract is monthly: raises the risk",),
        as_of=NOON,
    )
    (line,) = lines_of(event(raised))
    assert (line.customer_id, line.type) == (raised.customer_id, "churn.risk_raised")
    assert orjson.loads(line.summary) == {
        "model_version": "logistic/2",
        "as_of": "2026-03-01T12:00:00Z",
        "risk": 0.83,
        "threshold": 0.5,
        "reasons": ["contract is monthly: raises the risk"],
    }


def test_a_change_of_segments_is_a_line_that_names_them() -> None:
    changed = SegmentChanged(customer_id=new_id(), kind="rule", entered=("vip",), as_of=NOON)
    (line,) = lines_of(event(changed))
    assert (line.customer_id, line.type, line.occurred_at) == (changed.customer_id, "segment.changed", NOON)
    assert orjson.loads(line.summary) == {
        "kind": "rule",
        "entered": ["vip"],
        "left": [],
        "as_of": "2026-03-01T12:00:00Z",
    }


async def test_whoever_has_seen_a_position_has_seen_all_before_it(database: Database) -> None:
    """A reader that follows positions while many write at once misses no line."""
    customer = new_id()
    writing = [asyncio.create_task(tell(database, purchases(customer, customer))) for _ in range(60)]
    seen: set[tuple[UUID, int]] = set()
    position = 0
    while True:
        done = all(task.done() for task in writing)
        rows = await database.pool.fetch(
            "SELECT * FROM timeline WHERE customer_id = $1 AND position > $2 ORDER BY position LIMIT 7",
            customer,
            position,
        )
        for row in rows:
            position = row["position"]
            seen.add((row["event_id"], row["item"]))
        if done and not rows:
            break
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    assert len(seen) == 120


async def test_pages_follow_one_another_without_gap_or_overlap(database: Database) -> None:
    customer = new_id()
    for minute in range(3):
        await tell(database, purchases(customer, customer, customer, minute=minute))
    seen, after = [], None
    while rows := await timeline.read_page(
        database.pool, customer, since=None, until=None, types=["purchase.recorded"], after=after, limit=2
    ):
        seen += [(row["occurred_at"], row["event_id"], row["item"]) for row in rows]
        after = seen[-1]
    assert len(seen) == 9
    assert seen == sorted(seen, reverse=True)
