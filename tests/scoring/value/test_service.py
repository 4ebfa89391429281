"""Keeping scores true in the database: cuts, new days, new settings, walks."""

import asyncio
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import orjson

from services.scoring.facts import walks
from services.scoring.section import SECTION, build
from services.scoring.settings import ScoringSettings
from services.scoring.value.service import keep_true
from shared.contracts import decode
from shared.contracts.scoring import ScoreUpdated
from shared.database import Database
from tests.scoring.conftest import AS_OF
from tests.scoring.events import bought, hear, purchase, registered, table
from tests.scoring.models.serving import serve


async def settle(database: Database, settings: ScoringSettings) -> None:
    """Let the background job run until nothing is left to do."""
    for _ in range(50):
        await keep_true(database, settings)
        left = await database.pool.fetchval(
            """SELECT (SELECT count(*) FROM walks WHERE finished_at IS NULL)
                      + (SELECT count(*) FROM fact_changes)"""
        )
        if left == 0:
            return
    raise AssertionError("the background job does not come to rest")


async def sections(database: Database) -> dict[UUID, str]:
    async with database.pool.acquire() as connection:
        ids = [row["customer_id"] for row in await connection.fetch(SECTION.customers, UUID(int=0), 1000)]
        return await build(connection, ids)


async def section(database: Database, customer: UUID) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads((await sections(database))[customer])
    return body


async def some_buyers(database: Database, settings: ScoringSettings, count: int = 10) -> list[UUID]:
    """Customer n has bought on n + 1 days for 1,000 × (n + 1) each time, the last one longest ago."""
    customers = sorted(uuid4() for _ in range(count))
    for n, customer in enumerate(customers):
        await hear(
            database, settings, bought(*(purchase(customer, 3 * k, 1000 * (n + 1)) for k in range(n + 1)))
        )
    return customers


async def marks(database: Database) -> list[UUID]:
    rows = await database.pool.fetch("DELETE FROM section_marks RETURNING customer_id")
    return sorted(row["customer_id"] for row in rows)


async def emitted(database: Database) -> list[dict[str, Any]]:
    rows = await database.pool.fetch("DELETE FROM outbox RETURNING envelope")
    return [orjson.loads(row["envelope"]) for row in rows]


async def test_cuts_score_everyone_once_there_are_enough_buyers(
    database: Database, settings: ScoringSettings
) -> None:
    customers = await some_buyers(database, settings)
    body = await section(database, customers[0])
    assert body["rfm"]["score"] is None
    assert body["unknown"][0]["what"] == "rfm"
    await settle(database, settings)
    first, last = await section(database, customers[0]), await section(database, customers[-1])
    assert first["rfm"]["frequency"] == 1
    assert (first["rfm"]["frequency_score"], first["rfm"]["monetary_score"]) == (1, 1)
    assert (last["rfm"]["frequency_score"], last["rfm"]["monetary_score"]) == (5, 5)
    assert last["rfm"]["recency_score"] == 5
    assert (first["segment"], last["segment"]) == ("lost", "champions")


async def test_too_few_buyers_are_not_cut(database: Database, settings: ScoringSettings) -> None:
    (customer, *_) = await some_buyers(database, settings, 4)
    await settle(database, settings)
    body = await section(database, customer)
    assert (body["segment"], body["rfm"]["score"]) == (None, None)
    assert "too few customers" in body["unknown"][0]["why"]


async def test_the_section_says_everything_that_is_known(
    database: Database, settings: ScoringSettings
) -> None:
    customers = await some_buyers(database, settings)
    await serve(database)
    await settle(database, settings)
    body = await section(database, customers[5])
    assert body["as_of"] == str(AS_OF)
    assert body["rfm"]["monetary"] == {"amount": 36000, "currency": "CNY"}
    assert 0 < body["p_alive"] < 1
    assert body["expected_purchases"]["horizon_days"] == 365
    assert body["clv"]["currency"] == "CNY"
    assert body["clv"]["amount"] > 0
    assert body["models"] == {
        "purchases": "bg_nbd/1",
        "spend": "gamma_gamma/1",
        "window": {"from": "2026-07-01", "to": "2026-07-01"},
    }
    assert body["facts"]["purchases"] == 6
    assert body["unknown"] == []


async def test_a_purchase_marks_and_tells_only_when_something_changed(
    database: Database, settings: ScoringSettings
) -> None:
    customers = await some_buyers(database, settings)
    await serve(database)
    await settle(database, settings)
    await marks(database)
    await emitted(database)

    again = purchase(customers[2], 30)
    await hear(database, settings, bought(again))
    assert await marks(database) == [customers[2]]
    (told,) = await emitted(database)
    assert isinstance(decode(orjson.dumps(told)).data, ScoreUpdated)
    assert (told["type"], told["subject"]) == ("score.updated", str(customers[2]))
    assert told["data"]["model_version"] == "bg_nbd/1+gamma_gamma/1"
    assert told["data"]["reasons"] == ["purchase.recorded"]
    assert told["data"]["as_of"] == f"{AS_OF}T00:00:00Z"
    assert told["data"]["values"]["p_alive"] == (await section(database, customers[2]))["p_alive"]

    await hear(database, settings, bought(again))
    await hear(database, settings, registered(customers[3]))
    assert await marks(database) == [customers[3]]  # registered_at is new, no score is
    assert await emitted(database) == []


