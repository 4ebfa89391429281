"""The next action of customers: chosen in the background, recommended once, answered, in the view."""

from typing import Any
from uuid import UUID, uuid4

import orjson

from services.scoring import due
from services.scoring.actions import store
from services.scoring.actions.service import choose_on
from services.scoring.app import create_app
from services.scoring.settings import ScoringSettings
from services.scoring.value_index.service import index_on
from shared.contracts import Event
from shared.contracts.profile import ConsentChanged, CustomerErased, CustomerMerged
from shared.database import Database
from shared.ids import new_id
from shared.messaging.local import LocalBus
from tests.scoring.events import answered, bought, day, event, hear, purchase, registered, table, ticket
from tests.support.apps import running


async def settle(database: Database, settings: ScoringSettings) -> None:
    """Let the index and the next actions be chosen for all who are due."""
    while await index_on(database, settings) or await choose_on(database, settings):
        pass


async def recommended(database: Database) -> list[dict[str, Any]]:
    rows = await database.pool.fetch(
        "SELECT envelope FROM outbox WHERE type = 'action.recommended' ORDER BY id"
    )
    return [orjson.loads(row["envelope"])["data"] for row in rows]


def consent(customer: UUID, channel: str, status: Any, on: float) -> Event[Any]:
    return event(
        ConsentChanged(
            customer_id=customer, purpose="marketing", channel=channel, status=status, occurred_at=day(on)
        ),
        day(on),
    )


async def note(database: Database, customer: UUID) -> None:
    async with database.pool.acquire() as connection:
        await due.note(connection, ["actions"], [customer])


async def test_the_best_action_is_recommended_once_until_it_is_another(
    database: Database, settings: ScoringSettings
) -> None:
    customer, other = uuid4(), uuid4()
    complaint = uuid4()
    await hear(
        database,
        settings,
        bought(purchase(customer, 10, 90_000), purchase(other, 10, 90_000)),
        answered(customer, 10),
    )
    await settle(database, settings)
    assert await recommended(database) == []  # a promoter, but they never consented to marketing

    await hear(database, settings, consent(customer, "any", "granted", 20))
    await settle(database, settings)
    (first,) = await recommended(database)
    assert (first["action"], first["channel"], first["offer"], first["arm"]) == (
        "ask_for_referral",
        "email",
        "referral",
        "treated",
    )
    assert first["reasons"] == [
        "they would recommend us with 10 of 10",
        "0.02 (assumed) of 90000 at stake, past spend standing for lifetime value, less 100",
    ]
    await note(database, customer)
    await store.note_measured(database.pool, "apology", 0.1, "E-1")  # everyone is chosen for anew
    await settle(database, settings)
    assert len(await recommended(database)) == 1

    await hear(database, settings, ticket(complaint, customer))
    await settle(database, settings)
    first, second = await recommended(database)
    assert (second["action"], second["offer"]) == ("apology", None)
    contacts = await table(database, "action_contacts")
    assert [(c["action"], c["status"], c["gain"]) for c in sorted(contacts, key=lambda c: c["at"])] == [
        ("ask_for_referral", "replaced", 1_700),
        ("apology", "recommended", 8_500),
    ]
    (row,) = await table(database, "next_actions")
    assert [one["action"] for one in orjson.loads(row["actions"])] == ["apology"]
    # On a full day the best is shown and not recommended.
    full = settings.model_copy(update={"actions_per_day": 2})
    await hear(database, settings, ticket(uuid4(), other))
    await settle(database, full)
    assert len(await recommended(database)) == 2
    assert len(await table(database, "next_actions")) == 2
    # The latest word counts, for one channel or for any.
    solved = ticket(complaint, customer, told=1, status="resolved", mood=0.1)
    await hear(database, settings, solved, consent(customer, "email", "withdrawn", 30))
    await note(database, other)
    await settle(database, settings)
    assert [row["customer_id"] for row in await table(database, "next_actions")] == [other]
    assert [data["customer_id"] for data in await recommended(database)][2:] == [str(other)]
    # Who is merged brings their contacts along, and who is forgotten leaves none.
    merged = CustomerMerged(survivor_id=customer, merged_id=other, merge_id=new_id(), occurred_at=day(40))
    await hear(database, settings, event(merged))
    contacts = await table(database, "action_contacts")
    assert {row["customer_id"] for row in contacts} == {customer}
    assert sorted(row["status"] for row in contacts) == ["recommended", "replaced", "replaced"]
    erased = CustomerErased(customer_id=customer, erasure_id=new_id(), occurred_at=day(41))
    await hear(database, settings, event(erased))
    assert await table(database, "action_contacts") == []


