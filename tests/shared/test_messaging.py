"""Delivery, the same suite on both transports: at least once out, once in, nothing lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from fastapi import FastAPI

from shared.contracts import Event, decode
from shared.contracts.feedback import TicketOpened
from shared.contracts.sections import ProfileSection
from shared.contracts.subscriptions import SUBSCRIPTIONS
from shared.database import Database
from shared.housekeeping import tidy
from shared.messaging.bus import Bus, BusAway, Outgoing
from shared.messaging.local import LocalBus
from shared.messaging.rabbit import RabbitBus
from tests.conftest import MakeDatabase
from tests.support.apps import eventually, running
from tests.support.broker import own_prefix, rabbit
from tests.support.probe.app import PACKAGE, ProbeSettings, create_app


@pytest.fixture(params=["local", pytest.param("rabbit", marks=pytest.mark.broker)])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    made: Bus = LocalBus() if request.param == "local" else RabbitBus(rabbit(), prefix=own_prefix())
    await made.start()
    await eventually(lambda: made.connected)
    yield made
    await made.close()


@pytest.fixture
async def settings(fresh: MakeDatabase) -> ProbeSettings:
    return await fresh(ProbeSettings, PACKAGE, retry_base_s=0.02, relay_poll_s=0.1)  # type: ignore[return-value]


async def heard(app: FastAPI) -> list[UUID]:
    """The tickets whose reaction took effect, repeats included."""
    rows = await app.state.database.pool.fetch("SELECT customer_id FROM heard ORDER BY 1")
    return [UUID(str(row["customer_id"])) for row in rows]


async def open_tickets(client: httpx.AsyncClient, count: int) -> list[UUID]:
    tickets = sorted(uuid4() for _ in range(count))
    for ticket_id in tickets:
        assert (await client.post(f"/v1/tickets/{ticket_id}:open")).status_code == 200
    return tickets


def is_heard(app: FastAPI, tickets: list[UUID]) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return await heard(app) == tickets

    return condition


async def test_every_event_takes_effect_once_and_leaves_the_outbox(bus: Bus, settings: ProbeSettings) -> None:
    app = create_app(settings, bus)
    async with running(app) as client:
        tickets = await open_tickets(client, 25)
        await eventually(is_heard(app, tickets))
        pool = app.state.database.pool
        await eventually(lambda: _is_empty(pool, "outbox"))


async def _is_empty(pool: object, table: str) -> bool:
    return await pool.fetchval(f"SELECT count(*) FROM {table}") == 0  # type: ignore[attr-defined] # noqa: S608


async def test_a_repeated_event_takes_effect_once(bus: Bus, settings: ProbeSettings) -> None:
    app = create_app(settings, bus)
    async with running(app) as client:
        (first,) = await open_tickets(client, 1)
        await eventually(is_heard(app, [first]))
        event = Outgoing(uuid4(), "ticket.opened", _envelope(uuid4()))
        for _ in range(3):
            await bus.publish([event, event])
        await eventually(lambda: _count_heard(app, 2))
        last = await open_tickets(client, 1)
        await eventually(lambda: _contains(app, last[0]))
        assert len(await heard(app)) == 3


async def _count_heard(app: FastAPI, count: int) -> bool:
    return len(await heard(app)) == count


async def _contains(app: FastAPI, ticket_id: UUID) -> bool:
    return ticket_id in await heard(app)


def _envelope(ticket_id: UUID) -> str:
    from shared.contracts import encode

    event = TicketOpened(
        ticket_id=ticket_id,
        kind="complaint",
        category="other",
        severity="low",
        mood=0,
        status="new",
        channel="api",
        occurred_at="2026-03-01T10:00:00Z",
    )
    return encode(event, event_id=ticket_id, time=event.occurred_at, traceparent=None)


async def test_events_wait_for_a_consumer_that_starts_later(bus: Bus, settings: ProbeSettings) -> None:
    first = create_app(settings, bus)
    async with running(first) as client:
        bus.unsubscribe("profile.reactions", bus._subscribers["profile.reactions"][0])  # type: ignore[attr-defined]
        bus_groups(bus)
        tickets = await open_tickets(client, 5)
        assert await heard(first) == []
    second = create_app(settings, bus)
    async with running(second):
        await eventually(is_heard(second, tickets))


def bus_groups(bus: Bus) -> None:
    """On RabbitMQ every group's queue exists from the start; the local bus is told which groups do."""
    if isinstance(bus, LocalBus):
        bus._expected = frozenset(SUBSCRIPTIONS)


