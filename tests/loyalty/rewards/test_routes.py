"""Rewards over HTTP: the catalogue, taking, giving back, and many who want the last piece."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx

from services.loyalty.app import create_app
from services.loyalty.rewards import service, store
from services.loyalty.rewards.schemas import RewardRedemptionIn
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tables import Reward
from shared.clock import utc_now
from shared.contracts import decode
from shared.contracts.loyalty import RewardRedeemed
from shared.database import Database
from tests.loyalty.points import Ledger, key
from tests.support.apps import client_of, running

MUG_ROW: dict[str, Any] = {"kind": "goods", "name": "Mug", "points": 100}
MUG = MUG_ROW | {"cost": 900}


async def post(client: httpx.AsyncClient, path: str, body: Any, key: str | None = None) -> httpx.Response:
    return await client.post(path, json=body, headers={"Idempotency-Key": key or str(uuid4())})


async def make(client: httpx.AsyncClient, **terms: Any) -> dict[str, Any]:
    answer = await post(client, "/v1/rewards", MUG | terms)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def take(
    client: httpx.AsyncClient, reward: dict[str, Any], customer: Any, **rest: Any
) -> httpx.Response:
    key = rest.pop("key", None)
    body = {"customer_id": str(customer)} | rest
    return await post(client, f"/v1/rewards/{reward['id']}/redemptions", body, key)


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.json()["type"].removeprefix("/problems/")


async def test_the_catalogue_is_kept_with_versions_and_shows_what_is_on(settings: LoyaltySettings) -> None:
    app = create_app(settings)
    now = utc_now()
    async with running(app) as client, client_of(app, scopes=["loyalty:read"]) as member:
        on = await make(client, stock=5)
        over = await make(client, starts_at="2020-01-01T00:00:00Z", ends_at="2020-02-01T00:00:00Z")
        later = await make(client, starts_at=(now + timedelta(days=1)).isoformat())

        async def shown(who: httpx.AsyncClient, **query: Any) -> set[str]:
            ids: set[str] = set()
            cursor: dict[str, str] = {}
            while True:  # two to a page
                answer = await who.get("/v1/rewards", params={"limit": 2} | query | cursor)
                ids |= {item["id"] for item in answer.json()["items"]}
                if not answer.json()["next_cursor"]:
                    return ids
                cursor = {"cursor": answer.json()["next_cursor"]}

        assert shown_now(await shown(member), on, over, later) == [True, False, False]
        assert shown_now(await shown(client, all=True), on, over, later) == [True, True, True]
        assert slug(await member.get("/v1/rewards", params={"all": True})) == "forbidden"
        assert slug(await post(member, "/v1/rewards", MUG)) == "forbidden"

        path = f"/v1/rewards/{on['id']}"
        tag = (await member.get(path)).headers["ETag"]
        assert (await member.get(path)).json()["cost"] is None
        assert slug(await client.put(path, json=MUG)) == "precondition-required"
        changed = await client.put(path, json=MUG | {"points": 120}, headers={"If-Match": tag})
        assert (changed.json()["points"], changed.json()["version"]) == (120, 2)
        assert slug(await client.put(path, json=MUG, headers={"If-Match": tag})) == "stale"
        gone = await client.delete(path, headers={"If-Match": changed.headers["ETag"]})
        assert gone.status_code == 204
        assert on["id"] not in await shown(member)
        assert slug(await client.get(f"/v1/rewards/{uuid4()}")) == "unknown-reward"


def shown_now(ids: set[str], *rewards: dict[str, Any]) -> list[bool]:
    return [reward["id"] in ids for reward in rewards]


async def test_a_reward_is_taken_and_given_back_once(client: httpx.AsyncClient, ledger: Ledger) -> None:
    soon = utc_now() + timedelta(days=3)
    member = await ledger.member(150, soon)
    await ledger.earn(member, 200)
    reward = await make(client, stock=2)

    named = str(uuid4())
    taken = await take(client, reward, member, quantity=2, key=named)
    assert taken.status_code == 201, taken.text
    assert (taken.json()["points"], await ledger.balance(member)) == (200, 150)
    assert await ledger.lots(member) == [0, 150]
    again = await take(client, reward, member, quantity=2, key=named)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == taken.json()
    assert slug(await take(client, reward, member, quantity=1, key=named)) == "idempotency-key-reused"
    assert await ledger.balance(member) == 150
    listed = (await client.get(f"/v1/loyalty/{member}/redemptions")).json()["items"]
    assert [item["id"] for item in listed] == [taken.json()["id"]]

    path = f"/v1/redemptions/{taken.json()['id']}/cancel"
    answers = await asyncio.gather(*(post(client, path, {"reason": "broken"}) for _ in range(10)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 9}
    assert {slug(answer) for answer in answers if answer.status_code == 409} == {"already-cancelled"}
    assert await ledger.balance(member) == 350
    assert await ledger.lots(member) == [150, 200]
    assert (await client.get(f"/v1/rewards/{reward['id']}")).json()["left"] == 2
    await ledger.must_be_sound()


async def test_taking_a_reward_tells_the_others(database: Database, ledger: Ledger) -> None:
    member, now = await ledger.member(100), utc_now()
    async with database.session() as session:
        reward = Reward(id=uuid4(), description="", tier_points={}, cost=0, starts_at=now, **MUG_ROW)
        session.add(reward)
        await session.flush()
    wanted = RewardRedemptionIn(customer_id=member)
    taken, _ = await service.redeem(ledger.pool, reward.id, wanted, actor="test", now=now, key=key())
    redemption = await store.taken(ledger.pool, taken)
    written = await ledger.pool.fetch("SELECT envelope FROM outbox WHERE type = 'reward.redeemed'")
    (told,) = [decode(row["envelope"]).data for row in written]
    assert isinstance(told, RewardRedeemed)
    assert (told.customer_id, told.transfer_id) == (member, redemption["transfer_id"])
    assert (told.reward, told.points) == ("Mug", 100)


async def test_a_tier_pays_its_own_price(client: httpx.AsyncClient, ledger: Ledger) -> None:
    gold, newcomer = await ledger.member(100), await ledger.member(100)
    await ledger.pool.execute(
        """INSERT INTO standings (customer_id, clock, last_id, tier, quantities, total, counted, tier_now,
                                  shown, tiers_version)
           VALUES ($1, now(), $1, 'gold', '[]', 0, '{}', 'gold', '{}', 1)""",
        gold,
    )
    reward = await make(client, tier_points={"gold": 80, "regular": 90})  # newcomers are regular
    for member, price in ((gold, 80), (newcomer, 90)):
        listed = (await client.get("/v1/rewards", params={"customer_id": str(member), "limit": 200})).json()
        assert [item["price"] for item in listed["items"] if item["id"] == reward["id"]] == [price]
        assert (await take(client, reward, member)).json()["points"] == price


async def test_a_voucher_is_paid_out_in_coupons_and_taken_back_unused(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    member = await ledger.member(500)
    campaign = (await post(client, "/v1/coupon-campaigns", {"name": "Voucher", "percent": "10"})).json()["id"]
    voucher = await make(client, kind="voucher", campaign_id=campaign)
    taken = (await take(client, voucher, member, quantity=2)).json()
    listed = (await client.get(f"/v1/loyalty/{member}/coupons")).json()["items"]
    assert taken["codes"] == [item["code"] for item in listed]
    assert len(taken["codes"]) == 2

    basket = {"customer_id": str(member), "basket": {"currency": "CNY", "amount": 100}, "reference": "O"}
    used = await post(client, f"/v1/coupons/{taken['codes'][0]}:redeem", basket)
    cancel = f"/v1/redemptions/{taken['id']}/cancel"
    assert slug(await post(client, cancel, {})) == "coupon-used"
    assert await ledger.balance(member) == 300
    await client.post(f"/v1/coupon-uses/{used.json()['id']}/release")
    assert (await post(client, cancel, {})).status_code == 200
    assert await ledger.balance(member) == 500
    for code in taken["codes"]:
        assert slug(await post(client, f"/v1/coupons/{code}:redeem", basket)) == "coupon-expired"


async def test_merged_customers_share_a_limit_until_they_are_two_again(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    one, other, merge = await ledger.member(300), await ledger.member(300), uuid4()
    reward = await make(client, limit_per_customer=1)
    taken = (await take(client, reward, one)).json()
    await ledger.pool.execute("SELECT merge_customers($1, $2, $3, NULL)", merge, other, one)
    assert slug(await take(client, reward, other)) == "limit-reached"
    listed = (await client.get(f"/v1/loyalty/{other}/redemptions")).json()["items"]
    assert [item["id"] for item in listed] == [taken["id"]]
    await ledger.pool.execute("SELECT unmerge_customers($1, $2, $3, NULL)", merge, other, one)
    assert (await client.get(f"/v1/loyalty/{other}/redemptions")).json()["items"] == []
    assert (await take(client, reward, other)).status_code == 201
    assert slug(await take(client, reward, one)) == "limit-reached"


async def test_points_that_were_given_back_by_hand_are_not_given_twice(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    member = await ledger.member(100)
    reward = await make(client, stock=1)
    taken = (await take(client, reward, member)).json()
    assert (await post(client, f"/v1/transfers/{taken['transfer_id']}/reverse", {})).status_code == 201
    cancelled = await post(client, f"/v1/redemptions/{taken['id']}/cancel", {"restock": False})
    assert (cancelled.status_code, cancelled.json()["cancel_transfer_id"]) == (200, None)
    assert await ledger.balance(member) == 100
    assert (await client.get(f"/v1/rewards/{reward['id']}")).json()["left"] == 0


async def test_what_was_given_back_in_part_is_not_given_twice(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    member = await ledger.member(200)
    reward = await make(client, stock=2)
    taken = (await take(client, reward, member, quantity=2)).json()
    await ledger.reverse(UUID(taken["transfer_id"]), points=30)
    cancel = f"/v1/redemptions/{taken['id']}/cancel"
    assert (await post(client, cancel, {})).status_code == 200
    assert slug(await post(client, cancel, {})) == "already-cancelled"
    assert await ledger.balance(member) == 200
    assert (await client.get(f"/v1/rewards/{reward['id']}")).json()["left"] == 2
    await ledger.must_be_sound()


async def test_a_crowd_for_one_customer_gets_no_more_than_the_limit(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    member = await ledger.member(10_000)
    reward = await make(client, limit_per_customer=3)
    answers = await asyncio.gather(*(take(client, reward, member) for _ in range(50)))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 47}
    assert {slug(answer) for answer in answers if answer.status_code == 409} == {"limit-reached"}
    assert await ledger.balance(member) == 10_000 - 3 * 100


async def test_the_terms_of_a_reward_change_once_for_each_version(client: httpx.AsyncClient) -> None:
    path = f"/v1/rewards/{(await make(client))['id']}"
    changes = (
        client.put(path, json=MUG | {"points": 200 + n}, headers={"If-Match": '"v1"'}) for n in range(20)
    )
    answers = await asyncio.gather(*changes)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 19}


async def test_each_refusal_has_its_own_type_and_changes_nothing(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    member = await ledger.member(250)
    scarce = await make(client, stock=1, limit_per_customer=1)
    over = await make(client, starts_at="2020-01-01T00:00:00Z", ends_at="2020-02-01T00:00:00Z")
    limited = await make(client, limit_per_customer=1)
    dear = await make(client, points=2**53 - 1)
    assert slug(await take(client, scarce, member, quantity=2)) == "out-of-stock"
    assert slug(await take(client, over, member)) == "window-closed"
    assert slug(await take(client, limited, member, quantity=2)) == "limit-reached"
    assert slug(await take(client, dear, member)) == "insufficient-points"
    assert slug(await take(client, dear, member, quantity=2)) == "too-many-points"
    assert slug(await take(client, scarce, uuid4())) == "unknown-member"
    assert slug(await take(client, {"id": uuid4()}, member)) == "unknown-reward"
    assert slug(await take(client, scarce, member, quantity=0)) == "invalid"
    assert slug(await post(client, f"/v1/redemptions/{uuid4()}/cancel", {})) == "unknown-redemption"
    for wrong in (
        {"points": 0},
        {"points": 2**53},
        {"kind": "car"},
        {"tier_points": {"gold": 0}},
        {"ends_at": "2020-01-01T00:00:00Z"},
        {"stock": -1},
        {"campaign_id": str(uuid4())},
        {"campaign_id": str(uuid4()), "kind": "voucher"},
        {"partner_id": str(uuid4())},
        {"partner_id": str(uuid4()), "kind": "partner_offer"},
    ):
        answer = await post(client, "/v1/rewards", MUG | wrong)
        assert slug(answer) == "invalid", wrong
        assert answer.json()["errors"][0]["pointer"].startswith(f"/{next(iter(wrong))}")
    assert await ledger.balance(member) == 250
    assert (await client.get(f"/v1/rewards/{scarce['id']}")).json()["left"] == 1
    taken = await take(client, scarce, member)
    assert taken.status_code == 201
    body = MUG | {"stock": 0}
    answer = await client.put(f"/v1/rewards/{scarce['id']}", json=body, headers={"If-Match": '"v1"'})
    assert (slug(answer), answer.json()["errors"][0]["pointer"]) == ("invalid", "/stock")


async def test_a_window_at_the_ends_of_the_calendar_is_refused_by_name(client: httpx.AsyncClient) -> None:
    for moment in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"):
        answer = await post(client, "/v1/rewards", MUG | {"starts_at": moment})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/starts_at")


async def test_200_at_once_for_10_pieces_take_exactly_10(client: httpx.AsyncClient, ledger: Ledger) -> None:
    members = [await ledger.member(100) for _ in range(200)]
    reward = await make(client, stock=10)
    answers = await asyncio.gather(*(take(client, reward, member) for member in members))
    assert Counter(answer.status_code for answer in answers) == {201: 10, 409: 190}
    assert {slug(answer) for answer in answers if answer.status_code == 409} == {"out-of-stock"}
    left = (await client.get(f"/v1/rewards/{reward['id']}")).json()
    assert (left["taken"], left["left"]) == (10, 0)
    assert sum([await ledger.balance(member) for member in members]) == 190 * 100
    await ledger.must_be_sound()