async def test_what_was_done_is_recorded_and_counts(settings: ScoringSettings) -> None:
    bus = LocalBus()
    app = create_app(settings, bus)
    async with running(app) as client:
        database, customer = app.state.database, uuid4()
        await hear(
            database,
            settings,
            registered(customer),
            bought(purchase(customer, 10, 90_000)),
            ticket(uuid4(), customer),
        )
        path = f"/v1/actions/{customer}"
        shown = (await client.get(path)).json()
        assert (shown["best"], shown["currency"]) == ("apology", "CNY")
        by_kind = {one["action"]: one for one in shown["candidates"]}
        assert list(by_kind)[:2] == ["apology", "nothing"]
        assert (by_kind["apology"]["gain"], by_kind["apology"]["value_at_stake"]) == (6_700, 90_000)
        assert "no consent to marketing by email is known" in by_kind["ask_for_referral"]["reasons"]

        body, key = {"action": "apology"}, {"Idempotency-Key": "one"}
        assert (await client.post(f"{path}:accept", json=body)).status_code == 428
        done = await client.post(f"{path}:accept", json=body, headers=key)
        assert (done.status_code, done.json()["status"]) == (201, "accepted")
        again = await client.post(f"{path}:accept", json=body, headers=key)
        assert (again.json(), again.headers["Idempotency-Replayed"]) == (done.json(), "true")
        after = (await client.get(path)).json()
        assert after["best"] == "nothing"
        apology = next(one for one in after["candidates"] if one["action"] == "apology")
        assert "the last time was less than 30 days ago" in apology["reasons"]
        call = {"action": "call"}
        await client.post(f"{path}:accept", json=call, headers={"Idempotency-Key": "two"})
        capped = (await client.get(path)).json()["candidates"][-1]["reasons"]
        assert "2 contacts in 30 days are the most" in capped

        for refused, status in (("nothing", 422), ("parade", 422)):
            answer = await client.post(
                f"{path}:decline", json={"action": refused}, headers={"Idempotency-Key": refused}
            )
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (status, "/action")
        nobody = f"/v1/actions/{uuid4()}"
        assert (await client.get(nobody)).status_code == 404
        assert (
            await client.post(f"{nobody}:accept", json=body, headers={"Idempotency-Key": "x"})
        ).status_code == 404

        listed = await client.get("/v1/actions")
        assert [item["kind"] for item in listed.json()["items"]][:2] == ["call", "apology"]
        tag = {"If-Match": listed.headers["ETag"]}
        assert (await client.put("/v1/actions/call", json={"cost": 1})).status_code == 428
        assert (await client.put("/v1/actions/parade", json={}, headers=tag)).status_code == 404
        bad = await client.put("/v1/actions/call", json={"assumed_uplift": 1.5}, headers=tag)
        assert bad.json()["errors"][0]["pointer"] == "/assumed_uplift"
        changed = await client.put("/v1/actions/call", json={"cost": 900, "currency": "USD"}, headers=tag)
        assert (changed.json()["items"][0]["cost"], changed.json()["items"][0]["channel"]) == (900, "phone")
        assert (await client.put("/v1/actions/call", json={}, headers=tag)).status_code == 412
    await bus.close()
