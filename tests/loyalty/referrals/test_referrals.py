"""Referrals: a tenth of the friend's first purchase after the return period; abuse is refused by its name."""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.loyalty.app import create_app
from services.loyalty.reactions import make_reactions
from services.loyalty.referrals.rules import Facts, Patience, ending, next_look
from services.loyalty.referrals.service import complete
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.contracts.profile import CustomerMerged, CustomerUnmerged
from shared.database import Database
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from tests.loyalty.earning.test_reactions import bought, hear, purchase, refund, registered, returned
from tests.loyalty.points import MORNING, Ledger
from tests.loyalty.test_routes import is_problem
from tests.support.apps import client_of, running

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("bought", "kept", "after", "end"),
    [
        (None, 0, 1, "waits"),
        (None, 0, 365, "never bought"),
        (366, 100, 400, "never bought"),
        (-1, 100, 30, "bought before"),
        (2, 100, 15, "waits"),
        (2, 100, 16, "completed"),
        (2, 0, 16, "returned"),
    ],
)
def test_what_becomes_of_a_referral(bought: int | None, kept: int, after: int, end: str) -> None:
    patience = Patience(to_buy=365 * DAY, to_return=14 * DAY)
    facts = Facts(
        MORNING, alone=False, bought_at=None if bought is None else MORNING + bought * DAY, kept=kept
    )
    assert ending(facts, MORNING + after * DAY, patience) == end
    if end == "waits":
        assert ending(facts, next_look(facts, patience), patience) != "waits"
    assert ending(replace(facts, alone=True), MORNING + after * DAY, patience) == "self-referral"


@pytest.fixture
def consumer(settings: LoyaltySettings, database: Database) -> Consumer:
    return Consumer(make_reactions(settings), database)


async def a_code(
    client: httpx.AsyncClient, consumer: Consumer, member: UUID, device: str | None = None
) -> str:
    await hear(consumer, registered(member))
    answer = await client.post("/v1/referrals", json={"customer_id": str(member), "device": device})
    assert answer.status_code == 201, answer.text
    assert answer.json()["link"] == f"/join?code={answer.json()['code']}"
    code: str = answer.json()["code"]
    return code


async def join(
    client: httpx.AsyncClient, code: str, friend: UUID, device: str | None = None, key: str | None = None
) -> httpx.Response:
    return await client.post(
        f"/v1/referrals/{code}/joins",
        json={"customer_id": str(friend), "device": device},
        headers={"Idempotency-Key": key} if key else {},
    )


async def test_both_get_something_once_the_return_period_is_over(
    client: httpx.AsyncClient,
    consumer: Consumer,
    settings: LoyaltySettings,
    database: Database,
    ledger: Ledger,
) -> None:
    member, friend, other = uuid4(), uuid4(), uuid4()
    code = await a_code(client, consumer, member)
    assert await a_code(client, consumer, member) == code
    joined = await join(client, code, friend, key="a friend")
    assert (joined.status_code, joined.json()["status"]) == (201, "joined")
    assert (await join(client, code, friend, key="a friend")).json() == joined.json()
    assert (await join(client, code, other)).status_code == 201
    now = utc_now()
    first, gone = purchase(friend, 12_900, at=now + DAY), purchase(other, 5_000, at=now + DAY)
    await hear(consumer, bought(first, gone, purchase(friend, 90_000, at=now + 2 * DAY)))
    await hear(consumer, returned(refund(first, 2_900), refund(gone, 5_000)))
    assert await complete(database, settings, now + 14 * DAY) == 0
    assert await complete(database, settings, now + 16 * DAY) == 2
    assert await complete(database, settings, now + 16 * DAY) == 0
    assert await ledger.balance(member) == 500 + 10
    assert await ledger.balance(friend) == 100 + 900 + 200
    shown = await ledger.pool.fetchrow("SELECT rule, arithmetic FROM transfers WHERE rule = 'referral'")
    assert tuple(shown) == ("referral", "floor(100.00 CNY × 0.1) = 10")
    listed = await client.get("/v1/referrals", params={"customer_id": str(member), "limit": 1})
    rest = await client.get(
        "/v1/referrals", params={"customer_id": str(member), "cursor": listed.json()["next_cursor"]}
    )
    assert [
        (each["status"], each["reason"], each["points"])
        for page in (listed, rest)
        for each in page.json()["items"]
    ] == [("completed", None, 10), ("void", "returned", 0)]
    await ledger.must_be_sound()


