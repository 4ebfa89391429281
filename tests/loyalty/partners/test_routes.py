"""The coalition over HTTP: who acts for whom, both sides of an exchange, a month that equals the ledger."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx

from services.loyalty.app import create_app
from services.loyalty.partners import service
from services.loyalty.settings import LoyaltySettings
from shared.clock import utc_now
from shared.database import Database
from tests.loyalty.points import Ledger
from tests.support.apps import client_of, running

RATES = {
    "unit": "miles",
    "points_per_unit": "0.8",
    "units_per_point": "1.2",
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
        assert (taken.json()["units"], taken.json()["balance"]) == (399, 547)

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
        for wrong in (
            {"points_per_unit": "-1"},
            {"issued_price": "0.0000001"},
            {"unit": ""},
            {"units_per_point": "1.250001"},
            {"accepted_price": "0.750001"},
        ):
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


async def test_of_many_who_take_a_name_one_gets_it(client: httpx.AsyncClient) -> None:
    body = RATES | {"name": f"Airline {uuid4()}"}
    answers = await asyncio.gather(*(post(client, "/v1/loyalty-partners", body) for _ in range(10)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 9}
    assert {slug(answer) for answer in answers if answer.status_code == 409} == {"partner-name-taken"}
    other = await partner(client)
    path, etag = f"/v1/loyalty-partners/{other['id']}", {"If-Match": '"v1"'}
    assert slug(await client.put(path, json=body, headers=etag)) == "partner-name-taken"


class Years:
    """A partner whose exchanges were posted in the past, as if time had passed."""

    def __init__(self, client: httpx.AsyncClient, ledger: Ledger, partner_id: str) -> None:
        self.client, self.ledger, self.path = client, ledger, f"/v1/loyalty-partners/{partner_id}"
        self.member = str(uuid4())

    async def exchange(self, at: datetime, way: str, **body: Any) -> str:
        answer = await post(self.client, f"{self.path}/{way}", body)
        assert answer.status_code == 201, answer.text
        transfer_id: str = answer.json()["transfer_id"]
        await self.move("UPDATE transfers SET posted_at = $2 WHERE id = $1", UUID(transfer_id), at)
        return transfer_id

    async def give(self, at: datetime, units: int) -> str:
        return await self.exchange(at, "issues", customer_id=self.member, units=units)

    async def take(self, at: datetime, points: int) -> str:
        return await self.exchange(at, "acceptances", customer_id=self.member, points=points)

    async def undo(self, at: datetime, transfer_id: str) -> str:
        return await self.exchange(at, f"exchanges/{transfer_id}/reverse")

    async def move(self, statement: str, *values: Any) -> None:
        async with self.ledger.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(statement, *values)


async def test_days_that_are_closed_stay_and_later_ones_read_on_from_them(
    client: httpx.AsyncClient, database: Database, ledger: Ledger
) -> None:
    years = Years(client, ledger, (await partner(client))["id"])
    partner_id = UUID(years.path.rsplit("/", 1)[1])
    end = datetime(2026, 4, 1, tzinfo=UTC)  # of March
    hour = timedelta(hours=1)
    first = await years.give(end - 50 * 24 * hour, 1000)
    await years.give(end - 20 * 24 * hour, 100)
    await years.take(end + hour, 7)  # begun after the end of the month, numbered before the next two
    await years.take(end - hour, 300)
    await years.undo(end - timedelta(microseconds=1), await years.give(end - 2 * hour, 50))
    await years.give(end, 10)
    await years.take(end + 40 * 24 * hour, 200)
    await years.give(utc_now(), 600)
    await years.undo(utc_now(), first)
    months = ["2026-01", "2026-02", "2026-03", "2026-04", "2026-05", f"{utc_now():%Y-%m}", "2099-12"]
    before = [await clearing(client, years.path, month) for month in months]
    assert before[2]["opening"] == before[1]["closing"] == -800
    assert before[2]["issued"]["points"] == 80 + 40
    assert (before[2]["issued"]["returned"], before[2]["accepted"]["points"]) == (40, 300)
    assert (before[3]["issued"]["points"], before[3]["accepted"]["points"]) == (8, 7)
    assert before[-2]["issued"]["returned"] == 800
    assert before[-1]["closing"] == await on_account(ledger, str(partner_id))

    for _ in range(2):
        await service.close_days(database)
        kept = await ledger.pool.fetch(
            "SELECT day FROM partner_days WHERE partner_id = $1 ORDER BY day", partner_id
        )
        assert [f"{row['day']:%m-%d}" for row in kept] == ["02-10", "03-12", "03-31", "04-01", "05-11"]
        assert [await clearing(client, years.path, month) for month in months] == before
    # What was posted before is not read again.
    await years.move("UPDATE partner_exchanges SET price = 9 WHERE transfer_id = $1", UUID(first))
    assert await clearing(client, years.path, "2026-02") == before[1]
    assert (await clearing(client, years.path, "2020-01"))["closing"] == 0
