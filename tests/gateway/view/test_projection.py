"""The view after snapshots that came in any order, often, and side by side."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.view import store
from gateway.view.identities import digest
from gateway.view.projection import project_sections
from shared.contracts import Event
from shared.database import Database
from shared.ids import new_id
from tests.gateway.view.made import profile_body, section

InLoop = Callable[[Coroutine[Any, Any, None]], None]
MAILS = ("a@x.org", "b@x.org", "c@x.org")


async def tell(database: Database, *events: Event[Any]) -> None:
    async with database.pool.acquire() as connection, connection.transaction():
        await project_sections(connection, list(events))


async def kept(database: Database) -> dict[tuple[UUID, str], tuple[int, str | None]]:
    rows = await database.pool.fetch("SELECT * FROM view_sections")
    return {(row["customer_id"], row["section"]): (row["version"], row["body"]) for row in rows}


async def test_a_snapshot_is_kept_as_compact_text_in_the_producers_order(database: Database) -> None:
    customer = new_id()
    await tell(database, section("loyalty", customer, 3, {"balance": 120, "a": [1.5, None, "金"]}))
    assert await kept(database) == {(customer, "loyalty"): (3, '{"balance":120,"a":[1.5,null,"金"]}')}


async def test_an_older_snapshot_never_replaces_a_newer_one(database: Database) -> None:
    customer = new_id()
    await tell(database, section("scoring", customer, 9, {"v": 9}))
    await tell(database, section("scoring", customer, 8, {"v": 8}), section("scoring", customer, 9, {"v": 9}))
    assert await kept(database) == {(customer, "scoring"): (9, '{"v":9}')}


async def test_a_tombstone_keeps_an_old_snapshot_from_bringing_the_customer_back(database: Database) -> None:
    customer = new_id()
    await tell(database, section("profile", customer, 5, profile_body("x", ("email", MAILS[0], ""))))
    await tell(database, section("profile", customer, 7, None))
    await tell(database, section("profile", customer, 6, profile_body("y", ("email", MAILS[0], ""))))
    assert await kept(database) == {(customer, "profile"): (7, None)}
    assert await database.pool.fetchval("SELECT count(*) FROM view_identities") == 0


async def test_a_handle_that_moved_belongs_to_the_newest_profile(database: Database) -> None:
    old, new = new_id(), new_id()
    holding = profile_body("x", ("email", "A@X.org", ""))
    handle = digest("email", "a@x.org")
    # The new holder's snapshot overtakes the one in which the old holder lost the handle.
    await tell(database, section("profile", new, 11, holding), section("profile", old, 4, holding))
    found = await store.find(database.pool, handle)
    assert found is not None
    assert found[0] == new
    await tell(database, section("profile", old, 10, profile_body("x")))
    assert await database.pool.fetchval("SELECT count(*) FROM view_identities") == 1


async def test_a_body_whose_identities_cannot_be_read_is_kept_all_the_same(database: Database) -> None:
    customer = new_id()
    strange = {"identities": ["?", {"kind": 1}, {"kind": "phone", "value": "12"}, None]}
    await tell(database, section("profile", customer, 1, strange))
    assert (customer, "profile") in await kept(database)


snapshots = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["profile", "loyalty"]),
    st.integers(1, 6),
)


async def test_any_order_any_batches_any_repetition_give_the_newest_state(
    database: Database, in_loop: InLoop
) -> None:
    """Whatever arrives, twice or out of order, in concurrent batches, the highest versions are what stays."""

    async def check(arrivals: list[tuple[int, str, int]], cuts: int, seed: int) -> None:
        customers = sorted(new_id() for _ in range(3))
        chance = random.Random(seed)
        # One body for each version: a version is given once.
        bodies: dict[tuple[int, str, int], dict[str, Any] | None] = {}
        for who, name, version in arrivals:
            mails = [("email", mail, "") for mail in MAILS if chance.random() < 0.4]
            body = profile_body(f"v{version}", *mails) if name == "profile" else {"v": version}
            bodies.setdefault((who, name, version), body if chance.random() < 0.8 else None)
        events = [section(n, customers[w], v, bodies[w, n, v]) for w, n, v in arrivals]
        events += chance.sample(events, len(events) // 2)
        chance.shuffle(events)
        batches = [events[start::cuts] for start in range(cuts)]
        await asyncio.gather(*(tell(database, *batch) for batch in batches if batch))

        rows = await kept(database)
        for who, name in {(w, n) for w, n, _ in arrivals}:
            newest = max(v for w, n, v in arrivals if (w, n) == (who, name))
            version, body = rows[customers[who], name]
            assert version == newest
            assert (body is None) == (bodies[who, name, newest] is None)
        for who, customer in enumerate(customers):
            versions = [v for w, n, v in arrivals if (w, n) == (who, "profile")]
            last = bodies[who, "profile", max(versions)] if versions else None
            expected = {digest("email", i["value"]) for i in last["identities"]} if last else set()
            stored = await database.pool.fetch(
                "SELECT handle FROM view_identities WHERE customer_id = $1", customer
            )
            assert {row["handle"] for row in stored} == expected

    @settings(max_examples=80, deadline=None)
    @given(st.lists(snapshots, min_size=1, max_size=25), st.integers(1, 4), st.integers(0, 2**32))
    def holds(arrivals: list[tuple[int, str, int]], cuts: int, seed: int) -> None:
        in_loop(check(arrivals, cuts, seed))

    await asyncio.to_thread(holds)
