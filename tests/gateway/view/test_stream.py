"""Live changes as a browser gets them: what comes, what a reader that returns has missed, who is dropped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import UUID

import orjson
import pytest
import pytest_asyncio

from gateway.settings import GatewaySettings
from gateway.view import stream
from gateway.view.position import parse
from shared.contracts.feedback import TicketOpened
from shared.ids import new_id
from shared.problems import Malformed
from tests.gateway.view.conftest import WEBHOOK_KEY
from tests.gateway.view.made import linked, profile_body, purchases, section, ticket
from tests.gateway.view.serving import Gateway, running_gateway
from tests.support.apps import eventually
from tests.support.databases import drop_database, make_database

pytestmark = pytest.mark.asyncio(loop_scope="module")
STREAMS = 6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Gateway]:
    settings = await make_database(GatewaySettings, "gateway", webhook_secret_key=WEBHOOK_KEY)
    assert isinstance(settings, GatewaySettings)
    limits = {"streams": STREAMS, "stream_queue": 16, "stream_stall_s": 0.3, "stream_heartbeat_s": 0.2}
    async with running_gateway(settings, **limits) as gateway:
        yield gateway
    await drop_database(settings)


class Reader:
    """A browser's EventSource, as far as it matters here."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.last_id = ""
        self.heartbeats = 0

    async def next(self) -> tuple[str, Any]:
        """The next event's name and data."""
        async with asyncio.timeout(10):
            fields: dict[str, str] = {}
            async for line in self._lines:
                if line.startswith(":"):
                    self.heartbeats += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    self.last_id = fields.get("id", self.last_id)
                    return fields["event"], orjson.loads(fields["data"])
        raise EOFError

    async def many(self, count: int) -> list[tuple[str, Any]]:
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def reading(gateway: Gateway, customer: UUID, last_id: str | None = None) -> AsyncIterator[Reader]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with gateway.client.stream("GET", f"/v1/customers/{customer}/stream", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        async with aclosing(answer.aiter_lines()) as lines:
            yield Reader(lines)


async def known(gateway: Gateway) -> UUID:
    customer = new_id()
    await gateway.tell(section("profile", customer, 1, profile_body()))
    return customer


async def test_changes_come_as_they_happen(gateway: Gateway) -> None:
    customer = await known(gateway)
    async with reading(gateway, customer) as reader:
        assert await reader.next() == ("ready", {})
        await gateway.tell(section("loyalty", customer, 7, {"balance": 5}))
        assert await reader.next() == (
            "section",
            {"section": "loyalty", "version": 7, "as_of": "2026-03-01T12:00:00Z", "body": {"balance": 5}},
        )
        bought = purchases(new_id(), customer)
        await gateway.tell(bought)
        name, line = await reader.next()
        assert (name, line["id"], line["type"]) == ("timeline", f"{bought.id}.1", "purchase.recorded")


async def test_nothing_of_before_and_nothing_of_others_comes(gateway: Gateway) -> None:
    customer = await known(gateway)
    await gateway.tell(purchases(customer))
    async with reading(gateway, customer) as reader:
        await reader.next()
        await gateway.tell(purchases(await known(gateway)), section("profile", customer, 1, profile_body()))
        await gateway.tell(section("profile", customer, 2, None))
        assert (await reader.next())[1]["body"] is None


async def test_a_reader_that_returns_gets_what_it_missed_and_nothing_twice(gateway: Gateway) -> None:
    customer = await known(gateway)
    async with reading(gateway, customer) as reader:
        await reader.next()
        await gateway.tell(purchases(customer))
        await reader.next()
    for version in (2, 3):
        await gateway.tell(section("scoring", customer, version, {"v": version}))
    missed = purchases(*[customer] * 40)  # more than the queue holds
    await gateway.tell(missed)
    async with reading(gateway, customer, reader.last_id) as returned:
        assert await returned.next() == ("ready", {})
        assert (await returned.next())[1]["body"] == {"v": 3}
        lines = await returned.many(40)
        assert [line["summary"]["amount"] for _, line in lines] == [1000 + n for n in range(40)]
        await gateway.tell(section("loyalty", customer, 9, {}))
        assert (await returned.next())[1]["section"] == "loyalty"


async def test_the_first_id_is_enough_to_come_back_with(gateway: Gateway) -> None:
    customer = await known(gateway)
    async with reading(gateway, customer) as reader:
        await reader.next()
    await gateway.tell(purchases(customer))
    async with reading(gateway, customer, reader.last_id) as returned:
        assert [name for name, _ in await returned.many(2)] == ["ready", "timeline"]


async def test_breaking_off_anywhere_loses_nothing(gateway: Gateway) -> None:
    """A reader that comes back after each event, while others write, ends up with every line once."""
    customer = await known(gateway)
    seen: list[str] = []
    async with reading(gateway, customer) as reader:
        await reader.next()
    writing = asyncio.gather(*(gateway.tell(purchases(customer, customer)) for _ in range(15)))
    last_id = reader.last_id
    while len(seen) < 30:
        async with reading(gateway, customer, last_id) as reader:
            await reader.next()
            seen.append((await reader.next())[1]["id"])
            last_id = reader.last_id
    await writing
    assert len(set(seen)) == 30


async def test_a_ticket_that_is_linked_later_comes_then(gateway: Gateway) -> None:
    customer, ticket_id = await known(gateway), new_id()
    async with reading(gateway, customer) as reader:
        await reader.next()
        await gateway.tell(ticket(TicketOpened, ticket_id, None))
        await gateway.tell(linked(ticket_id, customer))
        types = {line["type"] for _, line in await reader.many(2)}
        assert types == {"ticket.opened", "ticket.linked"}


async def test_a_change_committed_after_its_notice_is_found(gateway: Gateway) -> None:
    """The notice is only a hint: here it comes before the change is there."""
    customer = await known(gateway)
    async with reading(gateway, customer) as reader:
        await reader.next()
        hub = gateway.app.state.streams
        hub.notice(
            orjson.dumps(
                {"id": "x", "type": "section.loyalty", "data": {"customer_id": customer, "version": 4}}
            )
        )
        await asyncio.sleep(0.05)
        await gateway.app.state.database.pool.execute(
            "INSERT INTO view_sections VALUES ($1, 'loyalty', 4, now(), '{}')", customer
        )
        assert (await reader.next())[1]["version"] == 4


async def test_a_change_without_any_notice_is_found_by_the_next_heartbeat(gateway: Gateway) -> None:
    customer = await known(gateway)
    async with reading(gateway, customer) as reader:
        await reader.next()
        await gateway.app.state.database.pool.execute(
            "INSERT INTO view_sections VALUES ($1, 'loyalty', 4, now(), '{}')", customer
        )
        assert (await reader.next())[1]["version"] == 4


async def test_a_quiet_stream_shows_that_it_is_alive(gateway: Gateway) -> None:
    customer = await known(gateway)
    async with reading(gateway, customer) as reader:
        await reader.next()
        waiting = asyncio.create_task(reader.next())
        await eventually(lambda: reader.heartbeats >= 2)
        await gateway.tell(purchases(customer))
        await waiting


async def test_a_reader_that_takes_nothing_is_dropped_with_a_reason_and_can_return(gateway: Gateway) -> None:
    """Its events wait in a bounded queue; after the stall limit it is told why it is let go."""
    customer = await known(gateway)
    hub = gateway.app.state.streams
    now = parse("0.1.0.0.0")
    following = hub.follow(hub.reader(customer, now))
    first = await anext(following)
    await gateway.tell(purchases(*[customer] * 60))
    await eventually(lambda: any(r.full_since for r in hub._readers[customer]))
    (reader,) = hub._readers[customer]
    assert len(reader._queue) <= 16
    await eventually(lambda: reader.dropped)
    # What happens from now on must not be sent: its ids would hide that something was left out.
    await gateway.tell(section("loyalty", customer, 9, {}))
    await gateway.tell(purchases(customer))
    last = await anext(following)
    assert (last.event, last.data, last.id) == ("dropped", '{"reason":"slow_reader"}', None)
    with pytest.raises(StopAsyncIteration):
        await anext(following)
    async with reading(gateway, customer, first.id) as returned:
        names = [name for name, _ in await returned.many(63)]
        assert (names.count("timeline"), names.count("section")) == (61, 1)


async def test_even_a_busy_stream_ends_when_its_life_is_over(gateway: Gateway) -> None:
    customer = await known(gateway)
    hub = gateway.app.state.streams
    reader = hub.reader(customer, parse("0.1.0.0.0"))
    following = hub.follow(reader)
    await anext(following)
    await gateway.tell(purchases(*[customer] * 10))
    await eventually(lambda: reader.at.line == 10)
    assert await reader.next(until=0) is None
    assert reader.dropped == "lifetime"
    await following.aclose()


async def test_a_connection_that_is_never_read_is_closed(gateway: Gateway) -> None:
    """When the network takes no more, not even the reason can be sent."""
    customer = await known(gateway)
    host, port = gateway.client.base_url.host, gateway.client.base_url.port
    _, writer = await asyncio.open_connection(host, port, limit=1024)
    path, key = f"/v1/customers/{customer}/stream", gateway.client.headers["authorization"]
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n".encode())
    await eventually(lambda: len(gateway.app.state.streams) == 1)
    for version in range(1, 20):
        await gateway.tell(section("loyalty", customer, version, {"much": "x" * 1_000_000}))
        await asyncio.sleep(0.02)
    await eventually(lambda: len(gateway.app.state.streams) == 0)
    writer.close()


async def test_a_stream_too_many_is_refused(gateway: Gateway) -> None:
    customer = await known(gateway)
    await eventually(lambda: len(gateway.app.state.streams) == 0)
    opened = [reading(gateway, customer) for _ in range(STREAMS)]
    for each in opened:
        await (await each.__aenter__()).next()
    answer = await gateway.client.get(f"/v1/customers/{customer}/stream")
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    for each in opened:
        await each.__aexit__(None, None, None)
    await eventually(lambda: len(gateway.app.state.streams) == 0)


async def test_a_stream_ends_when_its_life_is_over(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.app.state.streams._settings, "stream_life_s", 0.1)
    async with reading(gateway, await known(gateway)) as reader:
        assert await reader.many(2) == [("ready", {}), ("dropped", {"reason": "lifetime"})]


async def test_a_shutdown_is_announced(settings: GatewaySettings) -> None:
    async with running_gateway(settings) as ending:
        customer = await known(ending)
        async with reading(ending, customer) as reader:
            assert await reader.next() == ("ready", {})
            await ending.app.state.streams.close()
            assert await reader.next() == ("dropped", {"reason": "shutdown"})


async def test_strangers_and_made_up_ids_are_refused(gateway: Gateway) -> None:
    assert (await gateway.client.get(f"/v1/customers/{new_id()}/stream")).status_code == 404
    customer = await known(gateway)
    answer = await gateway.client.get(
        f"/v1/customers/{customer}/stream", headers={"Last-Event-ID": "made-up"}
    )
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed")


@pytest.mark.parametrize("event_id", ["", "1.2.3.4", "1.2.3.4.5.6", "1.2.3.4.x", "1.2.3.4.-5", "1.2.3.4.²"])
async def test_only_ids_of_ours_are_read(event_id: str) -> None:
    with pytest.raises(Malformed):
        parse(event_id)


async def test_an_id_from_before_a_restore_begins_where_the_view_stands(gateway: Gateway) -> None:
    customer = await known(gateway)
    async with reading(gateway, customer, "900.900.900.900.900") as reader:
        await reader.next()
        assert reader.last_id == "0.1.0.0.0"
        await gateway.tell(section("profile", customer, 2, {}))
        assert (await reader.next())[1]["version"] == 2


async def test_a_notice_that_cannot_be_read_harms_nobody(gateway: Gateway) -> None:
    customer = await known(gateway)
    async with reading(gateway, customer) as reader:
        await reader.next()
        for notice in (b"?", b"{}", b'{"id":"x","type":"a.b","data":{"customer_id":"?"}}', b"[]"):
            gateway.app.state.streams.notice(notice)
        await gateway.tell(purchases(customer))
        assert (await reader.next())[0] == "timeline"


async def test_the_hub_hears_everything_that_it_shows() -> None:
    assert {"section.profile", "ticket.opened", "points.earned"} <= set(stream.TYPES)