async def test_a_new_day_scores_everyone_as_of_it(database: Database, settings: ScoringSettings) -> None:
    customers = await some_buyers(database, settings)
    later = purchase(customers[0], 190, 5000)  # 2026-07-10
    await hear(database, settings, bought(later))
    await serve(database)
    await settle(database, settings)
    before = await section(database, customers[0])
    assert before["facts"]["purchases"] == 1
    assert before["unknown"][0] == {
        "what": "purchases",
        "why": "purchases after the observation date are left out",
    }
    tomorrow = settings.model_copy(update={"as_of": date(2026, 7, 11)})
    await settle(database, tomorrow)
    after = await section(database, customers[0])
    assert after["as_of"] == "2026-07-11"
    assert after["facts"]["purchases"] == 2
    assert after["rfm"]["recency_days"] == 1
    assert (await section(database, customers[1]))["as_of"] == "2026-07-11"
    days = await database.pool.fetch(
        "SELECT as_of, segment FROM rfm_history WHERE customer_id = $1 ORDER BY as_of", customers[0]
    )
    assert [(str(row["as_of"]), row["segment"]) for row in days] == [
        (str(AS_OF), before["segment"]), ("2026-07-11", after["segment"]),
    ]  # fmt: skip


async def test_going_back_to_an_earlier_date_leaves_out_what_came_later(
    database: Database, settings: ScoringSettings
) -> None:
    customers = await some_buyers(database, settings)
    await settle(database, settings)
    await settle(database, settings.model_copy(update={"as_of": date(2026, 1, 3)}))
    facts = await table(database, "customer_facts")
    assert {row["days"] for row in facts} == {1}
    await settle(database, settings)
    assert (await section(database, customers[9]))["rfm"]["frequency"] == 10


async def test_a_new_horizon_scores_everyone_anew(database: Database, settings: ScoringSettings) -> None:
    customers = await some_buyers(database, settings)
    await serve(database)
    await settle(database, settings)
    year = (await section(database, customers[4]))["expected_purchases"]["value"]
    await settle(database, settings.model_copy(update={"horizon_days": 30}))
    month = (await section(database, customers[4]))["expected_purchases"]
    assert month["horizon_days"] == 30
    assert month["value"] < year


async def test_a_rebuild_gives_the_same_bytes(database: Database, settings: ScoringSettings) -> None:
    await some_buyers(database, settings)
    await serve(database)
    await settle(database, settings)
    before = await sections(database)
    await marks(database)
    await emitted(database)
    async with database.pool.acquire() as connection, connection.transaction():
        await walks.ask(connection, "rebuild", "test")
    await settle(database, settings)
    assert await sections(database) == before
    assert await marks(database) == []
    assert await emitted(database) == []


async def test_walks_that_wait_are_joined(database: Database, settings: ScoringSettings) -> None:
    await some_buyers(database, settings)
    async with database.pool.acquire() as connection:
        first = await walks.ask(connection, "rescore", "one")
        assert await walks.ask(connection, "rescore", "two") == first
        assert await walks.ask(connection, "rebuild", "three") != first
    small = settings.model_copy(update={"chunk": 3})
    await settle(database, small)
    rows = await database.pool.fetch("SELECT kind, customers, finished_at FROM walks")
    assert {row["customers"] for row in rows} == {10}


async def test_events_during_a_walk_are_not_lost(database: Database, settings: ScoringSettings) -> None:
    customers = await some_buyers(database, settings)
    await serve(database)
    small = settings.model_copy(update={"chunk": 2})
    await asyncio.gather(
        settle(database, small),
        *(hear(database, settings, bought(purchase(c, 100 + n))) for n, c in enumerate(customers)),
    )
    await settle(database, settings)
    live = await table(database, "customer_scores")
    await database.pool.execute("UPDATE customer_scores SET p_alive = 0")
    async with database.pool.acquire() as connection, connection.transaction():
        await walks.ask(connection, "rebuild", "test")
    await settle(database, settings)
    assert await table(database, "customer_scores") == live


async def test_cuts_wait_until_facts_rest(database: Database, settings: ScoringSettings) -> None:
    await settle(database, settings)
    patient = settings.model_copy(update={"cuts_quiet_s": 0.2, "cuts_wait_s": 60.0})
    await some_buyers(database, settings)
    await keep_true(database, patient)
    assert await database.pool.fetchval("SELECT count(*) FROM rfm_cuts") == 0
    await asyncio.sleep(0.2)
    await keep_true(database, patient)
    assert await database.pool.fetchval("SELECT count(*) FROM rfm_cuts") == 1
    impatient = settings.model_copy(update={"cuts_quiet_s": 60.0, "cuts_wait_s": 0.0})
    await some_buyers(database, settings)
    await keep_true(database, impatient)
    assert await database.pool.fetchval("SELECT count(*) FROM fact_changes") == 0