async def test_a_failing_event_is_tried_again_and_does_not_hold_up_others(
    bus: Bus, settings: ProbeSettings
) -> None:
    tries: dict[UUID, int] = {}
    bad: list[UUID] = []

    async def hook(event: Event[TicketOpened]) -> None:
        ticket_id = event.data.ticket_id
        tries[ticket_id] = tries.get(ticket_id, 0) + 1
        if ticket_id in bad and tries[ticket_id] < 4:
            raise ValueError("not yet")

    app = create_app(settings, bus, hook)
    async with running(app) as client:
        bad.append(UUID(int=0))
        tickets = [UUID(int=0), *await open_tickets(client, 5)]
        await client.post(f"/v1/tickets/{UUID(int=0)}:open")
        await eventually(is_heard(app, sorted(tickets)))
        assert tries[UUID(int=0)] == 4
        assert (await client.get("/internal/dead-letters")).json()["items"] == []


async def test_a_hopeless_event_ends_as_a_dead_letter_and_can_be_replayed(
    bus: Bus, settings: ProbeSettings
) -> None:
    broken = True

    async def hook(_: Event[TicketOpened]) -> None:
        if broken:
            raise ValueError("lilei@example.com cannot be read")

    app = create_app(settings, bus, hook)
    async with running(app) as client:
        tickets = await open_tickets(client, 1)

        async def dead() -> list[dict[str, object]]:
            items = (await client.get("/internal/dead-letters")).json()["items"]
            return [item for item in items if item["status"] == "dead"]

        (letter,) = await eventually(dead)
        assert letter["attempts"] == settings.reaction_attempts
        assert "lilei" not in str(letter)
        shown = (await client.get(f"/internal/dead-letters/{letter['id']}")).json()
        assert shown["envelope"]["data"]["ticket_id"] == str(tickets[0])
        assert "ValueError" in shown["traceback"]
        broken = False
        assert (await client.post(f"/internal/dead-letters/{letter['id']}/replay")).status_code == 202
        await eventually(is_heard(app, tickets))
        await eventually(lambda: _is_empty(app.state.database.pool, "dead_letters"))
        assert (await client.post(f"/internal/dead-letters/{letter['id']}/replay")).status_code == 404


async def test_an_unreadable_envelope_is_kept_as_dead(bus: Bus, settings: ProbeSettings) -> None:
    app = create_app(settings, bus)
    async with running(app) as client:
        await bus.publish([Outgoing(uuid4(), "ticket.opened", '{"type": "ticket.opened", "data": {}}')])

        async def dead() -> list[dict[str, object]]:
            return (await client.get("/internal/dead-letters")).json()["items"]

        (letter,) = await eventually(dead)
        assert (letter["type"], letter["status"]) == ("unreadable", "dead")


async def test_changes_become_snapshots_whose_last_is_the_newest(bus: Bus, settings: ProbeSettings) -> None:
    received: list[Event[ProfileSection]] = []
    stop = bus.listen(["section.profile"], lambda body: received.append(decode(body)))  # type: ignore[arg-type]
    if isinstance(bus, RabbitBus):
        await asyncio.sleep(0.3)  # a listener hears what is published once its own queue stands
    app = create_app(settings, bus)
    customer = uuid4()
    async with running(app) as client:
        for number in range(20):
            await client.put(f"/v1/things/{customer}", json={"name": f"n{number}"})

        def newest_is_last() -> bool:
            return bool(received) and max(received, key=lambda e: e.data.version).data.body == {"name": "n19"}

        await eventually(newest_is_last)
        await eventually(lambda: _is_empty(app.state.database.pool, "section_marks"))
        versions = [event.data.version for event in received]
        assert len(set(versions)) == len(versions) <= 20
    stop()


