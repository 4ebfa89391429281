"""The coalition over HTTP: who acts for whom, both sides of an exchange, a month that equals the ledger."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import httpx

from services.loyalty.app import create_app
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from tests.loyalty.points import Ledger
from tests.support.apps import client_of, running

RATES = {
    "unit": "miles",
    "points_per_unit": "0.8",
    "units_per_point": "1.5",
    "issued_price": "0.75",
    "accepted_price": "0.501",
}


async def post(client: httpx.AsyncClient, path: str, body: Any, key: str | None = None) -> httpx.Response:
    return await client.post(path, json=body, headers={"Idempotency-Key": key or str(uuid4())})


async def partner(client: httpx.AsyncClient, *callers: str) -> dict[str, Any]:
    body = RATES | {"name": f"Airline {uuid4()}", "callers": callers}
    answer = await post(client, "/v1/loyalty-partners", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.json()["type"].removeprefix("/problems/")


async def clearing(client: httpx.AsyncClient, path: str, month: str | None = None) -> dict[str, Any]:
    answer = await client.get(f"{path}/clearing", params={"month": month or f"{utc_now():%Y-%m}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def on_account(ledger: Ledger, partner_id: str) -> int:
    total = await ledger.pool.fetchval(
        """SELECT sum(points) FROM entries JOIN accounts ON accounts.id = account_id
            WHERE kind = 'partner' AND owner = $1""",
        UUID(partner_id),
    )
    return int(total or 0)


async def test_a_month_of_a_partner_equals_the_ledger(settings: LoyaltySettings, ledger: Ledger) -> None:
    app = create_app(settings)
    airline = f"key:{uuid4()}"
    async with running(app) as client, client_of(app, scopes=["loyalty:none"], subject=airline) as itself:
        made = await partner(client, airline)
        path, member = f"/v1/loyalty-partners/{made['id']}", str(uuid4())

        issued = await post(itself, f"{path}/issues", {"customer_id": member, "units": 1001}, "k")
        assert issued.status_code == 201, issued.text
        assert (issued.json()["points"], issued.json()["units"]) == (800, 1001)
        assert issued.json()["arithmetic"] == "floor(1001 miles × 0.8) = 800 points"
        again = await post(itself, f"{path}/issues", {"customer_id": member, "units": 1001}, "k")
        assert again.json() == issued.json()
        wrong = (await post(itself, f"{path}/issues", {"customer_id": member, "units": 100})).json()
        taken = await post(itself, f"{path}/acceptances", {"customer_id": member, "points": 333})
        assert (taken.json()["units"], taken.json()["balance"]) == (499, 547)

        undo = f"{path}/exchanges/{wrong['transfer_id']}/reverse"
        answers = await asyncio.gather(*(post(itself, undo, {"reason": "typo"}) for _ in range(5)))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 4}
        assert await ledger.balance(UUID(member)) == 467

        offer = {"kind": "partner_offer", "name": "Lounge", "points": 100, "partner_id": made["id"]}
        reward = (await post(client, "/v1/rewards", offer)).json()
        redeemed = await post(client, f"/v1/rewards/{reward['id']}/redemptions", {"customer_id": member})
        assert redeemed.status_code == 201, redeemed.text

        month = await clearing(itself, path)
        assert month["issued"] == {"points": 880, "returned": 80, "net": 800, "worth": "600"}
        assert (month["accepted"]["points"], month["accepted"]["net"]) == (433, 433)
        assert float(month["accepted"]["worth"]) == 216.933
        assert month["settlement"] == {"amount": 383, "currency": "CNY"}  # floor(383.067)
        assert (month["opening"], month["net_points"], month["closing"]) == (0, -367, -367)
        assert month["closing"] == await on_account(ledger, made["id"])
        after = await clearing(client, path, "2099-12")
        assert (after["opening"], after["closing"], after["settlement"]["amount"]) == (-367, -367, 0)
        assert (await clearing(client, path, "2020-01"))["closing"] == 0
        await ledger.must_be_sound()


async def test_each_refusal_of_a_partner(settings: LoyaltySettings, ledger: Ledger) -> None:
    app = create_app(settings)
    airline = f"key:{uuid4()}"
    async with running(app) as client, client_of(app, scopes=["loyalty:write"], subject=airline) as itself:
        made, other = await partner(client, airline), await partner(client)
        path, foreign = f"/v1/loyalty-partners/{made['id']}", f"/v1/loyalty-partners/{other['id']}"
        member = str(await ledger.member(10))
        give, take = {"customer_id": member, "units": 10}, {"customer_id": member, "points": 5}

        assert slug(await post(itself, f"{foreign}/issues", give)) == "forbidden"
        assert slug(await post(itself, f"/v1/loyalty-partners/{uuid4()}/issues", give)) == "forbidden"
        assert slug(await post(client, f"/v1/loyalty-partners/{uuid4()}/issues", give)) == "unknown-partner"
        assert slug(await itself.get(f"{foreign}/clearing", params={"month": "2026-03"})) == "forbidden"
        assert slug(await itself.get(f"{path}/clearing", params={"month": "2026-13"})) == "invalid"
        assert slug(await itself.get("/v1/loyalty-partners")) == "forbidden"
        assert slug(await post(itself, f"{path}/acceptances", take | {"points": 11})) == "insufficient-points"
        too_little = await post(itself, f"{path}/issues", give | {"units": 1})
        assert (slug(too_little), too_little.json()["errors"][0]["pointer"]) == ("invalid", "/units")
        accepted = (await post(itself, f"{path}/acceptances", take)).json()
        undo = f"/exchanges/{accepted['transfer_id']}/reverse"
        assert slug(await post(client, f"{foreign}{undo}", {})) == "unknown-exchange"
        assert slug(await post(client, "/v1/loyalty-partners", RATES | {"name": made["name"]})) == (
            "partner-name-taken"
        )
        for wrong in ({"points_per_unit": "-1"}, {"issued_price": "0.0000001"}, {"unit": ""}):
            answer = await post(client, "/v1/loyalty-partners", RATES | {"name": "n"} | wrong)
            assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(wrong))}"

        body = RATES | {"name": made["name"], "callers": [airline], "monthly_limit": 80}
        assert (await client.put(path, json=body, headers={"If-Match": '"v1"'})).status_code == 200
        crowd = [post(itself, f"{path}/issues", give | {"units": 25}) for _ in range(10)]  # of 20 points
        answers = await asyncio.gather(*crowd)
        assert Counter(answer.status_code for answer in answers) == {201: 4, 409: 6}
        assert {slug(answer) for answer in answers if answer.status_code == 409} == {"partner-limit-reached"}

        body = RATES | {"name": made["name"], "callers": [airline], "active": False}
        assert slug(await client.put(path, json=body, headers={"If-Match": '"v7"'})) == "stale"
        assert (await client.put(path, json=body, headers={"If-Match": '"v2"'})).json()["version"] == 3
        assert (await client.get(path)).headers["ETag"] == '"v3"'
        assert slug(await post(itself, f"{path}/issues", give)) == "partner-inactive"
        assert slug(await post(itself, f"{path}/acceptances", take)) == "partner-inactive"
        assert await ledger.balance(UUID(member)) == 5 + 80
        assert await on_account(ledger, made["id"]) == 5 - 80
