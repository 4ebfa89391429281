"""Erasure: nothing that loyalty keeps leads from the points to the customer, in no kind of text."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx
import pytest

from services.loyalty.app import create_app
from services.loyalty.earning import birthdays
from services.loyalty.reactions import make_reactions
from services.loyalty.referrals.service import complete
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.contracts.feedback import SurveyAnswered, TicketResolved
from shared.contracts.handles import Activity
from shared.contracts.profile import ActivityRecorded, CustomerErased, CustomerMerged
from shared.database import Database
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from tests.loyalty.earning.test_reactions import bought, hear, purchase, refund, registered, returned
from tests.loyalty.points import Ledger
from tests.loyalty.test_routes import is_problem, post
from tests.support.apps import running

DAY = timedelta(days=1)
# Kept for moments, or two days (infra/decisions/0008).
PASSING = {"outbox", "section_marks", "idempotency_keys"}


@pytest.fixture
def consumer(settings: LoyaltySettings, database: Database) -> Consumer:
    return Consumer(make_reactions(settings), database)


async def named_in(ledger: Ledger, customer_id: UUID) -> set[str]:
    """Tables of which some column, read as text, holds the id: with dashes, without, or as bytes."""
    tables = await ledger.pool.fetch(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    found = set()
    for name in {row["name"] for row in tables} - PASSING:
        rows = await ledger.pool.fetch(f"SELECT lower(t::text) AS line FROM {name} AS t")  # noqa: S608
        if any(customer_id.hex in row["line"].replace("-", "") for row in rows):
            found.add(name)
    return found


async def lived(client: httpx.AsyncClient, consumer: Consumer, member: UUID) -> None:
    """Does everything that a member can do by events and by hand."""
    now = utc_now()
    born = {"birthday": f"1990-{now:%m-%d}"}
    item = purchase(member, 600_000, at=now - DAY)
    ticket = {"ticket_id": new_id(), "kind": "idea", "category": "app", "severity": "low", "mood": 0.5}
    survey = {"survey": "nps", "kind": "nps", "score": 9}
    visit = Activity(activity_id=new_id(), customer_id=member, kind="visit", occurred_at=now)
    await hear(
        consumer,
        registered(member).model_copy(update={"attributes": born}),
        bought(item),
        returned(refund(item, 50)),
        ActivityRecorded(items=(visit,)),
        SurveyAnswered(answer_id=new_id(), customer_id=member, occurred_at=now, **survey),
        TicketResolved(**ticket, customer_id=member, status="resolved", channel="mail", occurred_at=now),
    )
    path = f"/v1/loyalty/{member}"
    for what in ("earnings", "adjustments", "redemptions", "holds"):
        answer = await post(client, f"{path}/{what}", {"points": 5, "reason": "by hand"})
        assert answer.status_code == 201, answer.text


async def bring(client: httpx.AsyncClient, consumer: Consumer, member: UUID, friend: UUID) -> str:
    """Has a member bring a friend, who buys; the code."""
    code: str = (await client.post("/v1/referrals", json={"customer_id": str(member), "device": "d"})).json()[
        "code"
    ]
    joined = await client.post(f"/v1/referrals/{code}/joins", json={"customer_id": str(friend)})
    assert joined.status_code == 201, joined.text
    await hear(consumer, bought(purchase(friend, 10_000, at=utc_now() + DAY)))
    return code


async def test_an_erased_customer_is_named_nowhere_in_no_kind_of_text(
    consumer: Consumer, settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    member, friend, other, now = uuid4(), uuid4(), uuid4(), utc_now()
    async with running(create_app(settings)) as client:
        await lived(client, consumer, member)
        await lived(client, consumer, other)
        code = await bring(client, consumer, member, friend)
    await birthdays.give(database, settings, now)
    await complete(database, settings, now + 20 * DAY)
    merged: dict[str, Any] = {"merge_id": new_id(), "survivor_id": member, "merged_id": other}
    await hear(consumer, CustomerMerged(**merged))
    assert await named_in(ledger, member) >= {"accounts", "deeds", "birthdays", "referral_codes"}
    rows = await ledger.pool.fetch("SELECT idempotency_key FROM transfers")
    keys = [row["idempotency_key"] for row in rows]
    assert sum(key.startswith("birthday/") for key in keys) == 2
    assert sum(key.startswith(("referral/", "welcome/")) for key in keys) == 2
    derived = {uuid5(who, f"birthday {now.year}").hex for who in (member, other)}
    assert not [key for key in keys if any(digest in key.replace("-", "") for digest in derived)]

    for who in (member, friend):
        await hear(consumer, CustomerErased(customer_id=who, erasure_id=new_id()))
    for who in (member, other, friend):
        assert await named_in(ledger, who) == set()
    await ledger.must_be_sound()
    async with running(create_app(settings)) as client:
        joined = await client.post(f"/v1/referrals/{code}/joins", json={"customer_id": str(uuid4())})
    assert is_problem(joined, 404, "unknown-referral-code")


async def test_what_is_told_again_of_a_sign_up_gives_nothing_however_customers_were_merged_or_erased(
    consumer: Consumer, ledger: Ledger
) -> None:
    one, two = uuid4(), uuid4()
    await hear(consumer, registered(one), registered(one))
    await hear(consumer, registered(one), registered(two))
    assert [await ledger.balance(one), await ledger.balance(two)] == [500, 500]
    merged: dict[str, Any] = {"merge_id": new_id(), "survivor_id": one, "merged_id": two}
    await hear(consumer, CustomerMerged(**merged))
    await hear(consumer, registered(one), registered(two))
    assert await ledger.balance(one) == 1000
    assert await ledger.count("deeds") == 2


async def test_a_sign_up_that_an_earlier_version_named_by_the_customer_stays_the_only_one(
    consumer: Consumer, ledger: Ledger
) -> None:
    member = uuid4()
    await hear(consumer, registered(member))
    await ledger.pool.execute("UPDATE deeds SET id = customer_id")
    await hear(consumer, registered(member))
    assert await ledger.balance(member) == 500
    await hear(consumer, CustomerErased(customer_id=member, erasure_id=new_id()))
    assert await named_in(ledger, member) == set()


async def test_an_erasure_by_an_old_id_reaches_everybody_who_is_one_with_it(
    consumer: Consumer, ledger: Ledger
) -> None:
    one, two = uuid4(), uuid4()
    await hear(consumer, registered(one), registered(two), bought(purchase(one), purchase(two)))
    await hear(consumer, CustomerMerged(merge_id=new_id(), survivor_id=one, merged_id=two))
    await hear(consumer, CustomerErased(customer_id=two, erasure_id=new_id()))
    assert await named_in(ledger, one) | await named_in(ledger, two) == set()
    await ledger.must_be_sound()


async def test_what_comes_after_an_erasure_is_not_written_down(consumer: Consumer, ledger: Ledger) -> None:
    member, other, late = uuid4(), uuid4(), uuid4()
    item = purchase(member)
    born = registered(member).model_copy(update={"attributes": {"birthday": "1990-06-15"}})
    await hear(consumer, registered(late), bought(purchase(late)))
    await hear(consumer, CustomerErased(customer_id=member, erasure_id=new_id()))
    await hear(consumer, born, bought(item, purchase(other)), returned(refund(item, 100)))
    await hear(consumer, CustomerMerged(merge_id=new_id(), survivor_id=member, merged_id=late))
    await hear(consumer, CustomerMerged(merge_id=new_id(), survivor_id=other, merged_id=member))
    for who in (member, late):
        assert await named_in(ledger, who) == set()
    assert await ledger.balance(other) == 129
    await ledger.must_be_sound()


async def test_an_erasure_beside_purchases_leaves_nothing(
    settings: LoyaltySettings, database: Database, ledger: Ledger
) -> None:
    """Two replicas: whoever waits for the other knows afterwards what it did."""
    quick = settings.model_copy(update={"retry_base_s": 0.01})
    one, two = (Consumer(make_reactions(quick), database) for _ in range(2))
    members = [uuid4() for _ in range(20)]
    for n, member in enumerate(members):
        if n % 2:
            await hear(one, registered(member))
        await asyncio.gather(
            hear(one, bought(purchase(member))),
            hear(two, CustomerErased(customer_id=member, erasure_id=new_id())),
        )
    await ledger.pool.execute("UPDATE dead_letters SET next_attempt_at = now()")
    await one.retry_due()
    assert await ledger.count("dead_letters") == 0
    for member in members:
        assert await named_in(ledger, member) == set()
    await ledger.must_be_sound()