async def test_a_transport_that_is_away_delays_and_loses_nothing(settings: ProbeSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        with pytest.raises(BusAway):
            await bus.publish([])
        tickets = await open_tickets(client, 3)
        assert await heard(app) == []
        await bus.start()
        await eventually(is_heard(app, tickets))


async def test_a_batch_arrives_whole_and_in_order_but_for_what_nobody_hears(bus: Bus) -> None:
    envelopes = [str(number) * length for number, length in enumerate((1, 300_000, 0, 131_064, 7))]
    batch = [Outgoing(uuid4(), "ticket.opened", envelope) for envelope in envelopes]
    unheard = Outgoing(uuid4(), "ticket.forgotten", "{}")
    arrived: list[bytes] = []

    async def deliver(bodies: Sequence[bytes]) -> None:
        arrived.extend(bodies)

    bus.subscribe("profile.reactions", deliver, batch=2)
    safe = await bus.publish([*batch[:2], unheard, *batch[2:]])
    assert safe - {unheard.id} == {event.id for event in batch}
    assert unheard.id not in safe or isinstance(bus, LocalBus)  # a queue for it may be declared later
    await eventually(lambda: len(arrived) == len(batch))
    assert arrived == [envelope.encode() for envelope in envelopes]


async def test_the_trace_goes_through_the_broker(bus: Bus, settings: ProbeSettings) -> None:
    from shared.telemetry import current_traceparent

    seen: list[str | None] = []

    async def hook(_: Event[TicketOpened]) -> None:
        seen.append(current_traceparent())

    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with running(create_app(settings, bus, hook)) as client:
        await client.post(f"/v1/tickets/{uuid4()}:open", headers={"traceparent": trace})
        await eventually(lambda: seen)
    assert seen[0] is not None
    assert seen[0][3:35] == trace[3:35]


class Counting(LocalBus):
    """Remembers how many events came together."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    async def publish(self, batch: Sequence[Outgoing]) -> set[UUID]:
        self.batches.append(len(batch))
        return await super().publish(batch)


async def test_events_in_quick_succession_share_batches(settings: ProbeSettings) -> None:
    bus, rest_s = Counting(), 0.5
    await bus.start()
    app = create_app(settings.model_copy(update={"relay_rest_s": rest_s}), bus)
    async with running(app) as client:
        began = time.monotonic()
        tickets = await open_tickets(client, 20)
        await eventually(is_heard(app, tickets))
        assert sum(bus.batches) == 20
        assert len(bus.batches) <= (time.monotonic() - began) / rest_s + 1


async def test_events_written_by_sql_read_the_same(settings: ProbeSettings) -> None:
    bus = LocalBus()
    await bus.start()
    app = create_app(settings, bus)
    ticket_id = uuid4()
    data = orjson.loads(_envelope(ticket_id))["data"]
    async with running(app):
        await app.state.database.pool.execute(
            "SELECT outbox_emit('ticket.opened', NULL, $1::jsonb)", orjson.dumps(data).decode()
        )
        app.state.relay.wake()
        await eventually(is_heard(app, [ticket_id]))


async def test_inbox_partitions_are_made_ahead_and_keep_what_was_there(settings: ProbeSettings) -> None:
    bus = LocalBus()
    await bus.start()
    app = create_app(settings, bus)
    async with running(app) as client:
        pool = app.state.database.pool
        event = Outgoing(uuid4(), "ticket.opened", _envelope(uuid4()))
        await bus.publish([event])
        await tidy(app.state.database)
        await tidy(app.state.database)
        partitions = await pool.fetch("SELECT 1 FROM pg_inherits WHERE inhparent = 'inbox'::regclass")
        assert len(partitions) >= 4
        await bus.publish([event])
        tickets = await open_tickets(client, 1)
        await eventually(lambda: _contains(app, tickets[0]))
        assert len(await heard(app)) == 2


async def test_an_event_that_comes_while_a_partition_is_made_is_kept(settings: ProbeSettings) -> None:
    """It must not be routed to the default partition by what stood before, and refused by what stands now."""
    database = Database(settings)
    await database.open()
    pool = database.pool

    async def waiting(count: int) -> bool:
        return count == await pool.fetchval(
            """SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
               WHERE NOT granted AND datname = current_database()"""
        )

    claim = "INSERT INTO inbox (event_id, consumer) VALUES (uuid7(), 'a')"
    async with pool.acquire() as earlier:
        transaction = earlier.transaction()
        await transaction.start()
        await earlier.execute(claim)
        making = asyncio.create_task(tidy(database))
        await eventually(lambda: waiting(1))
        claiming = asyncio.create_task(pool.execute(claim))
        await eventually(lambda: waiting(2))
        await transaction.commit()
    await asyncio.gather(making, claiming)
    assert await pool.fetchval("SELECT count(*) FROM inbox") == 2
    assert await pool.fetchval("SELECT count(*) FROM inbox_other") == 0
    await database.close()