async def test_abuse_is_refused_with_its_reason(
    client: httpx.AsyncClient, consumer: Consumer, settings: LoyaltySettings, ledger: Ledger
) -> None:
    one, two, three = uuid4(), uuid4(), uuid4()
    first = await a_code(client, consumer, one, "phone-1")
    second, third = await a_code(client, consumer, two), await a_code(client, consumer, three)
    assert is_problem(await join(client, first, one), 409, "self-referral")
    assert is_problem(await join(client, first, uuid4(), "phone-1"), 409, "same-device")
    assert (await join(client, first, two, "phone-2")).status_code == 201
    assert is_problem(await join(client, first, uuid4(), "phone-2"), 409, "same-device")
    assert is_problem(await join(client, third, two), 409, "already-referred")
    assert is_problem(await join(client, second, one), 409, "referral-ring")
    assert (await join(client, second, three)).status_code == 201
    assert is_problem(await join(client, third, one), 409, "referral-ring")
    old = uuid4()
    await hear(consumer, bought(purchase(old, at=utc_now() - DAY)))
    assert is_problem(await join(client, first, old), 409, "not-a-new-customer")
    assert is_problem(await join(client, "NOBODY", uuid4()), 404, "unknown-referral-code")
    assert is_problem(await join(client, "no-body", uuid4()), 422, "invalid")
    assert is_problem(
        await client.post("/v1/referrals", json={"customer_id": str(uuid4())}), 404, "unknown-member"
    )
    assert await ledger.count("referrals") == 2
    app = create_app(settings)
    async with running(app), client_of(app, scopes=["loyalty:read"]) as reader:
        assert is_problem(await join(reader, first, uuid4()), 403, "forbidden")


async def listed(client: httpx.AsyncClient, member: UUID) -> list[tuple[str, str | None, int | None]]:
    page = (await client.get("/v1/referrals", params={"customer_id": str(member)})).json()
    return [(each["status"], each["reason"], each["points"]) for each in page["items"]]


async def test_what_is_heard_late_of_a_friend_ends_as_if_it_had_come_in_time(
    client: httpx.AsyncClient,
    consumer: Consumer,
    settings: LoyaltySettings,
    database: Database,
    ledger: Ledger,
) -> None:
    """The same five things of a friend in any order, with the clock's runs between them."""
    now, found = utc_now(), []
    for seed in range(6):
        chance, member, friend = random.Random(seed), uuid4(), uuid4()
        code = await a_code(client, consumer, member)
        assert (await join(client, code, friend)).status_code == 201
        first = purchase(friend, 50_000, at=now + 3 * DAY)
        in_time, too_late = refund(first, 10_000), refund(first, 40_000)
        too_late = too_late.model_copy(update={"occurred_at": now + 30 * DAY})
        story = [bought(purchase(friend, 90_000, at=now + n * DAY)) for n in (5, 40)]
        story += [bought(first), returned(in_time), returned(too_late)]
        if seed:
            chance.shuffle(story)
        for event in story:
            await hear(consumer, event)
            await complete(database, settings, now + 50 * DAY)
        earned = await ledger.balance(member), await ledger.balance(friend)
        found.append((earned, await listed(client, member)))
    assert found == [((540, 2_000), [("completed", None, 40)])] * 6
    await ledger.must_be_sound()


async def test_a_purchase_before_joining_that_is_heard_late_takes_both_rewards_back(
    client: httpx.AsyncClient,
    consumer: Consumer,
    settings: LoyaltySettings,
    database: Database,
    ledger: Ledger,
) -> None:
    member, friend, now = uuid4(), uuid4(), utc_now()
    code = await a_code(client, consumer, member)
    await join(client, code, friend)
    await hear(consumer, bought(purchase(friend, 100_000, at=now + DAY)))
    assert await complete(database, settings, now + 16 * DAY) == 1
    assert await ledger.balance(member) == 600
    await hear(consumer, bought(purchase(friend, 100, at=now - DAY)))
    assert await complete(database, settings, now + 17 * DAY) == 1
    assert await ledger.balance(member) == 500
    assert await ledger.balance(friend) == 1_000 + 1
    assert await listed(client, member) == [("void", "bought before", 0)]
    back = await ledger.pool.fetch("SELECT rule, points, reason FROM transfers WHERE reverses IS NOT NULL")
    assert sorted(tuple(row) for row in back) == [("referral", 100, "Recount"), ("welcome", 200, "Recount")]
    told = await ledger.pool.fetchval("SELECT count(*) FROM deeds WHERE kind = 'referral' AND points = 0")
    assert told == 1


