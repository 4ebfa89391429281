"""Coupons over HTTP: terms, trying, using once under a crowd, giving back, codes in bulk, and guessing."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import httpx

from services.loyalty.app import create_app
from services.loyalty.coupons import codes, service, store
from services.loyalty.reactions import make_reactions
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tables import CouponCampaign
from shared.clock import utc_now
from shared.contracts import decode, encode
from shared.contracts.loyalty import CouponIssued
from shared.contracts.profile import CustomerErased
from shared.database import Database
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from tests.loyalty.points import Ledger
from tests.support.apps import client_of, eventually, running

TENTH = {"name": "Spring", "percent": "10"}
BASKET = {"currency": "CNY", "amount": 10_050}


async def post(client: httpx.AsyncClient, path: str, body: Any, key: str | None = None) -> httpx.Response:
    return await client.post(path, json=body, headers={"Idempotency-Key": key or str(uuid4())})


async def campaign(client: httpx.AsyncClient, **terms: Any) -> dict[str, Any]:
    answer = await post(client, "/v1/coupon-campaigns", TENTH | terms)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def coupon(client: httpx.AsyncClient, customer: UUID | None = None, **terms: Any) -> str:
    made = await campaign(client, **terms)
    body = {"customer_id": str(customer)} if customer else {}
    answer = await post(client, f"/v1/coupon-campaigns/{made['id']}/coupons", body)
    assert answer.status_code == 201, answer.text
    return answer.json()["code"]


async def redeem(
    client: httpx.AsyncClient, code: str, customer: UUID, reference: str = "O-1", key: str | None = None
) -> httpx.Response:
    body = {"customer_id": str(customer), "basket": BASKET, "reference": reference}
    return await post(client, f"/v1/coupons/{code}:redeem", body, key)


async def validate(client: httpx.AsyncClient, code: str, customer: UUID, **body: Any) -> httpx.Response:
    asked = {"customer_id": str(customer), "basket": BASKET} | body
    return await client.post(f"/v1/coupons/{code}:validate", json=asked)


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.json()["type"].removeprefix("/problems/")


async def test_a_coupon_is_tried_used_and_given_back(client: httpx.AsyncClient) -> None:
    customer = uuid4()
    code = await coupon(client, customer)
    tried = await validate(client, code.lower().replace("-", ""), customer)
    assert (tried.status_code, tried.json()["code"], tried.json()["discount"]) == (200, code, 1005)
    used = await redeem(client, code, customer, key=f"k {customer}")
    assert (used.status_code, used.json()["discount"]) == (201, 1005)
    again = await redeem(client, code, customer, key=f"k {customer}")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == used.json()
    assert slug(await redeem(client, code, customer, "O-2")) == "coupon-used"
    assert slug(await validate(client, code, customer)) == "coupon-used"
    assert slug(await validate(client, code, uuid4())) == "unknown-coupon"  # somebody else's

    path = f"/v1/coupon-uses/{used.json()['id']}/release"
    answers = await asyncio.gather(*(post(client, path, None) for _ in range(5)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 4}
    assert (await redeem(client, code, customer, "O-2")).status_code == 201
    (listed,) = (await client.get(f"/v1/loyalty/{customer}/coupons")).json()["items"]
    assert (listed["code"], listed["used"], listed["campaign"]["name"]) == (code, 1, "Spring")


async def test_a_customer_s_own_coupon_is_the_survivor_s_and_forgotten_with_them(
    client: httpx.AsyncClient, database: Database, ledger: Ledger
) -> None:
    one, survivor, merge = await ledger.member(1), await ledger.member(1), uuid4()
    code = await coupon(client, one)
    assert slug(await redeem(client, code, survivor)) == "unknown-coupon"
    await ledger.pool.execute("SELECT merge_customers($1, $2, $3, NULL)", merge, survivor, one)
    assert (await redeem(client, code, survivor, f"of {one}", key=f"for {one}")).status_code == 201
    assert slug(await redeem(client, codes.make(lambda _: 9), one)) == "unknown-coupon"
    (listed,) = (await client.get(f"/v1/loyalty/{survivor}/coupons")).json()["items"]
    assert (listed["code"], listed["used"]) == (code, 1)

    erased = CustomerErased(erasure_id=uuid4(), customer_id=survivor)
    event = encode(erased, event_id=new_id(), time=utc_now(), traceparent=None)
    await Consumer(make_reactions(database.settings), database).deliver([event.encode()])
    left = """SELECT (SELECT count(*) FROM coupons WHERE customer_id = ANY ($1::uuid[]))
                   + (SELECT count(*) FROM coupon_uses WHERE customer_id = ANY ($1::uuid[]))"""
    assert await ledger.pool.fetchval(left, [one, survivor]) == 0
    for table in ("coupons", "coupon_uses", "coupon_refusals"):
        said = f"SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%' || $1 || '%'"  # noqa: S608
        assert await ledger.pool.fetchval(said, str(one)) == 0, table
    assert slug(await redeem(client, code, survivor)) == "unknown-coupon"


async def test_each_refusal_has_its_own_type(client: httpx.AsyncClient) -> None:
    customer = uuid4()
    past = {"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}
    ended = await campaign(client, **past)
    code = (await post(client, f"/v1/coupon-campaigns/{ended['id']}/coupons", {})).json()["code"]
    path, over = f"/v1/coupon-campaigns/{ended['id']}", TENTH | past | {"ends_at": "2020-02-01T00:00:00Z"}
    assert slug(await client.put(path, json=over)) == "precondition-required"
    assert (await client.put(path, json=over, headers={"If-Match": '"v1"'})).json()["version"] == 2
    assert slug(await client.put(path, json=over, headers={"If-Match": '"v1"'})) == "stale"
    assert slug(await redeem(client, code, customer)) == "coupon-expired"
    assert slug(await post(client, f"{path}/coupons", {})) == "coupon-expired"
    assert slug(await post(client, f"{path}/issues", {"count": 1})) == "coupon-expired"

    later = await coupon(client, starts_at="2099-01-01T00:00:00Z")
    assert slug(await redeem(client, later, customer)) == "coupon-not-yet-valid"
    dollars = await coupon(client, percent=None, amount=100, currency="USD")
    assert slug(await redeem(client, dollars, customer)) == "wrong-currency"
    large = await coupon(client, currency="CNY", minimum_spend=10_051)
    assert slug(await redeem(client, large, customer)) == "minimum-spend"
    assert slug(await redeem(client, codes.make(lambda _: 5), customer)) == "unknown-coupon"
    assert slug(await redeem(client, "not a code", customer)) == "unknown-coupon"
    cancelled = await coupon(client)
    assert (await client.post(f"/v1/coupons/{cancelled}:cancel")).json()["cancelled_at"]
    assert slug(await redeem(client, cancelled, customer)) == "coupon-expired"

    alone, free, other = (
        await coupon(client),
        await coupon(client, combinable=True),
        await coupon(client, combinable=True),
    )
    assert (await redeem(client, free, customer, "B")).status_code == 201
    assert (await redeem(client, other, customer, "B")).status_code == 201
    assert slug(await redeem(client, alone, customer, "B")) == "coupon-not-combinable"
    assert slug(await validate(client, alone, customer, codes=[free])) == "coupon-not-combinable"

    for wrong, pointer in (
        ({"percent": "0"}, "/percent"),
        ({"percent": "100.001"}, "/percent"),
        ({"amount": 5}, "/percent"),
        ({"currency": "XYZ"}, "/currency"),
        ({"minimum_spend": 5}, "/currency"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "/ends_at"),
        ({"uses_per_code": 0}, "/uses_per_code"),
    ):
        answer = await post(client, "/v1/coupon-campaigns", TENTH | wrong)
        assert (slug(answer), answer.json()["errors"][0]["pointer"]) == ("invalid", pointer), answer.text
    unknown = await validate(client, alone, customer, basket={"currency": "XXZ", "amount": 2**53})
    assert {error["pointer"] for error in unknown.json()["errors"]} == {"/basket/currency", "/basket/amount"}


async def test_a_crowd_uses_a_code_once_and_a_customer_no_more_than_the_limit(
    client: httpx.AsyncClient,
) -> None:
    once, many = await coupon(client), await coupon(client, uses_per_code=None, uses_per_customer=3)
    crowd = await asyncio.gather(*(redeem(client, once, uuid4()) for _ in range(40)))
    assert Counter(answer.status_code for answer in crowd) == {201: 1, 409: 39}
    customer = uuid4()
    alone = await asyncio.gather(*(redeem(client, many, customer, f"O-{n}") for n in range(15)))
    assert Counter(answer.status_code for answer in alone) == {201: 3, 409: 12}
    assert {slug(answer) for answer in alone if answer.status_code == 409} == {"coupon-limit-reached"}


async def test_who_tries_too_many_is_not_listened_to(settings: LoyaltySettings, ledger: Ledger) -> None:
    few = settings.model_copy(update={"coupon_refusals_per_customer": 5, "coupon_refusals_per_caller": 12})
    app = create_app(few)
    shop, stranger = f"shop {uuid4()}", f"stranger {uuid4()}"
    async with (
        running(app),
        client_of(app, subject=shop) as client,
        client_of(app, subject=stranger) as guesser,
    ):
        good = await coupon(client, uses_per_code=None)
        wrong, customer = codes.make(lambda _: 7), uuid4()
        large = await coupon(client, currency="CNY", minimum_spend=10_051)
        unfit = [await validate(guesser, large, customer) for _ in range(6)]
        assert {slug(answer) for answer in unfit} == {"minimum-spend"}  # no guess: the basket may grow
        answers = [await redeem(guesser, wrong, customer) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [404] * 5 + [429]
        assert slug(answers[-1]) == "too-many-coupon-attempts"
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 3601
        assert (await validate(guesser, good, customer)).status_code == 429
        # Who guesses in a customer's name shuts them out nowhere else.
        assert (await validate(client, good, customer)).status_code == 200
        assert (await validate(guesser, good, uuid4())).status_code == 200
        slips = [await redeem(guesser, "mistyped", uuid4()) for _ in range(20)]
        assert [answer.status_code for answer in slips] == [404] * 20  # no guesses: the shop stays open
        others = [await redeem(guesser, wrong, uuid4()) for _ in range(8)]
        assert [answer.status_code for answer in others] == [404] * 7 + [429]
        assert (await validate(client, good, uuid4())).status_code == 200

        assert (await validate(guesser, good, uuid4())).status_code == 429
        member = await ledger.member()
        assert (await redeem(guesser, good, member)).status_code == 201
        assert [(await redeem(guesser, wrong, member)).status_code for _ in range(2)] == [404, 429]


async def test_a_coupon_tried_a_thousand_times_is_refused_and_nothing_changes(
    client: httpx.AsyncClient, settings: LoyaltySettings, ledger: Ledger
) -> None:
    code, customer = await coupon(client), uuid4()
    assert (await redeem(client, code, customer)).status_code == 201
    answers = Counter([slug(await redeem(client, code, customer, f"O-{n}")) for n in range(1000)])
    assert answers.keys() == {"coupon-used", "too-many-coupon-attempts"}
    assert answers["coupon-used"] <= 2 * settings.coupon_refusals_per_customer  # twice when the hour ends
    row = await ledger.pool.fetchrow(
        "SELECT used, (SELECT count(*) FROM coupon_uses AS u WHERE u.code = c.code) AS uses"
        " FROM coupons AS c WHERE code = $1",
        codes.read(code),
    )
    assert tuple(row) == (1, 1)


async def test_a_code_of_many_uses_is_used_as_often_as_it_may_under_a_crowd(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    code = await coupon(client, uses_per_code=25)
    crowd = await asyncio.gather(*(redeem(client, code, uuid4()) for _ in range(200)))
    assert Counter(answer.status_code for answer in crowd) == {201: 25, 409: 175}
    assert {slug(answer) for answer in crowd if answer.status_code == 409} == {"coupon-used"}
    assert await ledger.pool.fetchval("SELECT used FROM coupons WHERE code = $1", codes.read(code)) == 25


async def test_only_one_of_two_coupons_that_do_not_combine_gets_onto_a_basket(
    client: httpx.AsyncClient,
) -> None:
    customer = uuid4()
    several = [await coupon(client) for _ in range(4)] + [await coupon(client, combinable=True)]
    answers = await asyncio.gather(*(redeem(client, code, customer, "B") for code in several))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 4}
    assert {slug(answer) for answer in answers if answer.status_code == 409} == {"coupon-not-combinable"}


async def test_codes_are_made_in_bulk_and_exported_in_pages(
    client: httpx.AsyncClient, database: Database
) -> None:
    made = await campaign(client)
    count = service.BATCH + 7
    started = await post(client, f"/v1/coupon-campaigns/{made['id']}/issues", {"count": count})
    assert started.status_code == 202
    path = started.headers["Location"]

    async def done() -> bool:
        return (await client.get(path)).json()["status"] == "done"

    await eventually(done)
    assert (await client.get(path)).json()["issued"] == count
    found: list[str] = []
    following: str | None = f"{path}/codes?format=csv&limit=2000"
    pages = 0
    while following:
        answer = await client.get(following)
        assert answer.headers["content-type"].startswith("text/csv")
        found += answer.text.splitlines()
        following = answer.links["next"]["url"] if answer.links else None
        pages += 1
    assert (pages, found[0]) == (3, "code")
    assert len({codes.read(code) for code in found[1:]}) == count
    lines = (await client.get(f"{path}/codes", params={"limit": 3})).text.splitlines()
    assert lines[0] == f'{{"code":"{found[1]}"}}'
    assert (await redeem(client, found[1], uuid4())).status_code == 201
    await service.work_on_issues(database)  # nothing is left to do
    assert await store.open_issue(database.pool) is None


async def test_only_a_coupon_of_a_customer_is_told_to_the_others(database: Database, ledger: Ledger) -> None:
    now, customer = utc_now(), uuid4()
    async with database.session() as session:
        terms = {"minimum_spend": 0, "combinable": False, "starts_at": now}
        spring = CouponCampaign(id=uuid4(), name="Spring", percent=10, **terms)
        session.add(spring)
        await session.flush()
        mine = await service.issue_one(session, spring, customer, now=now)
        await service.issue_one(session, spring, None, now=now)
    (row,) = await ledger.pool.fetch("SELECT envelope FROM outbox WHERE type = 'coupon.issued'")
    told = decode(row["envelope"]).data
    assert isinstance(told, CouponIssued)
    assert (told.customer_id, codes.read(told.code)) == (customer, mine.code)
