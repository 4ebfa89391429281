"""Referrals: a tenth of the friend's first purchase after the return period; abuse is refused by its name."""

from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from services.loyalty.app import create_app
from services.loyalty.reactions import make_reactions
from services.loyalty.referrals.rules import ending
from services.loyalty.referrals.service import complete
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.database import Database
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
        (None, 0, 366, "never bought"),
        (-1, 100, 30, "bought before"),
        (2, 100, 15, "waits"),
        (2, 100, 16, "completed"),
        (2, 0, 16, "returned"),
    ],
)
def test_what_becomes_of_a_referral(bought: int | None, kept: int, after: int, end: str) -> None:
    found = ending(
        MORNING,
        None if bought is None else MORNING + bought * DAY,
        kept,
        MORNING + after * DAY,
        return_period=14 * DAY,
        patience=365 * DAY,
    )
    assert found == end


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