async def test_a_first_purchase_within_the_time_that_is_heard_after_it_still_counts(
    client: httpx.AsyncClient,
    consumer: Consumer,
    settings: LoyaltySettings,
    database: Database,
    ledger: Ledger,
) -> None:
    member, friend, now = uuid4(), uuid4(), utc_now()
    code = await a_code(client, consumer, member)
    await join(client, code, friend)
    assert await complete(database, settings, now + 366 * DAY) == 1
    assert await listed(client, member) == [("void", "never bought", 0)]
    await hear(consumer, bought(purchase(friend, 100_000, at=now + 300 * DAY)))
    assert await complete(database, settings, now + 367 * DAY) == 1
    assert await listed(client, member) == [("completed", None, 100)]
    assert await ledger.balance(member) == 600


async def test_limits_of_the_month_are_shared_anew_when_a_friend_is_heard_of_late(
    client: httpx.AsyncClient,
    consumer: Consumer,
    settings: LoyaltySettings,
    database: Database,
    ledger: Ledger,
) -> None:
    """10,000 points a month: two friends of one month, of whom the later one is heard of first."""
    member, one, two, now = uuid4(), uuid4(), uuid4(), utc_now()
    code = await a_code(client, consumer, member)
    for friend in (one, two):
        await join(client, code, friend)
    start = datetime(now.year + 1, 3, 1, tzinfo=now.tzinfo)
    await hear(consumer, bought(purchase(two, 9_000_000, at=start + 5 * DAY)))
    await complete(database, settings, start + 25 * DAY)
    assert await ledger.balance(member) == 500 + 9_000
    await hear(consumer, bought(purchase(one, 3_000_000, at=start)))
    await complete(database, settings, start + 25 * DAY)
    assert await ledger.balance(member) == 500 + 10_000
    shares = await ledger.pool.fetch("SELECT points FROM deeds WHERE kind = 'referral' ORDER BY occurred_at")
    assert [row["points"] for row in shares] == [3_000, 7_000]
    await ledger.must_be_sound()


async def test_customers_who_turn_out_to_be_one_bring_nobody(
    client: httpx.AsyncClient,
    consumer: Consumer,
    settings: LoyaltySettings,
    database: Database,
    ledger: Ledger,
) -> None:
    member, friend, other, now = uuid4(), uuid4(), uuid4(), utc_now()
    code = await a_code(client, consumer, member)
    await join(client, code, friend)
    await hear(consumer, bought(purchase(friend, 100_000, at=now + DAY)))
    merged: dict[str, Any] = {"merge_id": new_id(), "survivor_id": other, "merged_id": friend}
    await hear(consumer, CustomerMerged(**merged))
    await complete(database, settings, now + 16 * DAY)
    assert await ledger.balance(member) == 600  # the friend goes by another name now
    same: dict[str, Any] = {"merge_id": new_id(), "survivor_id": other, "merged_id": member}
    await hear(consumer, CustomerMerged(**same))
    await complete(database, settings, now + 17 * DAY)
    assert await ledger.balance(other) == 500 + 1_000
    assert await listed(client, other) == [("void", "self-referral", 0)]
    assert is_problem(await join(client, code, other), 409, "self-referral")
    await hear(consumer, CustomerUnmerged(**same))
    await complete(database, settings, now + 18 * DAY)
    assert await listed(client, member) == [("completed", None, 100)]
    assert await ledger.balance(member) == 600
    assert is_problem(await join(client, code, other), 409, "already-referred")
    await ledger.must_be_sound()


async def test_rings_and_old_customers_are_known_by_any_of_their_names(
    client: httpx.AsyncClient, consumer: Consumer
) -> None:
    one, two, alias, old, again = (uuid4() for _ in range(5))
    first, second = await a_code(client, consumer, one), await a_code(client, consumer, two)
    assert (await join(client, first, two)).status_code == 201
    await hear(consumer, CustomerMerged(merge_id=new_id(), survivor_id=one, merged_id=alias))
    assert is_problem(await join(client, second, alias), 409, "referral-ring")
    await hear(consumer, bought(purchase(old, at=utc_now() - DAY)))
    await hear(consumer, CustomerMerged(merge_id=new_id(), survivor_id=old, merged_id=again))
    assert is_problem(await join(client, first, again), 409, "not-a-new-customer")
